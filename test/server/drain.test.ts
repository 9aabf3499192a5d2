/**
 * How browsers leave a broker that ends: some at a time, and elsewhere.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { Connection } from "../../src/server/endpoint/internal/browser/connection.ts"
import * as Drain from "../../src/server/endpoint/internal/browser/drain.ts"
import { send } from "../harness/admin.ts"
import { eventually } from "../harness/eventually.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"
import { layer, TestBroker } from "../harness/TestBroker.ts"

/** So many connections, of which each records its close code. */
const connections = (count: number) => {
  const codes: Array<number> = []
  const all = Array.from({ length: count }, () => ({
    isClosing: false,
    hasEnded: true,
    ws: { close: (code: number) => codes.push(code), resume: () => {} },
    socket: { destroyed: true }
  }))
  return { codes, open: new Set(all as unknown as ReadonlyArray<Connection>) }
}

const makeDrain = Effect.fnUntraced(function*(open: ReadonlySet<Connection>, time: Duration.Input) {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  return Drain.make({ open, run, time: Duration.fromInputUnsafe(time) })
})

describe("browsers of a broker that ends", () => {
  it.effect.each<[count: number, time: Duration.Input, closed: ReadonlyArray<number>]>([
    [1000, "1 second", [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]],
    [1001, "500 millis", [201, 402, 603, 804, 1001]],
    [120, "1 second", [50, 100, 120]],
    [120, "1 hour", [50, 100, 120]],
    [50, "1 hour", [50]],
    [0, "1 hour", [0]],
    [1000, 0, [1000]],
    [1000, "99 millis", [1000]]
  ])(
    "are closed in equal parts, at least fifty at a time: %i over %s",
    ([count, time, closed]) =>
      Effect.gen(function*() {
        const { codes, open } = connections(count)
        const drain = yield* makeDrain(open, time)
        assert.isFalse(drain.hasBegun())
        const fiber = yield* Effect.forkChild(drain.run, { startImmediately: true })
        assert.isTrue(drain.hasBegun())
        // A part may take more than one turn of the event loop.
        const part = (index: number) =>
          eventually(Effect.sync(() => codes.length), (length) => length === closed[index])
        const seen = [yield* part(0)]
        while (seen.at(-1)! < count) {
          yield* TestClock.adjust("99 millis")
          assert.strictEqual(codes.length, seen.at(-1))
          yield* TestClock.adjust("1 millis")
          seen.push(yield* part(seen.length))
        }
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(seen, closed)
        assert.deepStrictEqual(new Set(codes), new Set(count === 0 ? [] : [1001]))
        // Safe to repeat.
        yield* drain.run
        assert.strictEqual(codes.length, count)
      })
  )

  it.effect("are told first, and new ones are refused, while the broker is alive and not ready", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layer({ admin: { port: 0 } }), scope)
      const { broker } = yield* Effect.provide(TestBroker, context)
      const { port } = broker.admin!
      const connect = (path: string) => RawWebSocket.connect(broker.websocketPort, path)
      const browsers = yield* Effect.forEach(Array.from({ length: 51 }), () => connect("/test"))
      const states = Effect.forEach(browsers, ({ hasEnded }) => hasEnded)
      assert.strictEqual((yield* send(port, "GET", "/ready")).status, 200)

      const end = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      for (const { closeCode } of browsers.slice(0, 50)) assert.strictEqual(yield* closeCode, 1001)
      assert.deepStrictEqual((yield* states).at(-1), false)
      const ready = yield* send(port, "GET", "/ready")
      expect([ready.status, JSON.parse(ready.body)]).toEqual([503, {
        status: "not ready",
        problems: ["the broker is stopping"]
      }])
      assert.strictEqual((yield* send(port, "GET", "/health")).status, 200)
      for (const path of ["/test", "/test?v=1"]) {
        assert.match((yield* connect(path)).head, /^HTTP\/1.1 503 [^]*retry-after: 5/)
      }

      for (const { socket } of browsers.slice(0, 50)) socket.destroy()
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(yield* browsers[50]!.closeCode, 1001)
      for (const { socket } of browsers) socket.destroy()
      yield* Fiber.join(end)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(send(port, "GET", "/health"))))
    }))
})
