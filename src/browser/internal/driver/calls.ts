/**
 * The calls in flight: each is a fiber that waits, and interrupting it cancels the call.
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TransientMap } from "../../../protocol/TransientMap.ts"
import type { Call } from "../input.ts"
import type { CallResult } from "../output.ts"
import type { Driver } from "./driver.ts"

/** The calls of a browser. */
export interface Calls {
  /** Makes a call, and waits for its result. */
  readonly call: (call: Omit<Call, "_tag" | "call">) => Effect.Effect<CallResult>
  readonly settleUnsafe: (call: number, result: CallResult) => void
  /** All calls die of this cause, and whatever is called from now on. */
  readonly endUnsafe: (exit: Exit.Exit<never>) => void
}

/** Makes none. */
export const make = (driver: () => Driver): Calls => {
  const pending = new TransientMap<number, (result: Exit.Exit<CallResult>) => void>()
  let last = 0
  let end: Exit.Exit<never> | undefined
  return {
    call: (call) =>
      Effect.callback((resume) => {
        if (end) return resume(end)
        const number = ++last
        pending.set(number, resume)
        driver().giveUnsafe({ _tag: "Call", call: number, ...call })
        return Effect.sync(() => {
          if (pending.delete(number)) driver().giveUnsafe({ _tag: "Cancel", call: number })
        })
      }),
    settleUnsafe: (call, result) => {
      const resume = pending.get(call)
      pending.delete(call)
      resume?.(Exit.succeed(result))
    },
    endUnsafe: (exit) => {
      end = exit
      for (const resume of pending.values()) resume(exit)
      pending.clear()
    }
  }
}
