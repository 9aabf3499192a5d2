/**
 * What is sent to users, as their browsers see it.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import { enter, error, makeVhost, type World } from "../../harness/browserSession.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Vhost from "../../harness/vhost.ts"

const make = (history: BrokerConfig.Options["history"] = {}, more: BrokerConfig.Options = {}, pattern = ":user") =>
  makeVhost({ ...more, history, channelRules: [{ pattern, history: true }] })

type Received = { readonly [name: string]: any }

/** A browser of a user, and its inbox. */
const visit = Effect.fnUntraced(function*(world: World, sid: string, uid: string, options: object = {}) {
  const browser = enter(world, sid, 1)
  yield* browser.authenticate(uid, "nothing")
  const [first, ...missed] = (yield* browser.send("subscribe", { channel: ":user", ...options })) as Array<Received>
  return { ...browser, subscribed: first![":subscribed"], missed: numbers(missed) }
})

const say = ({ vhost }: World, uid: string, n: number) => vhost.browsers.sendToUser(uid, "news", { n })

const numbers = (messages: ReadonlyArray<unknown>) => (messages as ReadonlyArray<Received>).map(({ news }) => news.n)

describe("Sending to a user", () => {
  it.effect("reaches all browsers of the user, each by its version, and nobody else", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const old = enter(world, "old")
      yield* old.authenticate("joe")
      const [a, b, other] = yield* Effect.all([
        visit(world, "a", "joe"),
        visit(world, "b", "joe"),
        visit(world, "c", "ann")
      ])
      const notSubscribed = enter(world, "d", 1)
      yield* notSubscribed.authenticate("joe")
      expect(a.subscribed).toEqual({ channel: ":user", uid: "joe" })
      expect(yield* say(world, "joe", 1)).toBe(3)
      expect(old.browser.received()).toEqual([{ news: { n: 1 } }])
      for (const { browser } of [a, b]) {
        expect(browser.received()).toEqual([{ news: { n: 1 }, ":user": expect.any(Number) }])
      }
      for (const { browser } of [other, notSubscribed]) expect(browser.received()).toEqual([])
      expect(yield* say(world, "nobody", 2)).toBe(0)
    }))

  it.effect("subscribes no browser that becomes that of another user", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const { vhost: { browsers, channels } } = world
      const { authenticate, browser, send } = enter(world, "a", 1)
      yield* authenticate("joe")
      for (const channel of ["presence-room", "other"]) yield* send("subscribe", { channel })
      // So many that it does not leave all its channels in one step.
      const permission = { uid: "many", allows: () => true }
      for (let n = 0; n < 10_001; n++) {
        yield* channels.subscribe("presence-room", FakeBrowser.make(`n${n}`), { permission, hidden: true, data: {} })
      }
      const token = yield* world.grant("ann")
      const changing = yield* Effect.forkChild(send("auth", { token }), { startImmediately: true })
      expect(yield* channels.has("presence-room", browser)).toBe(false)
      expect(yield* channels.has("other", browser)).toBe(true)
      yield* browsers.subscribe("joe", "private-room")
      expect(yield* Fiber.join(changing)).toContainEqual({ ":authenticated": { uid: "ann" } })
      expect(yield* channels.has("private-room", browser)).toBe(false)
      expect(yield* browsers.subscribe("ann", "room")).toBe(1)
    }))

  it.effect("is no channel: it cannot be opened, listed, described, broadcast to or joined by others", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const { vhost: { channels } } = world
      const joe = yield* visit(world, "a", "joe")
      for (const name of [":user", ":user:joe", "joe"]) {
        expect((yield* Effect.flip(channels.describe(name))).code).toBe(454)
        expect((yield* Effect.flip(channels.close(name))).code).toBe(454)
        expect((yield* Effect.flip(channels.broadcast(name, "news", {}))).code).toBe(454)
        expect((yield* Effect.flip(channels.subscribersAfter(name, 0))).code).toBe(454)
      }
      expect((yield* Effect.flip(channels.open(":user"))).code).toBe(451)
      expect((yield* channels.list).map(({ name }) => name)).not.toContain(":user")
      const codes = (messages: ReadonlyArray<unknown>) => (messages as Array<Received>).map((one) => one[":error"].code)
      expect(codes(yield* joe.send("broadcast", { channel: ":user", event: "news" }))).toEqual([454])
      expect(codes(yield* joe.send("members", { channel: ":user" }))).toEqual([454])
      expect(codes(yield* enter(world, "stranger", 1).send("subscribe", { channel: ":user" }))).toEqual([403])
      const old = enter(world, "old")
      yield* old.authenticate("joe")
      expect(yield* old.send("subscribe", { channel: ":user" })).toEqual([error(454)])
      expect(joe.browser.received()).toEqual([])
    }))

  it.effect("emits no lifecycle event", () =>
    Effect.gen(function*() {
      const world = yield* make()
      yield* world.attendAs(true)
      const joe = yield* visit(world, "a", "joe")
      yield* joe.send("unsubscribe", { channel: ":user" })
      yield* joe.session.end(false)
      expect(world.triggered.flatMap((event) => Object.keys(event as object))).toEqual([
        ":lifecycle/browserConnected",
        ":lifecycle/browserDisconnected"
      ])
    }))

  it.effect("ends with the authentication as another user, and with unsubscribing", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const browser = yield* visit(world, "a", "joe")
      yield* browser.authenticate("ann")
      expect(yield* say(world, "joe", 1)).toBe(0)
      expect(yield* browser.send("subscribe", { channel: ":user" })).toMatchObject([{ ":subscribed": { uid: "ann" } }])
      expect(yield* browser.send("unsubscribe", { channel: ":user" })).toEqual([
        { ":unsubscribed": { channel: ":user" } }
      ])
      expect(yield* say(world, "ann", 1)).toBe(0)
      expect(browser.browser.received()).toEqual([])
    }))

  it.effect("fails if the event is too large, or the user id is longer than that of any token", () =>
    Effect.gen(function*() {
      const world = yield* make({}, { maxMessageSize: 2000 })
      yield* visit(world, "a", "joe")
      const large = Effect.flip(world.vhost.browsers.sendToUser("joe", "news", { text: "x".repeat(3000) }))
      expect((yield* large).code).toBe(400)
      expect((yield* Effect.flip(say(world, "x".repeat(1001), 1))).code).toBe(400)
      expect(yield* say(world, "x".repeat(1000), 1)).toBe(0)
    }))
})

describe("An inbox with history", () => {
  it.effect("gives what was sent while the user was away, in order, then what comes", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const joe = yield* visit(world, "a", "joe")
      expect(joe.subscribed).toMatchObject({ position: expect.any(Number), missed: 0, more: false })
      const { epoch, position } = joe.subscribed
      yield* joe.session.end(false)
      for (const n of [1, 2, 3]) yield* Effect.all([say(world, "joe", n), say(world, "ann", n)])
      const again = yield* visit(world, "b", "joe", { since: { epoch, position, sid: "a" } })
      expect(again.subscribed).toMatchObject({ recovered: true, missed: 3 })
      expect(again.missed).toEqual([1, 2, 3])
      yield* say(world, "joe", 4)
      expect(numbers(again.browser.received())).toEqual([4])
      expect((yield* visit(world, "c", "ann", { rewind: 2 })).missed).toEqual([2, 3])
    }))

  it.effect("has no gap where nothing was sent, also if others have messages that are gone", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const { session, subscribed: { epoch, position } } = yield* visit(world, "a", "joe")
      yield* session.end(false)
      yield* say(world, "ann", 1)
      yield* TestClock.adjust("1 day")
      yield* say(world, "ann", 2)
      const since = { epoch, position }
      expect((yield* visit(world, "b", "joe", { since })).subscribed).toMatchObject({ recovered: true, missed: 0 })
      expect((yield* visit(world, "c", "ann", { since })).subscribed).toMatchObject({
        recovered: false,
        reason: "dropped"
      })
    }))

  it.effect("tells of a gap once it was dropped: of too many users the one is that got nothing for longest", () =>
    Effect.gen(function*() {
      const world = yield* make({ maxUsers: 3 })
      const { session, subscribed: { epoch, position } } = yield* visit(world, "a", "joe")
      yield* session.end(false)
      const since = { epoch, position }
      for (const uid of ["b", "c", "d"]) yield* say(world, uid, 1)
      yield* say(world, "b", 2)
      yield* say(world, "e", 1)
      expect((yield* visit(world, "1", "b", { since })).missed).toEqual([1, 2])
      expect((yield* visit(world, "2", "c", { since })).subscribed).toMatchObject({ reason: "dropped" })
      // It is not known any more that nothing was sent to this one.
      expect((yield* visit(world, "3", "joe", { since })).subscribed).toMatchObject({ reason: "dropped" })
      // One that has browsers does not count.
      yield* say(world, "f", 1)
      expect((yield* visit(world, "4", "d", { rewind: 9 })).missed).toEqual([1])
      expect((yield* visit(world, "5", "b", { rewind: 9 })).missed).toEqual([1, 2])
    }))

  it.effect("comes in parts, and what is sent meanwhile comes with them", () =>
    Effect.gen(function*() {
      const world = yield* make({}, { browsers: { outboxSize: 16_000 } })
      const first = yield* visit(world, "a", "joe")
      yield* first.session.end(false)
      for (let n = 1; n <= 25; n++) yield* say(world, "joe", n)
      let since = first.subscribed
      const browser = yield* visit(world, "b", "joe", { since })
      const all = [...browser.missed]
      since = browser.subscribed
      for (let part = 0; since.more; part++) {
        expect(yield* say(world, "joe", 26 + part)).toBe(0)
        const [subscribed, ...missed] = (yield* browser.send("subscribe", { channel: ":user", since })) as Array<
          Received
        >
        since = subscribed![":subscribed"]
        all.push(...numbers(missed))
      }
      expect(all.length).toBeGreaterThan(26)
      expect(all).toEqual(all.map((_, index) => index + 1))
      expect(yield* say(world, "joe", all.length + 1)).toBe(1)
    }))

  it.effect("follows its rule, also if that changes", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const { vhost: { channels } } = world
      const rules = (...rules: ReadonlyArray<BrokerConfig.ChannelRule>) => channels.setRules(Vhost.rules(...rules))
      const joe = yield* visit(world, "a", "joe")
      const { epoch, position } = joe.subscribed
      yield* Effect.all([say(world, "joe", 1), say(world, "ann", 1), say(world, "joe", 2), say(world, "ann", 2)])
      yield* rules({ pattern: ":user", history: { count: 1 } })
      expect((yield* visit(world, "b", "joe", { rewind: 9 })).missed).toEqual([2])
      expect((yield* visit(world, "c", "ann", { rewind: 9 })).missed).toEqual([2])
      yield* rules()
      expect((yield* visit(world, "d", "joe", { rewind: 9 })).missed).toEqual([])
      joe.browser.received()
      yield* say(world, "joe", 3)
      expect(numbers(joe.browser.received())).toEqual([3])
      yield* rules({ pattern: ":user", history: true, maxSubscribers: 5 })
      yield* say(world, "joe", 4)
      expect((yield* visit(world, "e", "joe", { since: { epoch, position } })).subscribed).toMatchObject({
        recovered: false,
        reason: "dropped"
      })
      expect((yield* visit(world, "f", "joe", { rewind: 9 })).missed).toEqual([4])
      const one = enter(world, "g", 1)
      yield* one.authenticate("joe")
      expect(yield* one.send("subscribe", { channel: ":user" })).toMatchObject([{ ":error": { code: 429 } }])
    }))

  it.effect("retains nothing of users who got nothing", () =>
    Effect.gen(function*() {
      const world = yield* make()
      for (let n = 0; n < 1000; n++) {
        const { session } = yield* visit(world, `s${n}`, `u${n}`)
        yield* session.end(false)
      }
      expect(world.vhost.channels.counters).toMatchObject({ channels: 4, subscriptions: 0 })
    }))
})

describe("Subscribing a user", () => {
  const subscribers = ({ vhost: { channels } }: World, channel: string) =>
    Effect.map(channels.describe(channel), ({ subscribers }) => subscribers)

  it.effect("subscribes the browsers of version 1 that the user has, whatever their tokens allow, and tells them", () =>
    Effect.gen(function*() {
      const world = yield* make({}, {}, "private-room")
      const { vhost: { browsers, channels } } = world
      const [a, b, other] = yield* Effect.all([
        visit(world, "a", "joe"),
        visit(world, "b", "joe"),
        visit(world, "c", "ann")
      ])
      const old = enter(world, "old")
      yield* old.authenticate("joe")
      expect(yield* browsers.subscribe("joe", "private-room")).toBe(2)
      for (const { browser } of [a, b]) {
        expect(browser.received()).toEqual([
          {
            ":subscribed": {
              channel: "private-room",
              uid: "joe",
              epoch: expect.any(String),
              position: expect.any(Number),
              missed: 0,
              more: false
            }
          }
        ])
      }
      expect(yield* browsers.subscribe("joe", "private-room")).toBe(0)
      yield* channels.broadcast("private-room", "said", { n: 1 })
      expect(a.browser.received()).toMatchObject([{ said: { n: 1 } }])
      for (const { browser } of [old, other]) expect(browser.received()).toEqual([])
      expect((yield* Effect.flip(browsers.subscribe("joe", "unknown"))).code).toBe(454)
      expect((yield* Effect.flip(browsers.subscribe("nobody", ":user"))).code).toBe(454)
      expect(yield* browsers.subscribe("nobody", "room")).toBe(0)
    }))

  it.effect("lasts until the browser leaves or another user is there, and over another token", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const { vhost: { browsers } } = world
      const joe = yield* visit(world, "a", "joe")
      yield* browsers.subscribe("joe", "private-room")
      joe.browser.received()
      expect(yield* joe.authenticate("joe", "nothing")).toMatchObject([{ ":authenticated": {} }])
      expect(yield* subscribers(world, "private-room")).toBe(1)
      yield* joe.authenticate("ann")
      expect(yield* subscribers(world, "private-room")).toBe(0)
      yield* browsers.subscribe("ann", "presence-room")
      yield* joe.session.end(false)
      expect(yield* subscribers(world, "presence-room")).toBe(0)
    }))

  it.effect("unsubscribes all browsers of the user, and says why to those that understand it", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const { vhost: { browsers } } = world
      const [joe, ann] = [yield* visit(world, "a", "joe"), yield* visit(world, "b", "ann")]
      const old = enter(world, "old")
      yield* old.authenticate("joe")
      for (const { send } of [joe, ann, old]) yield* send("subscribe", { channel: "room" })
      expect(yield* browsers.unsubscribe("joe", "room")).toBe(2)
      expect(joe.browser.received()).toEqual([{ ":unsubscribed": { channel: "room", reason: "backend" } }])
      expect(old.browser.received()).toEqual([{ ":unsubscribed": { channel: "room" } }])
      expect(ann.browser.received()).toEqual([])
      expect(yield* browsers.unsubscribe("joe", "room")).toBe(0)
      expect((yield* Effect.flip(browsers.unsubscribe("joe", "unknown"))).code).toBe(454)
    }))

  it.effect("leaves out browsers that have reached a limit", () =>
    Effect.gen(function*() {
      const world = yield* make({}, { browsers: { maxSubscriptions: 2 } })
      const [joe] = [yield* visit(world, "a", "joe"), yield* visit(world, "b", "joe")]
      yield* joe.send("subscribe", { channel: "other" })
      expect(yield* world.vhost.browsers.subscribe("joe", "room")).toBe(1)
      expect(joe.browser.received()).toEqual([])
    }))

  it.effect("announces a member once, with a user's first browser, and the last one's leaving", () =>
    Effect.gen(function*() {
      const world = yield* make()
      yield* world.attendAs(true)
      const { vhost: { browsers } } = world
      yield* visit(world, "a", "joe")
      yield* visit(world, "b", "joe")
      yield* browsers.subscribe("joe", "presence-room")
      yield* browsers.unsubscribe("joe", "presence-room")
      const names = world.triggered.flatMap((event) => Object.keys(event as object))
      expect(names.filter((name) => !name.includes("browser"))).toEqual([
        ":lifecycle/channelOccupied",
        ":lifecycle/memberJoined",
        ":lifecycle/memberLeft",
        ":lifecycle/channelVacated"
      ])
    }))
})

describe("A token that subscribes", () => {
  const authenticate = Effect.fnUntraced(function*(
    world: World,
    browser: ReturnType<typeof enter>,
    channels: ReadonlyArray<string>
  ) {
    const token = yield* world.vhost.accessTokens.issue("joe", "nothing", { channels })
    return (yield* browser.send("auth", { token: Redacted.value(token) })) as ReadonlyArray<Received>
  })

  it.effect("subscribes a browser of version 1 when it authenticates, and says what failed", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const browser = enter(world, "a", 1)
      const [authenticated, ...rest] = yield* authenticate(world, browser, ["room", "private-room", "unknown"])
      expect(authenticated).toMatchObject({ ":authenticated": { channels: ["room", "private-room", "unknown"] } })
      expect(rest).toEqual([
        { ":subscribed": { channel: "room" } },
        { ":subscribed": { channel: "private-room", uid: "joe" } },
        { ":error": { ...error(454)[":error"], event: "subscribe", channel: "unknown", reason: expect.any(String) } }
      ])
      // What it is subscribed to stays, and what the new token does not have ends.
      expect((yield* authenticate(world, browser, ["private-room", "presence-room"])).slice(1)).toMatchObject([
        { ":subscribed": { channel: "presence-room" } },
        { ":memberJoined": { uid: "joe" } }
      ])
      expect((yield* authenticate(world, browser, ["presence-room"])).slice(1)).toEqual([
        { ":unsubscribed": { channel: "private-room", reason: "forbidden" } }
      ])
    }))

  it.effect("allows its channels to browsers of version 0, which subscribe by themselves", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const browser = enter(world, "a")
      expect(yield* authenticate(world, browser, ["private-room"])).toEqual([{ ":authenticated": {} }])
      expect(yield* browser.send("subscribe", { channel: "private-room" })).toMatchObject([{ ":subscribed": {} }])
      expect(yield* browser.send("subscribe", { channel: "presence-room" })).toEqual([error(403)])
    }))

  it.effect("does not hide what a browser has missed that subscribes by itself, too", () =>
    Effect.gen(function*() {
      const world = yield* make({}, { browsers: { outboxSize: 16_000 } }, "room")
      const { vhost: { channels } } = world
      const broadcast = (n: number) => channels.broadcast("room", "news", { n })
      const first = enter(world, "a", 1)
      const [, subscribed] = yield* authenticate(world, first, ["room"])
      yield* first.session.end(false)
      yield* Effect.forEach(Array.from({ length: 25 }), (_, n) => broadcast(n + 1))
      const browser = enter(world, "b", 1)
      yield* authenticate(world, browser, ["room"])
      yield* broadcast(26)
      expect(numbers(browser.browser.received())).toEqual([26])
      const all: Array<number> = []
      for (let since = subscribed![":subscribed"], isWhole = false; !isWhole;) {
        const [next, ...part] = (yield* browser.send("subscribe", { channel: "room", since, id: 0 })) as Array<Received>
        since = next![":subscribed"]
        expect(since).toMatchObject({ recovered: true, missed: part.length })
        all.push(...numbers(part))
        isWhole = !since.more
      }
      expect(all).toEqual(Array.from({ length: 26 }, (_, n) => n + 1))
    }))
})
