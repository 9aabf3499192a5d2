/**
 * Turns end by time, are shared by all, and taken in the order in which they were asked for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as EventLoop from "../../src/transport/EventLoop.ts"
import { withStoppedClock } from "../harness/stoppedClock.ts"

/** Keeps the event loop busy for so many milliseconds. */
const work = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

/** One turn of the event loop. */
const immediate = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Works in pieces until the turn is over, and gives how many there were. */
const untilOver = (millis: number): number => {
  EventLoop.begin()
  for (let pieces = 1;; pieces++) {
    work(millis)
    if (EventLoop.isOver() || pieces === 100_000) return pieces
  }
}

describe("a turn", () => {
  it.live("is over after eight milliseconds, whatever its pieces take", () =>
    Effect.gen(function*() {
      yield* immediate
      assert.isAtMost(untilOver(2), 5)
      assert.isTrue(EventLoop.isOver(), "for everybody")
      yield* immediate
      yield* immediate
      // The machine may be busy with something else in one turn, but not in all.
      let most = 0
      for (let n = 0; n < 200 && most < 20; n++) {
        most = Math.max(most, untilOver(0.1))
        yield* immediate
        yield* immediate
      }
      assert.isAtLeast(most, 20)
      yield* immediate
      yield* immediate
      assert.strictEqual(untilOver(20), 1)
      yield* immediate
      yield* immediate
      const longest = EventLoop.longestTurn()
      assert.isAtLeast(longest, 0.02)
      // In seconds, on a machine however busy.
      assert.isBelow(longest, 10)
    }))

  it.live("is followed by no other if nothing is left to do", () =>
    Effect.gen(function*() {
      const immediates = () => process.getActiveResourcesInfo().filter((name) => name === "Immediate").length
      yield* immediate
      yield* immediate
      const before = immediates()
      yield* Effect.callback<void>((resume) => EventLoop.enqueueFirst(() => resume(Effect.void)))
      yield* Effect.promise(() => Promise.resolve())
      assert.isAtMost(immediates(), before)
      // Nor does the one that was not needed keep the next from coming.
      yield* EventLoop.next
      yield* Effect.callback<void>((resume) => EventLoop.enqueueFirst(() => resume(EventLoop.next)))
    }))

  it.live("has shares, and gives each of those that come last one after the other", () =>
    withStoppedClock(Effect.fnUntraced(function*(pass) {
      yield* immediate
      yield* immediate
      const share = EventLoop.shareFromNow()
      assert.isFalse(EventLoop.isShareOver(share))
      pass(1)
      assert.isTrue(EventLoop.isShareOver(share))
      const order: Array<string> = []
      const long = (name: string) => () => {
        order.push(name)
        pass(1)
        if (order.length < 20) EventLoop.enqueueLast(long(name))
      }
      EventLoop.enqueueLast(long("a"))
      EventLoop.enqueueLast(long("b"))
      EventLoop.enqueueLast(() => order.push("short"))
      yield* immediate
      assert.deepStrictEqual(order.slice(0, 5), ["a", "b", "short", "a", "b"])
      assert.isBelow(order.length, 20, "not all in one turn")
    })))

  it.live("comes to those who wait in their order, over as many turns as they need", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const one = (name: string) =>
        Effect.gen(function*() {
          for (let round = 0; round < 3; round++) {
            yield* EventLoop.next
            order.push(name)
            work(9)
          }
        })
      let turns = 0
      const count = () => {
        turns++
        if (order.length < 9) setImmediate(count)
      }
      count()
      yield* Effect.all([one("a"), one("b"), one("c")], { concurrency: "unbounded" })
      assert.deepStrictEqual(order, ["a", "b", "c", "a", "b", "c", "a", "b", "c"])
      assert.isAtLeast(turns, 8)
    }))

  it.live("does not come to one that is interrupted", () =>
    Effect.gen(function*() {
      const reached: Array<number> = []
      yield* Effect.raceFirst(Effect.map(EventLoop.next, () => reached.push(1)), Effect.void)
      yield* EventLoop.next
      yield* immediate
      assert.deepStrictEqual(reached, [])
    }))

  it.live("is another one for what goes first, after which the others have theirs", () =>
    withStoppedClock(Effect.fnUntraced(function*(pass) {
      yield* immediate
      yield* immediate
      const order: Array<string> = []
      EventLoop.enqueue(() => order.push(`waiting, over: ${EventLoop.isOver()}`))
      EventLoop.enqueueFirst(() => {
        pass(9)
        order.push(`first, over: ${EventLoop.isOver()}`)
      })
      yield* immediate
      assert.deepStrictEqual(order, ["first, over: true", "waiting, over: false"])
    })))

  it.live("comes last to those who let all others go first, and to one of them if no time is left", () =>
    withStoppedClock(Effect.fnUntraced(function*(pass) {
      yield* immediate
      yield* immediate
      const order: Array<string> = []
      const task = (name: string, millis: number) => () => {
        order.push(name)
        pass(millis)
      }
      for (const name of ["a", "b", "c", "d"]) EventLoop.enqueueLast(task(name, 5))
      for (const name of ["A", "B"]) EventLoop.enqueue(task(name, 9))
      yield* immediate
      assert.deepStrictEqual(order, ["A", "a"])
      EventLoop.enqueue(task("C", 0))
      yield* immediate
      assert.deepStrictEqual(order, ["A", "a", "B", "b"])
      yield* immediate
      assert.deepStrictEqual(order, ["A", "a", "B", "b", "C", "c", "d"])
    })))

  it.live("is late when it has taken twice its time, and the next one is not", () =>
    withStoppedClock(Effect.fnUntraced(function*(pass) {
      yield* immediate
      yield* immediate
      EventLoop.begin()
      pass(9)
      assert.deepStrictEqual([EventLoop.isOver(), EventLoop.isLate()], [true, false])
      pass(9)
      assert.isTrue(EventLoop.isLate())
      yield* immediate
      EventLoop.begin()
      assert.isFalse(EventLoop.isLate())
    })))

  it.live("does not come to others before what goes first and finishes it has ended", () =>
    Effect.gen(function*() {
      yield* immediate
      yield* immediate
      const order: Array<string> = []
      const parts = ["a", "b", "c"]
      const part = () => {
        order.push(parts.shift()!)
        if (parts.length === 0) return
        EventLoop.enqueueFirst(part)
        EventLoop.finish()
      }
      EventLoop.enqueue(() => order.push("waiting"))
      EventLoop.enqueueFirst(part)
      yield* immediate
      assert.isTrue(EventLoop.isOver(), "for everybody")
      yield* EventLoop.next
      assert.deepStrictEqual(order, ["a", "b", "c", "waiting"])
    }))
})
