/**
 * What channels cost at most: the work of one call, the size of one message, the memory of what strangers send.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as BrowserMessage from "../../../src/protocol/BrowserMessage.ts"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as Permission from "../../../src/server/domain/Permission.ts"
import * as Browsers from "../../../src/server/engine/Browsers.ts"
import * as Channels from "../../../src/server/engine/Channels.ts"
import * as Limits from "../../../src/server/engine/internal/limits.ts"
import { enter, makeVhost } from "../../harness/browserSession.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"

const make = (options: Partial<Channels.Options> = {}) =>
  Channels.make({ ...Limits.fromConfig(Effect.runSync(BrokerConfig.make())), ...options })

const permit = (uid: string) => Result.getOrThrow(Permission.make(uid, ".*"))

/** A browser that forgets what it receives, but for the last message. */
const quietPage = (sid: string) => {
  const last = { message: "", count: 0 }
  const page = {
    ...FakeBrowser.make(sid),
    sendUnsafe: (message: string) => {
      last.message = message
      last.count++
    }
  }
  return { page, last }
}

const join = (channels: Channels.Channels, name: string, sid: string, data: JsonObject = {}, hidden = false) => {
  const one = quietPage(sid)
  return Effect.as(channels.subscribe(name, one.page, { permission: permit(sid), hidden, data }), one)
}

interface List {
  readonly channel: string
  readonly subscribers: ReadonlyArray<{ readonly uid: string }>
  readonly truncated?: boolean
  readonly count?: number
  readonly next?: number | null
}

const payloadOf = (message: string): List => Object.values(JSON.parse(message) as Record<string, List>)[0]!

setFlagsFromString("--expose-gc")
const collectGarbage = runInNewContext("gc") as () => void

const used = (): number => {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

/** Millis of the fastest of some runs: a busy machine makes others slow. */
const fastest = (run: () => void): number => {
  let best = Infinity
  for (let n = 0; n < 5; n++) {
    const begin = performance.now()
    run()
    best = Math.min(best, performance.now() - begin)
  }
  return best
}

describe("A list", () => {
  it.effect("of 100 000 channels costs little wherever it continues, and comes to its end", () =>
    Effect.gen(function*() {
      const channels = make({ maxChannels: Infinity })
      for (let n = 0; n < 100_000; n++) yield* channels.open(n % 1000 === 0 ? `rare-${n}` : `c${n}`)
      // What a batch of requests asks at once.
      expect(fastest(() => {
        for (let n = 0; n < 100; n++) channels.listAfter("c", 99_000)
      })).toBeLessThan(300)
      expect(fastest(() => {
        for (let n = 0; n < 100; n++) channels.listAfter("nothing-", 0)
      })).toBeLessThan(500)

      const found: Array<string> = []
      let parts = 0
      for (let after: number | undefined = 0; after !== undefined; parts++) {
        const { items, next }: Channels.Part<Channels.ChannelInfo> = channels.listAfter("rare-", after)
        found.push(...items.map(({ value }) => value.name))
        after = next
      }
      expect([found.length, new Set(found).size]).toEqual([100, 100])
      expect(parts).toBeLessThanOrEqual(11)
      expect(channels.listAfter("c", 0).items.length).toBe(1000)
    }))

  it.effect("goes on after what was removed meanwhile, whatever that was", () =>
    Effect.gen(function*() {
      const channels = make({ maxChannels: Infinity })
      const names = (after: number) => channels.listAfter("", after).items.map(({ value }) => value.name)
      for (let n = 0; n < 3000; n++) yield* channels.open(`c${n}`)
      const { items, next } = channels.listAfter("", 0)
      for (let n = 0; n < 2990; n++) yield* channels.close(`c${n}`)
      expect(names(0)).toEqual(Array.from({ length: 10 }, (_, n) => `c${2990 + n}`))
      expect(names(next!)).toEqual(names(0))
      expect(names(items.at(-1)!.cursor)).toEqual(names(0))
      for (let n = 2990; n < 3000; n++) yield* channels.close(`c${n}`)
      expect(names(0)).toEqual([])
      yield* channels.open("new")
      expect(names(next!)).toEqual(["new"])
    }))

  it.effect("of subscribers has at most 1000, and no hidden ones", () =>
    Effect.gen(function*() {
      const channels = make()
      yield* channels.open("room")
      for (let n = 0; n < 1500; n++) yield* join(channels, "room", `s${n}`, {}, n % 3 === 0)
      const first = yield* channels.subscribersAfter("room", 0)
      expect(first.items.length).toBe(1000)
      expect(first.next).toBeUndefined()
      for (let n = 1500; n < 2000; n++) yield* join(channels, "room", `s${n}`)
      const part = yield* channels.subscribersAfter("room", 0)
      expect([part.items.length, part.next]).toEqual([1000, part.items.at(-1)!.cursor])
      const rest = yield* channels.subscribersAfter("room", part.next!)
      expect(rest.items.map(({ value }) => value.browser.sid)).toEqual(
        Array.from({ length: 500 }, (_, n) => `s${1500 + n}`)
      )
    }))
})

describe("The members of a presence channel", () => {
  it.effect("come in parts where they are too many for one message", () =>
    Effect.gen(function*() {
      const channels = make({ presenceListSize: 2000 })
      yield* channels.open("presence-a")
      for (let n = 0; n < 100; n++) yield* join(channels, "presence-a", `u${n}`, { text: "ż".repeat(50) }, n % 10 === 9)
      const { last, page } = yield* join(channels, "presence-a", "me", {}, true)
      const list = payloadOf(last.message)
      expect(list).toMatchObject({ truncated: true, count: 90, next: expect.any(Number) })
      expect(Buffer.byteLength(last.message)).toBeLessThan(2200)
      const found = list.subscribers.map(({ uid }) => uid)
      for (let after = list.next; typeof after === "number";) {
        yield* channels.members("presence-a", page, after)
        const part = payloadOf(last.message)
        expect(Object.keys(part).toSorted()).toEqual(["channel", "next", "subscribers"])
        expect(Buffer.byteLength(last.message)).toBeLessThan(2200)
        found.push(...part.subscribers.map(({ uid }) => uid))
        after = part.next
      }
      const visible = Array.from({ length: 100 }, (_, n) => n).filter((n) => n % 10 !== 9).map((n) => `u${n}`)
      expect(found).toEqual(visible)
    }))

  it.effect("are all in one message where they have room, and then it says no more than the original's", () =>
    Effect.gen(function*() {
      const channels = make()
      yield* channels.open("presence-a")
      for (let n = 0; n < 100; n++) yield* join(channels, "presence-a", `u${n}`)
      const page = FakeBrowser.make("me")
      yield* channels.subscribe("presence-a", page, { permission: permit("me"), hidden: false, data: {} })
      const [subscribed, ...more] = page.heard() as ReadonlyArray<{ readonly ":subscribed": List }>
      expect(Object.keys(subscribed![":subscribed"]).toSorted()).toEqual(["channel", "subscribers", "uid"])
      expect([subscribed![":subscribed"].subscribers.length, more.length]).toEqual([100, 1])
    }))

  it.effect("never come in a message that the outbound queue of a browser has no room for", () =>
    Effect.gen(function*() {
      const channels = make({ outboxSize: 8000, presenceListSize: Infinity, memberDataSize: 4000 })
      yield* channels.open("presence-a")
      for (let n = 0; n < 20; n++) yield* join(channels, "presence-a", `u${n}`, { text: "x".repeat(900) })
      const { last, page } = yield* join(channels, "presence-a", "me", {}, true)
      expect(last.message.length).toBeLessThan(2200)
      // A part has one member at least, however large it is.
      yield* join(channels, "presence-a", "large", { text: "x".repeat(3000) })
      yield* channels.members("presence-a", page, 21)
      expect(payloadOf(last.message)).toMatchObject({ subscribers: [{ uid: "large" }], next: null })
    }))

  it.effect("of a channel of another kind are none, which costs nothing to find out", () =>
    Effect.gen(function*() {
      const channels = make()
      yield* channels.open("room")
      for (let n = 0; n < 20_000; n++) yield* join(channels, "room", `u${n}`)
      const { last, page } = yield* join(channels, "room", "me")
      const members = channels.members("room", page, 0)
      expect(fastest(() => {
        for (let n = 0; n < 200; n++) Effect.runSync(members)
      })).toBeLessThan(50)
      expect(JSON.parse(last.message)).toEqual({ ":members": { channel: "room", next: null, subscribers: [] } })
    }))

  it.effect("are listed for each who joins without being written anew", () =>
    Effect.gen(function*() {
      const channels = make({ maxSubscriptions: Infinity })
      yield* channels.open("presence-a")
      for (let n = 0; n < 1000; n++) {
        yield* join(channels, "presence-a", `u${n}`, { name: `User ${n}`, tags: [1, 2, 3] })
      }
      const { page } = quietPage("me")
      const options = { permission: permit("me"), hidden: true, data: {} }
      expect(fastest(() => {
        for (let n = 0; n < 20; n++) {
          Effect.runSync(channels.subscribe("presence-a", page, options))
          Effect.runSync(channels.unsubscribe("presence-a", page, {}))
        }
      })).toBeLessThan(100)
    }))
})

describe("A message of the broker", () => {
  it.effect("that would be too large is refused, and nobody is sent anything", () =>
    Effect.gen(function*() {
      const channels = make({ maxMessageSize: 1000 })
      yield* channels.open("room")
      const { last, page } = yield* join(channels, "room", "a")
      last.count = 0
      const grows = (size: number) => channels.broadcast("room", "e", { a: Array.from({ length: size }, () => 1e20) })
      expect(yield* Effect.flip(grows(100))).toMatchObject({ code: 400, detail: expect.stringContaining("1256 bytes") })
      const control = "\u0001".repeat(300)
      expect(yield* Effect.flip(channels.broadcast("room", control, {}))).toMatchObject({ code: 400 })
      expect(yield* Effect.flip(channels.broadcast("room", "e", { a: "ż".repeat(650) }))).toMatchObject({ code: 400 })
      expect(last.count).toBe(0)
      yield* channels.broadcast("room", "e", { a: "x".repeat(1000) }, { from: page })
      yield* grows(50)
      expect(last.count).toBe(2)

      const pages = Browsers.make(() => {}, { maxMessageSize: 1000 })
      pages.enterUnsafe(page)
      expect(yield* Effect.flip(pages.sendTo("a", "e", { a: "x".repeat(1300) }))).toMatchObject({ code: 400 })
      expect(last.count).toBe(2)
    }))

  it.effect("about a browser that leaves is bounded as one about a browser that joins", () =>
    Effect.gen(function*() {
      const channels = make({ memberDataSize: 100 })
      yield* channels.open("presence-a")
      const { last } = yield* join(channels, "presence-a", "a")
      const { page } = yield* join(channels, "presence-a", "b")
      const large = channels.unsubscribe("presence-a", page, { text: "x".repeat(100) })
      expect(yield* Effect.flip(large)).toMatchObject({ code: 400 })
      expect(yield* channels.has("presence-a", page)).toBe(true)
      yield* channels.unsubscribe("presence-a", page, { text: "x".repeat(50) })
      expect(last.message.length).toBeLessThan(200)
    }))
})

describe("A browser", () => {
  it.effect("that leaves many channels with many members does so in several turns, and the others have theirs", () =>
    Effect.gen(function*() {
      const channels = make()
      const { page } = quietPage("a")
      const names = Array.from({ length: 30 }, (_, n) => `presence-${n}`)
      const crowd = Array.from({ length: 1000 }, (_, n) => quietPage(`u${n}`).page)
      const options = { permission: permit("a"), hidden: true, data: {} }
      for (const name of names) {
        yield* channels.open(name)
        for (const other of crowd) yield* channels.subscribe(name, other, options)
        yield* channels.subscribe(name, page, { ...options, hidden: false })
      }
      let turns = 0
      const others = yield* Effect.forkChild(
        Effect.forever(Effect.andThen(Effect.sync(() => turns++), Effect.yieldNow)),
        {
          startImmediately: true
        }
      )
      yield* Effect.uninterruptible(channels.leave(page))
      expect(turns).toBeGreaterThanOrEqual(2)
      yield* Fiber.interrupt(others)
      expect(yield* Effect.forEach(names, (name) => channels.has(name, page))).not.toContain(true)
      // A small leave is one step.
      const before = turns
      yield* channels.leave(page)
      expect(turns).toBe(before)
    }))

  it.live("keeps nothing in memory of what it triggered but the event", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { byteRate: Infinity } })
      const a = enter(world, "a")
      yield* a.authenticate("joe")
      const before = used()
      for (let n = 0; n < 100; n++) {
        const junk = String.fromCharCode(97 + n % 26).repeat(500_000) + n
        const text = `{"trigger":{"event":"an event of some length","data":{"name":"some name"},"junk":"${junk}"}}`
        expect(yield* a.hear(Buffer.from(text).toString())).toEqual([])
      }
      expect(used() - before).toBeLessThan(10_000_000)
      expect((yield* world.vhost.lobby.info).queued).toBe(100)
    }))

  it.live("keeps nothing in memory of what it sent but what counts", () =>
    Effect.gen(function*() {
      const channels = make({ browserDataSize: Infinity })
      const count = 100
      for (let n = 0; n < count; n++) {
        yield* channels.open(`room-${n}`)
        yield* channels.open(`presence-${n}`)
      }
      const { page } = quietPage("a")
      const before = used()
      for (let n = 0; n < count; n++) {
        for (const name of [`room-${n}`, `presence-${n}`]) {
          const junk = String.fromCharCode(97 + n % 26).repeat(500_000) + n
          const text = `{"subscribe":{"channel":"${name}","data":{"name":"a name of some length"},"junk":"${junk}"}}`
          const message = Result.getOrThrow(BrowserMessage.decode(Buffer.from(text).toString()))
          if (message._tag !== "Subscribe") return expect.unreachable()
          yield* channels.subscribe(name, page, { ...message, permission: permit("a") })
        }
      }
      expect(used() - before).toBeLessThan(10_000_000)
      expect(channels.counters.subscriptions).toBe(2 * count)
    }))
})
