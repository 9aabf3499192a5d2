import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Net from "node:net"
import * as Eager from "../../src/transport/Eager.ts"
import * as EventLoop from "../../src/transport/EventLoop.ts"
import * as Writer from "../../src/transport/internal/writer.ts"

/** Does something in a turn of its own. */
const inTurn = <A>(run: () => A): Effect.Effect<A> =>
  Effect.callback((resume) =>
    void setImmediate(() => {
      EventLoop.begin()
      resume(Effect.succeed(run()))
    })
  )

describe("what is written at once", () => {
  it.live("is what comes alone, after a turn in which one came alone", () =>
    Effect.gen(function*() {
      const eager = Eager.make()
      const turnOf = (count: number) => inTurn(() => Array.from({ length: count }, () => eager.countUnsafe()))
      assert.deepStrictEqual(yield* turnOf(1), [false])
      assert.deepStrictEqual(yield* turnOf(1), [true])
      assert.deepStrictEqual(yield* turnOf(3), [true, false, false])
      assert.deepStrictEqual(yield* turnOf(2), [false, false])
      assert.deepStrictEqual(yield* turnOf(1), [false])
      // Turns in which nothing comes do not count.
      assert.deepStrictEqual(yield* turnOf(0), [])
      assert.deepStrictEqual(yield* turnOf(1), [true])
    }))

  it.live("is no message of those that are held, or have a write each", () =>
    Effect.gen(function*() {
      const { send, writer, written } = yield* makeWriter
      assert.deepStrictEqual(yield* inTurn(() => send("a")), [])
      assert.deepStrictEqual(yield* inTurn(() => send("b")), ["a", "b"])
      assert.deepStrictEqual(yield* inTurn(() => [...send("c"), ...send("d")]), ["a", "b", "c", "a", "b", "c"])
      assert.deepStrictEqual(yield* inTurn(() => written()), ["a", "b", "c", "d"])
      yield* inTurn(() => send("e"))
      yield* inTurn(() => send("f"))
      writer.holdUnsafe()
      assert.deepStrictEqual(yield* inTurn(() => send("g")), ["a", "b", "c", "d", "e", "f"])
      writer.flushUnsafe()
      assert.deepStrictEqual(yield* inTurn(() => send("h")), ["a", "b", "c", "d", "e", "f", "g", "h"])
      writer.separateUnsafe()
      assert.notInclude(yield* inTurn(() => send("i")), "i")
    }).pipe(Effect.scoped))
})

/** A writer on a connection that nobody reads, and what it has written. */
const makeWriter = Effect.gen(function*() {
  const server = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => void server.close())
  )
  const { port } = server.address() as Net.AddressInfo
  const socket = yield* Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => void socket.destroy())
  )
  const written: Array<string> = []
  const writer = Writer.make({
    socket,
    encode: (sendings) => {
      written.push(sendings.map(({ envelope }) => envelope).join("+"))
      return Buffer.from("x")
    },
    limit: 1_000_000,
    onDefect: (defect) => assert.fail(String(defect))
  })
  return {
    writer,
    written: () => [...written],
    /** Sends a message, and gives what was written. */
    send: (envelope: string): ReadonlyArray<string> => {
      writer.sendUnsafe({ prefix: undefined, envelope, frames: [], settled: undefined })
      return [...written]
    }
  }
})
