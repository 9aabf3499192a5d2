/**
 * History and recovery, as browsers see them.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import { enter, makeVhost, type World } from "../../harness/browserSession.ts"

const make = (history: BrokerConfig.Options["history"] = {}, more: BrokerConfig.Options = {}) =>
  makeVhost({ ...more, history, channelRules: [{ pattern: "room|presence-.*", history: true }] })

type Received = { readonly [name: string]: any }

/** Subscribes, and gives `:subscribed` and what follows. */
const join = (browser: ReturnType<typeof enter>, options: object = {}, channel = "room") =>
  Effect.map(browser.send("subscribe", { channel, ...options }), (messages) => {
    const [first, ...rest] = messages as ReadonlyArray<Received>
    return { subscribed: first![":subscribed"], rest }
  })

const say = ({ vhost }: World, n: number, exceptSid?: string) =>
  vhost.channels.broadcast("room", "said", { n }, { exceptSid })

const sayAll = (world: World, from: number, to: number) =>
  Effect.forEach(Array.from({ length: to - from + 1 }, (_, index) => from + index), (n) => say(world, n))

/** What was said, of messages. */
const numbers = (messages: ReadonlyArray<unknown>) => (messages as ReadonlyArray<Received>).map(({ said }) => said.n)

const positionOf = (messages: ReadonlyArray<unknown>) => (messages as ReadonlyArray<Received>).at(-1)![":at"] as number

describe("A channel with history", () => {
  it.effect("gives browsers of version 1 positions, and all others the original's messages", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const [old, a, b] = [enter(world, "old"), enter(world, "a", 1), enter(world, "b", 1)]
      const { subscribed } = yield* join(a)
      expect(subscribed).toEqual({
        channel: "room",
        epoch: expect.any(String),
        position: expect.any(Number),
        missed: 0,
        more: false
      })
      yield* join(b)
      expect((yield* join(old, { since: { epoch: "x", position: 0 }, rewind: 5 })).subscribed).toEqual({
        channel: "room"
      })
      yield* say(world, 1, "b")
      const plain = { n: 1, channel: "room" }
      expect(old.browser.received()).toEqual([{ said: plain }])
      const received = a.browser.received()
      expect(received).toEqual([{ said: plain, ":at": expect.any(Number) }])
      expect(positionOf(received)).toBeGreaterThan(subscribed.position)
      expect(b.browser.received()).toEqual([])
    }))

  it.effect("is like any other without history", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const a = enter(world, "a", 1)
      expect((yield* join(a, { rewind: 3 }, "other")).subscribed).toEqual({ channel: "other" })
      yield* world.vhost.channels.broadcast("other", "said", {})
      expect(a.browser.received()).toEqual([{ said: { channel: "other" } }])
      expect((yield* join(enter(world, "b", 1), { since: { epoch: "x", position: 1 } }, "other")).subscribed).toEqual({
        channel: "other",
        recovered: false,
        reason: "dropped",
        missed: 0,
        more: false
      })
    }))
})

describe("Recovery", () => {
  it.effect("gives all that was missed, in order, and then what comes", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const a = enter(world, "a", 1)
      const { subscribed: { epoch } } = yield* join(a)
      yield* sayAll(world, 1, 3)
      const position = positionOf(a.browser.received())
      yield* a.session.end(false)
      yield* sayAll(world, 4, 6)
      yield* say(world, 7, "a")
      yield* say(world, 8, "somebody else")
      const again = enter(world, "b", 1)
      const { rest, subscribed } = yield* join(again, { since: { epoch, position, sid: "a" }, id: 0 })
      expect(subscribed).toMatchObject({ epoch, recovered: true, missed: 4, more: false, id: 0 })
      expect(numbers(rest)).toEqual([4, 5, 6, 8])
      yield* say(world, 9)
      const live = again.browser.received()
      expect(numbers(live)).toEqual([9])
      expect(positionOf(live)).toBeGreaterThan(subscribed.position)
      // It is subscribed, and receives again what it asks for.
      const twice = yield* join(again, { since: { epoch, position, sid: "a" }, id: 1 })
      expect(twice.subscribed).toMatchObject({ recovered: true, missed: 5, more: false, id: 1 })
      expect(numbers(twice.rest)).toEqual([4, 5, 6, 8, 9])
      expect((yield* join(again, { id: 2 })).subscribed).toMatchObject({ missed: 0, more: false })
    }))

  it.effect("succeeds if nothing was broadcast, also long ago", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const a = enter(world, "a", 1)
      const { subscribed: { epoch, position } } = yield* join(a)
      yield* TestClock.adjust("1 day")
      const { subscribed } = yield* join(enter(world, "b", 1), { since: { epoch, position } })
      expect(subscribed).toMatchObject({ recovered: true, missed: 0 })
    }))

  it.effect("comes in parts that fit the outbound queue, and the browser is subscribed with the last one", () =>
    Effect.gen(function*() {
      const world = yield* make({}, { browsers: { outboxSize: 16_000 } })
      const { subscribed: { epoch, position } } = yield* join(enter(world, "a", 1))
      yield* sayAll(world, 1, 25)
      const b = enter(world, "b", 1)
      const all: Array<number> = []
      let since = { epoch, position }
      for (let part = 0;; part++) {
        const { rest, subscribed } = yield* join(b, { since })
        expect(subscribed).toMatchObject({ recovered: true, missed: rest.length })
        expect(rest.length).toBeGreaterThan(0)
        expect(JSON.stringify(rest).length + 320 * rest.length).toBeLessThanOrEqual(4000)
        all.push(...numbers(rest))
        if (!subscribed.more) {
          expect(part).toBe(2)
          break
        }
        expect(subscribed.position).toBe(positionOf(rest))
        // It is not subscribed: this comes with the last part.
        if (part === 0) yield* say(world, 26)
        expect(b.browser.received()).toEqual([])
        since = { epoch, position: subscribed.position }
      }
      expect(all).toEqual(Array.from({ length: 26 }, (_, index) => index + 1))
      yield* say(world, 27)
      expect(numbers(b.browser.received())).toEqual([27])
    }))

  it.effect("gives the last broadcasts to a browser that rewinds", () =>
    Effect.gen(function*() {
      const world = yield* make()
      yield* sayAll(world, 1, 5)
      const rewound = (rewind: number, sid: string) =>
        Effect.map(join(enter(world, sid, 1), { rewind }), ({ rest, subscribed }) => [
          subscribed.missed,
          subscribed.recovered,
          numbers(rest)
        ])
      expect(yield* rewound(0, "a")).toEqual([0, undefined, []])
      expect(yield* rewound(2, "b")).toEqual([2, undefined, [4, 5]])
      expect(yield* rewound(9, "c")).toEqual([5, undefined, [1, 2, 3, 4, 5]])
    }))

  it.effect("says why it cannot, and gives none of what was missed", () =>
    Effect.gen(function*() {
      const world = yield* make({ count: 3 })
      const { subscribed: { epoch, position } } = yield* join(enter(world, "a", 1))
      const outcome = (since: object) =>
        Effect.map(join(enter(world, "b", 1), { since }), ({ rest, subscribed }) => {
          expect(rest).toEqual([])
          expect(subscribed).toMatchObject({ epoch, recovered: false, missed: 0, more: false })
          return subscribed.reason
        })
      yield* sayAll(world, 1, 4)
      expect(yield* outcome({ epoch: "another", position })).toBe("epoch")
      expect(yield* outcome({ epoch, position: 1e9 })).toBe("epoch")
      expect(yield* outcome({ epoch, position })).toBe("dropped")
      yield* world.vhost.channels.close("room")
      yield* world.vhost.channels.open("room")
      expect(yield* outcome({ epoch, position: position + 4 })).toBe("closed")
    }))

  it.effect("says that broadcasts are too old", () =>
    Effect.gen(function*() {
      const world = yield* make({ age: "1 minute" })
      const { subscribed: { epoch, position } } = yield* join(enter(world, "a", 1))
      yield* say(world, 1)
      yield* TestClock.adjust("61 seconds")
      const { rest, subscribed } = yield* join(enter(world, "b", 1), { since: { epoch, position } })
      expect([subscribed.recovered, subscribed.reason, rest]).toEqual([false, "dropped", []])
    }))

  it.effect("is for those who may join, and announces a member with its last part", () =>
    Effect.gen(function*() {
      const world = yield* make({}, { browsers: { outboxSize: 4000 } })
      yield* Effect.forEach([1, 2, 3, 4], (n) => world.vhost.channels.broadcast("presence-room", "said", { n }))
      const ann = enter(world, "ann", 1)
      yield* ann.authenticate("ann")
      yield* join(ann, {}, "presence-room")
      ann.browser.received()
      const joe = enter(world, "joe", 1)
      expect(yield* joe.send("subscribe", { channel: "presence-room", rewind: 9 })).toMatchObject([{
        ":error": { code: 403 }
      }])
      yield* joe.authenticate("joe")
      const first = yield* join(joe, { rewind: 4 }, "presence-room")
      expect(first.subscribed.more).toBe(true)
      expect(first.subscribed.subscribers).toBeUndefined()
      expect(ann.browser.received()).toEqual([])
      let { epoch, more, position } = first.subscribed
      while (more) {
        const next = yield* join(joe, { since: { epoch, position } }, "presence-room")
        ;({ more, position } = next.subscribed)
      }
      expect(ann.browser.received()).toMatchObject([{ ":memberJoined": { uid: "joe" } }])
    }))

  it.effect.each([
    { since: 1 },
    { since: { epoch: "e" } },
    { since: { epoch: "e", position: -1 } },
    { since: { epoch: 1, position: 1 } },
    { since: { epoch: "e", position: 1, sid: 7 } },
    { rewind: -1 },
    { rewind: "all" },
    { rewind: 0.5 }
  ])("rejects $0", (options) =>
    Effect.gen(function*() {
      const world = yield* make()
      expect(yield* enter(world, "a", 1).send("subscribe", { channel: "room", ...options })).toMatchObject([{
        ":error": { code: 400 }
      }])
    }))
})
