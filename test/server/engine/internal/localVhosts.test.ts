import { describe } from "@effect/vitest"
import { Effect } from "effect"
import * as LocalVhosts from "../../../../src/server/engine/internal/localVhosts.ts"
import * as Journal from "../../../../src/server/engine/Journal.ts"
import { vhostsContract } from "../../../harness/vhostsContract.ts"

describe("The vhosts of a broker that is alone", () => {
  vhostsContract(Effect.sync(() => [LocalVhosts.make(new Map(), () => Journal.none).vhosts]))
})
