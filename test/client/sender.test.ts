import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as RequestQueue from "../../src/client/internal/requestQueue.ts"
import * as Sender from "../../src/client/internal/sender.ts"

/** A sender on a connection that accepts at once or when it is told, and the batches that it was given. */
const setUp = (options?: { readonly areFew: () => boolean }) => {
  const batches: Array<ReadonlyArray<string>> = []
  let accept: (() => void) | undefined
  let isPrompt = true
  const sender = Sender.make<RequestQueue.Queued>({
    queue: RequestQueue.make({ maxRequests: Infinity, maxBytes: Infinity }),
    maxMessageSize: 10_000,
    onFailed: (_, error) => assert.fail(String(error)),
    onSent: () => {},
    ...options
  })
  sender.attachUnsafe({
    batches: () => true,
    enough: Infinity,
    sendUnsafe: (messages, settled) => {
      batches.push(messages.map(({ envelope }) => envelope))
      accept = () => settled()
      if (isPrompt) settled()
    }
  })
  return {
    batches,
    accept: () => accept?.(),
    waits: () => void (isPrompt = false),
    send: (...envelopes: ReadonlyArray<string>) => {
      for (const envelope of envelopes) sender.sendUnsafe({ envelope, frames: ["BC"] })
      return batches.length
    }
  }
}

const step = Effect.promise(() => Promise.resolve())
const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

describe("the sender", () => {
  it.effect("sends those of a step together, and one at once if the last came alone", () =>
    Effect.gen(function*() {
      const { batches, send } = setUp()
      assert.strictEqual(send("a"), 0)
      yield* step
      assert.strictEqual(send("b"), 2)
      yield* step
      assert.strictEqual(send("c", "d", "e"), 3)
      yield* step
      assert.strictEqual(send("f"), 4)
      yield* step
      assert.strictEqual(send("g"), 6)
      assert.deepStrictEqual(batches, [["a"], ["b"], ["c"], ["d", "e"], ["f"], ["g"]])
    }))

  it.effect("sends those of a turn of the event loop together if few are in flight", () =>
    Effect.gen(function*() {
      let few = true
      const { batches, send } = setUp({ areFew: () => few })
      for (const envelope of ["a", "b", "c"]) {
        send(envelope)
        yield* step
      }
      assert.deepStrictEqual(batches, [])
      yield* turn
      few = false
      send("d")
      yield* step
      assert.deepStrictEqual(batches, [["a", "b", "c"], ["d"]])
    }))

  it.effect("sends nothing before the connection has accepted what was sent", () =>
    Effect.gen(function*() {
      const { accept, batches, send, waits } = setUp()
      waits()
      send("a")
      yield* step
      assert.strictEqual(send("b"), 1)
      yield* step
      assert.strictEqual(send("c", "d"), 1)
      yield* step
      accept()
      yield* step
      assert.deepStrictEqual(batches, [["a"], ["b", "c", "d"]])
    }))
})
