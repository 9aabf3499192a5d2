import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Replica from "../../../src/server/engine/internal/replica.ts"
import {
  contentsOf,
  events,
  hasty,
  join,
  makeNode,
  settled,
  snapshotOf,
  turns,
  two
} from "../../harness/replicatedNode.ts"
import * as SharedLog from "../../harness/sharedLog.ts"

describe("a node that begins with what is in the log", () => {
  it.effect("begins with the last snapshot and what follows, and is equal then", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const a = yield* first.connect("joe")
      yield* first.channels.open("presence-room")
      yield* join(first, "presence-room", a)
      const b = yield* second.connect("ann")
      yield* join(second, "presence-room", b, "ann")
      // Its place in the list is before that of the other.
      yield* first.browsers.leave(a, true)
      yield* second.browsers.sendToUser("joe", "news", {})
      const data = { text: "x".repeat(60_000) }
      yield* Effect.forEach(
        Array.from({ length: 150 }),
        () => first.channels.broadcast("history-a", "said", data),
        { concurrency: 10 }
      )
      yield* turns
      const { offset, parts } = shared.snapshot()
      expect(offset).toBeGreaterThan(0)
      expect(parts.length).toBeGreaterThan(0)
      shared.trim(offset)
      yield* second.channels.broadcast("presence-room", "later", {})
      const third = yield* makeNode(shared, "00000003", { batch: 1 })
      yield* settled(first, second, third)
      expect(contentsOf(third)).toEqual(contentsOf(first))
      expect((yield* third.channels.history("history-a", { after: 0, limit: 9, maxSize: 1e6 })).entries).toHaveLength(3)
    }))

  it.effect("collects a snapshot in turns, at one position", () =>
    Effect.gen(function*() {
      const shared = SharedLog.make()
      const first = yield* makeNode(shared, "00000001", { clock: yield* hasty, batch: 1 })
      const second = yield* makeNode(shared, "00000002")
      yield* first.channels.open("room")
      yield* settled(second)
      const together = { concurrency: "unbounded" } as const
      const users = Array.from({ length: 3000 }, (_, n) => `user-${n}`)
      const browsers = yield* Effect.forEach(users, (uid) => second.connect(uid), together)
      yield* Effect.forEach(browsers, (browser, n) => join(second, "room", browser, users[n]), together)
      // They leave while it is collected.
      const data = { text: "x".repeat(60_000) }
      const fill = Effect.forEach(
        Array.from({ length: 150 }),
        () => second.channels.broadcast("history-a", "said", data),
        { concurrency: 10 }
      )
      const leave = Effect.forEach(browsers.slice(0, 500), (browser) => second.browsers.leave(browser, false))
      yield* Effect.all([fill, leave], { concurrency: 2 })
      yield* settled(first)
      yield* Effect.repeat(turns, { until: () => shared.snapshot().offset > 0 })
      shared.trim(shared.snapshot().offset)
      const third = yield* makeNode(shared, "00000003")
      yield* settled(first, second, third)
      expect(contentsOf(third)).toEqual(contentsOf(first))
    }))

  it.effect("begins anew if its position is lost: its browsers come back", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const [a, b] = [yield* first.connect("joe"), yield* second.connect("ann")]
      yield* first.channels.open("room")
      yield* join(first, "room", a)
      yield* settled(first, second)
      shared.lose()
      yield* turns
      yield* settled(first, second)
      yield* turns
      yield* settled(first, second)
      expect([a.closedWith(), b.closedWith()]).toEqual([1012, 1012])
      expect(first.log.epoch()).not.toBe("epoch-1")
      expect([first.browsers.count(), yield* first.channels.describe("room")]).toEqual([
        0,
        { name: "room", kind: "normal", subscribers: 0 }
      ])
      const again = yield* second.connect("ann")
      yield* join(second, "room", again, "ann")
      yield* first.channels.broadcast("room", "said", {})
      yield* settled(second)
      expect(events(again.received())).toEqual([":subscribed", "said"])
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("gives up its lease if it cannot read what was appended, and does not stay deaf", () =>
    Effect.gen(function*() {
      const { shared } = yield* two
      shared.appendFor("00000001", Replica.entryOf(9, ["?"]))
      yield* turns
      const why = expect.stringContaining("The entry 4 of the log is of another version of the broker")
      expect(shared.givenUp()).toEqual([["00000001", why], ["00000002", why]])
    }))

  it.effect("does not begin with a snapshot that it cannot read, and gives up its lease if it must", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const why = "the snapshot at the entry 9 of the log is of another version of the broker"
      yield* settled(first)
      shared.lose({ offset: 9, parts: ["V"] })
      yield* turns
      yield* turns
      expect(shared.givenUp()).toEqual([
        ["00000001", expect.stringContaining(why)],
        ["00000002", expect.stringContaining(why)]
      ])
      const error = yield* Effect.flip(makeNode(shared, "00000003"))
      expect(error.message).toContain(why)
    }))

  it.effect("begins anew in turns, and closes the browsers that come meanwhile", () =>
    Effect.gen(function*() {
      const shared = SharedLog.make()
      const first = yield* makeNode(shared, "00000001", { clock: yield* hasty })
      const second = yield* makeNode(shared, "00000002")
      shared.lose({ offset: 9, parts: snapshotOf(2000) })
      yield* Effect.repeat(Effect.yieldNow, { until: () => first.state.channels.size > 0 })
      const during = yield* first.connect()
      expect(first.state.channels.size).toBeLessThan(2000)
      yield* Effect.repeat(turns, { until: () => first.state.channels.size === 2000 })
      yield* settled(first, second)
      yield* turns
      expect([during.closedWith(), first.browsers.count()]).toEqual([1012, 0])
      const after = yield* first.connect("joe")
      yield* settled(first, second)
      expect([after.closedWith(), second.browsers.count()]).toEqual([undefined, 1])
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))
})
