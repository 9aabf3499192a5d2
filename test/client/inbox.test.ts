import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Result } from "effect"
import * as Inbox from "../../src/client/internal/inbox.ts"

const item = (id: string): Inbox.Item =>
  Result.succeed({ id, event: { event: "e", data: {} }, origin: undefined, deadline: undefined, delivery: undefined })

const idOf = (item: Inbox.Item | undefined) => item && Result.getOrThrow(item).id

const take = ({ take }: Inbox.Inbox) => Effect.map(take, idOf)

describe("an inbox", () => {
  it.effect("gives items in their order, and says when there is no room", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make(2)
      assert.deepStrictEqual(["a", "b", "c"].map((id) => inbox.offerUnsafe(item(id))), [true, true, false])
      assert.strictEqual(inbox.size(), 2)
      assert.strictEqual(yield* take(inbox), "a")
      assert.strictEqual(idOf(inbox.takeUnsafe()), "b")
      assert.strictEqual(inbox.takeUnsafe(), undefined)
    }))

  it.effect("wakes who waits when it is flushed, and not before", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make(10)
      const waiting = yield* Effect.forkChild(take(inbox), { startImmediately: true })
      for (const id of ["a", "b"]) inbox.offerUnsafe(item(id))
      assert.strictEqual(waiting.pollUnsafe(), undefined)
      inbox.flushUnsafe()
      assert.deepStrictEqual(waiting.pollUnsafe(), Exit.succeed("a"))
      assert.strictEqual(yield* take(inbox), "b")
    }))

  it.effect("passes nothing to one that was interrupted", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make(10)
      const one = yield* Effect.forkChild(take(inbox), { startImmediately: true })
      yield* Fiber.interrupt(one)
      inbox.offerUnsafe(item("a"))
      inbox.flushUnsafe()
      assert.strictEqual(yield* take(inbox), "a")
    }))

  it("tells its consumer of each flush with items", () => {
    const inbox = Inbox.make(10)
    const taken: Array<string | undefined> = []
    inbox.onArrival(() => taken.push(idOf(inbox.takeUnsafe())))
    inbox.flushUnsafe()
    for (const id of ["a", "b"]) inbox.offerUnsafe(item(id))
    inbox.flushUnsafe()
    inbox.flushUnsafe()
    inbox.flushUnsafe()
    assert.deepStrictEqual(taken, ["a", "b"])
  })

  it.effect("lets an offer wait for room, in the order in which it came", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make(1)
      inbox.offerUnsafe(item("a"))
      const offer = yield* Effect.forkChild(inbox.offer(item("b")), { startImmediately: true })
      assert.strictEqual(offer.pollUnsafe(), undefined)
      assert.strictEqual(yield* take(inbox), "a")
      yield* Fiber.join(offer)
      assert.strictEqual(yield* take(inbox), "b")
    }))

  it.effect("offers to those who wait, even if it was full when they came", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make(1)
      const one = yield* Effect.forkChild(take(inbox), { startImmediately: true })
      inbox.offerUnsafe(item("a"))
      yield* inbox.offer(item("b"))
      assert.strictEqual(yield* Fiber.join(one), "a")
      assert.strictEqual(yield* take(inbox), "b")
    }))

  it.effect("ends after its last item, for all who wait, and drops what comes later", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make(1)
      inbox.offerUnsafe(item("a"))
      const offer = yield* Effect.forkChild(inbox.offer(item("b")), { startImmediately: true })
      inbox.failUnsafe(Cause.fail(Cause.Done()))
      yield* Fiber.join(offer)
      assert.isTrue(inbox.offerUnsafe(item("c")))
      assert.strictEqual(yield* take(inbox), "a")
      assert.isTrue(Cause.isDone(yield* Effect.flip(take(inbox))))
      const other = Inbox.make(1)
      const waiting = yield* Effect.forkChild(Effect.flip(take(other)), { startImmediately: true })
      other.failUnsafe(Cause.fail(Cause.Done()))
      assert.isTrue(Cause.isDone(yield* Fiber.join(waiting)))
    }))

  it.effect("is empty when it was cleared, and has room again", () =>
    Effect.gen(function*() {
      const inbox = Inbox.make(1)
      inbox.offerUnsafe(item("a"))
      const offer = yield* Effect.forkChild(inbox.offer(item("b")), { startImmediately: true })
      assert.deepStrictEqual(inbox.clearUnsafe().map(idOf), ["a"])
      yield* Fiber.join(offer)
      assert.strictEqual(yield* take(inbox), "b")
    }))
})
