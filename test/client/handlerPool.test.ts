import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Context, Deferred, Effect, Exit, Latch, Result, Schema } from "effect"
import * as HandlerPool from "../../src/client/internal/handlerPool.ts"
import * as Inbox from "../../src/client/internal/inbox.ts"
import { int } from "../protocol/arbitraries.ts"

const item = (id: string): Inbox.Item =>
  Result.succeed({ id, event: { event: "e", data: {} }, origin: undefined, deadline: undefined, delivery: undefined })

const idOf = (item: Inbox.Item) => Result.getOrThrow(item).id

/** A pool whose handlers do what `handler` says, and what it tells. */
const poolOf = (concurrency: number, handler: (id: string) => Effect.Effect<unknown, string>) => {
  const inbox = Inbox.make(1000)
  const failures: Array<Cause.Cause<string>> = []
  const told: Array<string> = []
  const pool = HandlerPool.make<string, never>({
    inbox,
    concurrency,
    context: Context.empty(),
    handle: (item, { fork }, end) => {
      fork(handler(idOf(item)), (exit) => {
        if (Exit.isSuccess(exit)) return end(undefined)
        fork(Effect.sync(() => told.push(idOf(item))), () => end(exit.cause))
      })
    },
    onFailure: (cause) => failures.push(cause)
  })
  const arrive = (...ids: ReadonlyArray<string>) => {
    for (const id of ids) inbox.offerUnsafe(item(id))
    inbox.flushUnsafe()
  }
  return { arrive, failures, inbox, pool, told }
}

describe("a pool of handlers", () => {
  it.effect.prop("begins every event once, in order, and never more than its concurrency at a time", [
    int(1, 4),
    Arbitrary.array(
      Arbitrary.all({
        waits: Arbitrary.schema(Schema.Boolean),
        arrivesAlone: Arbitrary.schema(Schema.Boolean)
      }),
      { maxLength: 30 }
    )
  ], ([concurrency, events]) =>
    Effect.gen(function*() {
      const begun: Array<string> = []
      let [running, most] = [0, 0]
      const { arrive, pool } = poolOf(concurrency, (id) =>
        Effect.gen(function*() {
          begun.push(id)
          most = Math.max(most, ++running)
          if (events[Number(id)]!.waits) yield* Effect.yieldNow
          running--
        }))
      for (const [index, { arrivesAlone }] of events.entries()) {
        arrive(String(index))
        if (arrivesAlone) yield* pool.idle
      }
      yield* pool.idle
      assert.deepStrictEqual(begun, events.map((_, index) => String(index)))
      assert.isAtMost(most, concurrency)
      assert.strictEqual(pool.inFlight(), 0)
    }))

  it("begins in the step in which its event arrives", () => {
    const begun: Array<string> = []
    const { arrive } = poolOf(2, (id) => Effect.sync(() => begun.push(id)))
    arrive("a", "b", "c")
    assert.deepStrictEqual(begun, ["a", "b", "c"])
  })

  it.live("lets the event loop turn between handlers that do not wait and take long", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const { arrive, pool } = poolOf(1, (id) =>
        Effect.sync(() => {
          const until = performance.now() + 6
          while (performance.now() < until);
          order.push(id)
        }))
      setImmediate(() => order.push("another's turn"))
      arrive("a", "b", "c")
      yield* pool.idle
      assert.deepStrictEqual(order, ["a", "another's turn", "b", "c"])
    }))

  it.effect("tells the first failure, begins nothing more, and lets others finish", () =>
    Effect.gen(function*() {
      const latch = Latch.makeUnsafe()
      const ended: Array<string> = []
      const { arrive, failures, inbox, pool, told } = poolOf(2, (id) =>
        id === "bad"
          ? Effect.fail("no")
          : Effect.andThen(latch.await, Effect.sync(() => ended.push(id))))
      arrive("a", "bad", "b")
      assert.deepStrictEqual([failures, told], [[Cause.fail("no")], ["bad"]])
      assert.deepStrictEqual([pool.inFlight(), inbox.size()], [1, 1])
      yield* latch.open
      yield* pool.idle
      assert.deepStrictEqual(ended, ["a"])
    }))

  it.effect("interrupts its handlers, and hears no failure of theirs then", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const { arrive, failures, pool, told } = poolOf(
        2,
        () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      )
      arrive("a", "b", "c")
      assert.strictEqual(pool.inFlight(), 2)
      yield* pool.interrupt
      yield* Deferred.await(interrupted)
      assert.strictEqual(pool.inFlight(), 0)
      assert.deepStrictEqual([failures, told], [[], []])
    }))
})
