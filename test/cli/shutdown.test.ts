/** How a served broker ends. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Shutdown from "../../src/cli/Shutdown.ts"
import { Unpersisted } from "../../src/server/engine/Journal.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"
import { serve, unknownCookie } from "./program.ts"

describe.concurrent("the end of kosmonaut serve", () => {
  it.live("takes a moment, whatever its peers hold", () =>
    Effect.gen(function*() {
      const { program, ready } = yield* serve()
      const port = Number(new URL(ready.websocket).port)
      for (
        const bytes of [
          RawWebSocket.upgrade("/app"),
          RawWebSocket.upgrade("/nope"),
          RawWebSocket.upgrade("/nope?v=1"),
          RawWebSocket.upgrade("/app", { Upgrade: "h2c" }),
          "GET /app HTTP/1.1\r\nHost: x\r\n\r\n",
          "GET /app HTTP/1.1\r\nHost",
          ""
        ]
      ) yield* RawTcp.halfOpen(port, bytes)
      const start = performance.now()
      yield* program.kill("SIGTERM")
      const { status, stderr } = yield* program.output
      assert.isBelow(performance.now() - start, 20_000)
      assert.strictEqual(status, 0)
      assert.match(stderr, unknownCookie)
    }).pipe(Effect.scoped))

  it.effect.each([{ changes: 0, status: undefined }, { changes: 3, status: 1 }])(
    "has a status that says whether everything was stored: %o",
    ({ changes, status }) =>
      Effect.gen(function*() {
        const before = process.exitCode
        const unpersisted = { changes: 0 }
        const broker = Layer.effectDiscard(
          Effect.addFinalizer(() => Effect.sync(() => unpersisted.changes += changes))
        )
        yield* Effect.scoped(Layer.build(Layer.provide(broker, Shutdown.layer))).pipe(
          Effect.provideService(Unpersisted, unpersisted)
        )
        const after = process.exitCode
        process.exitCode = before
        assert.strictEqual(after, status ?? before)
      })
  )
})
