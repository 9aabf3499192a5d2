import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Result } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import {
  type BadRequestError,
  ChannelNotFoundError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError,
  type TooManyRequestsError
} from "../../../src/protocol/KosmonautError.ts"
import * as Lifecycle from "../../../src/protocol/Lifecycle.ts"
import type { Event } from "../../../src/protocol/Trigger.ts"
import type { Subscription } from "../../../src/server/domain/Browser.ts"
import * as Permission from "../../../src/server/domain/Permission.ts"
import type * as Channels from "../../../src/server/engine/Channels.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Vhost from "../../harness/vhost.ts"
import { int, pick } from "../../protocol/arbitraries.ts"

const permit = (uid: string, pattern = ".*") => Result.getOrThrow(Permission.make(uid, pattern))

const joe = permit("joe")
const ann = permit("ann")

/** Channels with the limits of a broker, or others. */
const makeWith = (options?: Vhost.Options) => Vhost.make(options).channels

/** Channels with `names` open. */
const make = Effect.fnUntraced(function*(...names: ReadonlyArray<string>) {
  const channels = makeWith()
  yield* Effect.forEach(names, channels.open)
  return channels
})

/** Subscribes, and drops the messages about it. */
const join = (
  channels: Channels.Channels,
  name: string,
  browser: FakeBrowser.FakeBrowser,
  permission?: Permission.Permission,
  options?: { readonly hidden?: boolean; readonly data?: JsonObject }
) =>
  Effect.map(
    channels.subscribe(name, browser, { permission, hidden: false, data: {}, ...options }),
    () => void browser.received()
  )

const browsers = <const Sids extends ReadonlyArray<string>>(...sids: Sids) =>
  sids.map((sid) => FakeBrowser.make(sid)) as { readonly [Index in keyof Sids]: FakeBrowser.FakeBrowser }

describe("Channels", () => {
  describe("opening and closing", () => {
    it.effect("opens a channel once, and returns whether it was new", () =>
      Effect.gen(function*() {
        const channels = yield* make()
        expect(yield* channels.open("room")).toBe(true)
        expect(yield* channels.open("room")).toBe(false)
        expect(yield* channels.list).toEqual([{ name: "room", kind: "normal", subscribers: 0 }])
      }))

    it.effect("derives the kind from the name, and counts hidden subscribers", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "private-a", "presence-a", "presence", "privately-a")
        const [a] = browsers("a")
        yield* join(channels, "presence-a", a, joe, { hidden: true })
        expect(yield* channels.list).toEqual([
          { name: "room", kind: "normal", subscribers: 0 },
          { name: "private-a", kind: "private", subscribers: 0 },
          { name: "presence-a", kind: "presence", subscribers: 1 },
          { name: "presence", kind: "normal", subscribers: 0 },
          { name: "privately-a", kind: "normal", subscribers: 0 }
        ])
      }))

    it.effect.each(["", "%%%", "-room", ".room", "a room", "room\n", "pokój", "a".repeat(256)])(
      "rejects the channel name %j",
      (name) =>
        Effect.gen(function*() {
          const channels = yield* make()
          const failure = yield* Effect.flip(channels.open(name))
          expect(failure).toBeInstanceOf(InvalidChannelNameError)
          expect(failure.code).toBe(451)
          expect(yield* channels.list).toEqual([])
        })
    )

    it.effect("opens at most maxChannels channels", () =>
      Effect.gen(function*() {
        const channels = makeWith({ maxChannels: 2, memberDataSize: 4096 })
        yield* channels.open("a")
        yield* channels.open("b")
        const failure = yield* Effect.flip(channels.open("c"))
        expect(failure).toBeInstanceOf(InternalError)
        expect(failure.code).toBe(597)
        // One that is there is no new one, and a bad name is a bad name.
        expect(yield* channels.open("a")).toBe(false)
        expect(yield* Effect.flip(channels.open("%"))).toBeInstanceOf(InvalidChannelNameError)
        yield* channels.close("a")
        expect(yield* channels.open("c")).toBe(true)
      }))

    it.effect.each(["nope", "", "%%%", "__proto__", "constructor"])(
      "fails for the channel %j, which is not open",
      (name) =>
        Effect.gen(function*() {
          const channels = yield* make("room")
          const [a] = browsers("a")
          const options = { permission: joe, hidden: false, data: {} }
          const failures = yield* Effect.forEach([
            channels.close(name),
            channels.broadcast(name, "hello", {}),
            channels.broadcast(name, "hello", {}, { from: a }),
            channels.subscribe(name, a, options),
            channels.unsubscribe(name, a, {}),
            Effect.asVoid(channels.has(name, a))
          ], (effect: Effect.Effect<void, unknown>) => Effect.flip(effect))
          for (const failure of failures) {
            expect(failure).toBeInstanceOf(ChannelNotFoundError)
            expect(failure).toMatchObject({ code: 454, channel: name })
          }
          expect(a.received()).toEqual([])
        })
    )

    it.effect("sends :unsubscribed to each subscriber of a closed channel, once, and to no other browser", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "presence-a", "other")
        const [a, b, c] = browsers("a", "b", "c")
        yield* join(channels, "presence-a", a, joe)
        yield* join(channels, "presence-a", b, ann, { hidden: true })
        yield* join(channels, "other", c)
        a.received()
        yield* channels.close("presence-a")
        expect(a.received()).toEqual([{ ":unsubscribed": { channel: "presence-a" } }])
        expect(b.received()).toEqual([{ ":unsubscribed": { channel: "presence-a" } }])
        expect(c.received()).toEqual([])
        expect((yield* channels.list).map(({ name }) => name)).toEqual(["room", "other"])
      }))

    it.effect("has no subscribers when it is opened again", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe)
        yield* channels.close("presence-a")
        yield* channels.open("presence-a")
        a.received()
        expect(yield* channels.has("presence-a", a)).toBe(false)
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: {} })
        yield* channels.broadcast("presence-a", "hello", {})
        yield* channels.leave(a)
        expect(a.received()).toEqual([])
        expect(b.received()).toEqual([
          { ":subscribed": { channel: "presence-a", uid: "ann", subscribers: [] } },
          { ":memberJoined": { channel: "presence-a", uid: "ann" } },
          { hello: { channel: "presence-a" } }
        ])
      }))

    it.live("keeps no reference to browsers that are not subscribed any more", () =>
      Effect.gen(function*() {
        const { browsers, channels } = Vhost.make()
        yield* Effect.forEach(["room", "other", "presence-room"], channels.open)
        const forgotten = yield* Effect.forEach(["closed", "unsubscribed", "left", "away"], (how) =>
          Effect.gen(function*() {
            const browser = FakeBrowser.make(how, undefined, how === "away" ? 1 : 0)
            yield* channels.open("room")
            yield* join(channels, how === "away" ? "presence-room" : "room", browser, joe)
            if (how === "closed") {
              yield* channels.close("room")
            }
            if (how === "unsubscribed") {
              yield* channels.unsubscribe("room", browser, {})
            }
            yield* browsers.leave(browser, how === "away")
            return new WeakRef(browser)
          }))
        setFlagsFromString("--expose-gc")
        const collectGarbage = runInNewContext("gc") as () => void
        // A weak reference is kept until the task that made it is over.
        yield* Effect.callback<void>((resume) =>
          void setImmediate(() =>
            resume(Effect.void)
          )
        )
        collectGarbage()
        expect(forgotten.map((browser) => browser.deref()?.sid)).toEqual(Array(4).fill(undefined))
        expect((yield* channels.list).length).toBe(3)
        // Its user is a member until its grace is over.
        const { items } = yield* channels.subscribersAfter("presence-room", 0)
        expect(items.map(({ value: { browser, isAway } }) => [browser.sid, isAway])).toEqual([["away", true]])
      }))
  })

  describe("subscribing", () => {
    it.effect("sends a message only to the browser on a normal channel, without a uid", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        yield* channels.subscribe("room", b, { permission: joe, hidden: false, data: { name: "Joe" } })
        expect(b.received()).toEqual([{ ":subscribed": { channel: "room" } }])
        expect(a.received()).toEqual([])
        yield* channels.unsubscribe("room", b, {})
        expect(b.received()).toEqual([{ ":unsubscribed": { channel: "room" } }])
        expect(a.received()).toEqual([])
      }))

    it.effect("adds the uid on a private channel, and sends nothing to other subscribers", () =>
      Effect.gen(function*() {
        const channels = yield* make("private-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "private-a", a, joe)
        yield* channels.subscribe("private-a", b, { permission: ann, hidden: false, data: { name: "Ann" } })
        expect(b.received()).toEqual([{ ":subscribed": { channel: "private-a", uid: "ann" } }])
        yield* channels.leave(b)
        expect(a.received()).toEqual([])
      }))

    it.effect("lists the earlier members, and announces the new one to all, itself too", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        yield* channels.subscribe("presence-a", a, { permission: joe, hidden: false, data: { name: "Joe" } })
        expect(a.received()).toEqual([
          { ":subscribed": { channel: "presence-a", uid: "joe", subscribers: [] } },
          { ":memberJoined": { channel: "presence-a", uid: "joe", name: "Joe" } }
        ])
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: { name: "Ann" } })
        const joined = { ":memberJoined": { channel: "presence-a", uid: "ann", name: "Ann" } }
        const listed = { channel: "presence-a", uid: "joe", name: "Joe" }
        expect(b.received()).toEqual([
          { ":subscribed": { channel: "presence-a", uid: "ann", subscribers: [listed] } },
          joined
        ])
        expect(a.received()).toEqual([joined])
      }))

    it.effect("never announces or lists a hidden subscriber, which receives everything", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b, hidden] = browsers("a", "b", "hidden")
        yield* join(channels, "presence-a", a, joe)
        yield* channels.subscribe("presence-a", hidden, { permission: permit("spy"), hidden: true, data: { s: 1 } })
        expect(hidden.received()).toEqual([{
          ":subscribed": {
            channel: "presence-a",
            uid: "spy",
            subscribers: [{ channel: "presence-a", uid: "joe" }]
          }
        }])
        expect(a.received()).toEqual([])

        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: {} })
        expect(b.received()[0]).toMatchObject({ ":subscribed": { subscribers: [{ uid: "joe" }] } })
        expect(hidden.received()).toEqual([{ ":memberJoined": { channel: "presence-a", uid: "ann" } }])

        yield* channels.broadcast("presence-a", "hello", {}, { from: a })
        yield* channels.unsubscribe("presence-a", a, {})
        expect(hidden.received()).toEqual([
          { hello: { channel: "presence-a", sid: "a" } },
          { ":memberLeft": { channel: "presence-a", uid: "joe" } }
        ])
        b.received()

        yield* channels.unsubscribe("presence-a", hidden, { bye: true })
        expect(hidden.received()).toEqual([{ ":unsubscribed": { channel: "presence-a" } }])
        expect(b.received()).toEqual([])
      }))

    it.effect("changes nothing the second time, and keeps the data of the first", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe, { data: { n: 1 } })
        yield* channels.subscribe("presence-a", a, { permission: ann, hidden: true, data: { n: 2 } })
        expect(a.received()).toEqual([])
        expect(yield* channels.list).toMatchObject([{ subscribers: 1 }])
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: {} })
        expect(b.received()[0]).toMatchObject({ ":subscribed": { subscribers: [{ uid: "joe", n: 1 }] } })
        a.received()
        yield* channels.broadcast("presence-a", "hello", {})
        expect(a.received()).toEqual([{ hello: { channel: "presence-a" } }])
      }))

    it.effect("lists one user on two browsers twice", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b, c] = browsers("a", "b", "c")
        yield* join(channels, "presence-a", a, joe)
        yield* join(channels, "presence-a", b, joe)
        yield* channels.subscribe("presence-a", c, { permission: joe, hidden: false, data: {} })
        const member = { channel: "presence-a", uid: "joe" }
        expect(c.received()[0]).toMatchObject({ ":subscribed": { subscribers: [member, member] } })
      }))

    it.effect("is forbidden on private and presence channels without a permission that matches", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "private-a", "presence-a")
        const [a] = browsers("a")
        for (const name of ["private-a", "presence-a"]) {
          for (const permission of [undefined, permit("joe", "private|presence|-a|.*-b"), permit("joe", "")]) {
            const failure = yield* Effect.flip(
              channels.subscribe(name, a, { permission, hidden: true, data: {} })
            )
            expect(failure).toBeInstanceOf(ForbiddenError)
            expect(failure.code).toBe(403)
          }
        }
        // A normal channel needs none, and minds none that does not match.
        yield* channels.subscribe("room", a, { permission: permit("joe", "other"), hidden: false, data: {} })
        expect(a.received()).toEqual([{ ":subscribed": { channel: "room" } }])
        expect((yield* channels.list).map(({ subscribers }) => subscribers)).toEqual([1, 0, 0])
      }))

    it.effect("accepts at most memberDataSize bytes of data on channels of every kind", () =>
      Effect.gen(function*() {
        const channels = makeWith({ maxChannels: 10, memberDataSize: 20 })
        yield* Effect.forEach(["room", "private-a", "presence-a"], channels.open)
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe)
        // {"n":"żżżżżż"} has 14 characters and 20 bytes.
        const [fits, doesNot] = [{ n: "żżżżżż" }, { n: "żżżżżżx" }]
        for (const hidden of [false, true]) {
          const failure = yield* Effect.flip(
            channels.subscribe("presence-a", b, { permission: ann, hidden, data: doesNot })
          )
          expect(failure).toMatchObject({ _tag: "BadRequestError", code: 400 })
        }
        expect([a.received(), b.received(), yield* channels.has("presence-a", b)]).toEqual([[], [], false])
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: fits })
        expect(a.received()).toEqual([{ ":memberJoined": { ...fits, channel: "presence-a", uid: "ann" } }])
        // Elsewhere a backend can ask for them.
        for (const name of ["room", "private-a"]) {
          const failure = yield* Effect.flip(join(channels, name, b, ann, { data: doesNot }))
          expect(failure).toMatchObject({ _tag: "BadRequestError", code: 400 })
          expect(yield* channels.has(name, b)).toBe(false)
          yield* join(channels, name, b, ann, { data: fits })
        }
      }))

    it.effect("does not let data replace the system's keys", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        const forged = { uid: "root", channel: "other", sid: "forged", subscribers: "forged" }
        yield* join(channels, "presence-a", a, joe)
        yield* channels.subscribe("presence-a", b, { permission: ann, hidden: false, data: forged })
        const told = { uid: "ann", channel: "presence-a", sid: "forged", subscribers: "forged" }
        expect(a.received()).toEqual([{ ":memberJoined": told }])
        yield* channels.broadcast("presence-a", "hello", forged, { from: b })
        expect(a.received()).toEqual([{ hello: { ...forged, channel: "presence-a", sid: "b" } }])
        yield* channels.unsubscribe("presence-a", b, { uid: "nobody", channel: "x" })
        expect(a.received()).toEqual([{ ":memberLeft": told }])
      }))
  })

  describe("leaving", () => {
    it.effect("merges the data of unsubscribe into those of subscribe", () =>
      Effect.gen(function*() {
        const channels = yield* make("presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe)
        yield* join(channels, "presence-a", b, ann, { data: { name: "Ann", mood: "good" } })
        a.received()
        yield* channels.unsubscribe("presence-a", b, { mood: "bad", bye: true })
        expect(b.received()).toEqual([{ ":unsubscribed": { channel: "presence-a" } }])
        expect(a.received()).toEqual([
          { ":memberLeft": { channel: "presence-a", uid: "ann", name: "Ann", mood: "bad", bye: true } }
        ])
      }))

    it.effect("fails for a browser that is not subscribed", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        yield* join(channels, "presence-a", b, joe)
        const failure = yield* Effect.flip(channels.unsubscribe("presence-a", a, {}))
        expect(failure).toBeInstanceOf(NotSubscribedError)
        expect(failure.code).toBe(453)
        yield* channels.unsubscribe("room", a, {})
        expect(yield* Effect.flip(channels.unsubscribe("room", a, {}))).toBeInstanceOf(NotSubscribedError)
        expect(b.received()).toEqual([])
      }))

    it.effect("leaves all channels without a message to the browser, and announces it to the others", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "private-a", "presence-a", "presence-b")
        const [a, b] = browsers("a", "b")
        for (const name of ["room", "private-a", "presence-a", "presence-b"]) {
          yield* join(channels, name, a, joe)
          yield* join(channels, name, b, ann, { data: { name: "Ann" } })
        }
        a.received()
        b.received()
        yield* channels.leave(b)
        expect(b.received()).toEqual([])
        expect(a.received()).toEqual([
          { ":memberLeft": { channel: "presence-a", uid: "ann", name: "Ann" } },
          { ":memberLeft": { channel: "presence-b", uid: "ann", name: "Ann" } }
        ])
        expect((yield* channels.list).map(({ subscribers }) => subscribers)).toEqual([1, 1, 1, 1])
        yield* channels.leave(b)
        expect(a.received()).toEqual([])
      }))
  })

  describe("broadcasting", () => {
    it.effect("reaches every subscriber once, the sender too, with the sender's sid", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "other")
        const [a, b, c] = browsers("a", "b", "c")
        yield* join(channels, "room", a)
        yield* join(channels, "room", b)
        yield* join(channels, "other", c)
        yield* channels.broadcast("room", "hello", { what: "world" }, { from: a })
        const told = [{ hello: { what: "world", channel: "room", sid: "a" } }]
        expect([a.received(), b.received(), c.received()]).toEqual([told, told, []])
        yield* channels.broadcast("room", "hello", { what: "world" })
        expect(b.received()).toEqual([{ hello: { what: "world", channel: "room" } }])
      }))

    it.effect("is rejected for a browser that is not subscribed", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        const failure = yield* Effect.flip(channels.broadcast("room", "hello", {}, { from: b }))
        expect(failure).toBeInstanceOf(NotSubscribedError)
        expect(a.received()).toEqual([])
      }))

    it.effect("carries any name and any data as they are", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const told: Array<string> = []
        const browser = FakeBrowser.make("a", (message) => told.push(message))
        yield* join(channels, "room", browser)
        told.length = 0
        const data = JSON.parse(`{"__proto__":{"x":1},"constructor":2,"toJSON":3,"":4}`) as JsonObject
        yield* channels.broadcast("room", "__proto__", data)
        expect(told).toEqual([`{"__proto__":{"__proto__":{"x":1},"constructor":2,"toJSON":3,"":4,"channel":"room"}}`])
      }))

    it.effect("reaches all other subscribers if one leaves while it receives the message", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const gone = FakeBrowser.make("gone", (message) => {
          if (message.startsWith(`{"hello"`)) Effect.runSync(channels.leave(gone))
        })
        const all = [...browsers("a", "b"), gone, ...browsers("c", "d")]
        for (const browser of all) yield* join(channels, "room", browser)
        yield* channels.broadcast("room", "hello", {})
        for (const browser of all) expect(browser.received()).toEqual([{ hello: { channel: "room" } }])
        yield* channels.broadcast("room", "hello", {})
        expect(all.map((browser) => browser.received().length)).toEqual([1, 1, 0, 1, 1])
      }))

    it.effect("reaches exactly the current subscribers, in order, while many subscribe and leave", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const log: Array<string> = []
        const everybody = browsers(...Array.from({ length: 20 }, (_, index) => `p${index}`))
        const present = new Set<FakeBrowser.FakeBrowser>()
        const expected = new Map(everybody.map((browser) => [browser, [] as Array<number>]))
        let sent = 0
        const comeAndGo = (browser: FakeBrowser.FakeBrowser, turns: number) =>
          Effect.gen(function*() {
            for (let turn = 0; turn < turns; turn++) {
              yield* Effect.yieldNow
              yield* channels.subscribe("room", browser, { permission: undefined, hidden: false, data: {} })
              present.add(browser)
              for (let i = 0; i < turn % 3; i++) yield* Effect.yieldNow
              if (turn % 2 === 0) yield* channels.unsubscribe("room", browser, {})
              else yield* channels.leave(browser)
              present.delete(browser)
            }
          })
        const speak = Effect.gen(function*() {
          for (let i = 0; i < 40; i++) {
            const number = sent++
            for (const browser of present) expected.get(browser)!.push(number)
            yield* channels.broadcast("room", "n", { number })
            log.push("sent")
            yield* Effect.yieldNow
          }
        })
        yield* Effect.all([
          ...everybody.map((browser, index) => comeAndGo(browser, 10 + index % 7)),
          speak,
          speak
        ], { concurrency: "unbounded" })
        expect(log.length).toBe(80)
        for (const browser of everybody) {
          const heard = browser.received().flatMap((message) => {
            const { n } = message as { readonly n?: { readonly number: number } }
            return n === undefined ? [] : [n.number]
          })
          expect(heard).toEqual(expected.get(browser))
        }
        expect([...expected.values()].flat().length).toBeGreaterThan(0)
        expect(yield* channels.list).toMatchObject([{ subscribers: 0 }])
      }))
  })

  describe("broadcasting with exceptSid", () => {
    it.effect("reaches all subscribers but that browser, whoever sends", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b, c] = browsers("a", "b", "c")
        for (const browser of [a, b, c]) yield* join(channels, "room", browser)
        yield* channels.broadcast("room", "hello", {}, { exceptSid: "b" })
        yield* channels.broadcast("room", "hi", {}, { from: a, exceptSid: "a" })
        const [hello, hi] = [{ hello: { channel: "room" } }, { hi: { channel: "room", sid: "a" } }]
        expect([a.received(), b.received(), c.received()]).toEqual([[hello], [hi], [hello, hi]])
        expect(channels.counters).toMatchObject({ broadcasts: 2, deliveries: 4 })
      }))

    it.effect("reaches all subscribers if that browser is not subscribed", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        for (const exceptSid of ["b", "nobody", "", "__proto__"]) {
          yield* channels.broadcast("room", "hello", {}, { exceptSid })
          expect(a.received().length).toBe(1)
        }
        expect(b.received()).toEqual([])
        expect(yield* Effect.flip(channels.broadcast("nope", "hello", {}, { exceptSid: "a" }))).toMatchObject({
          code: 454
        })
        expect(channels.counters).toMatchObject({ broadcasts: 4, deliveries: 4 })
      }))
  })

  describe("listing", () => {
    const namesAfter = (channels: Channels.Channels, prefix: string, cursor: number) =>
      channels.listAfter(prefix, cursor).items.map(({ value }) => value.name)

    it.effect("describes a channel, and counts hidden browsers", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "presence-a")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "presence-a", a, joe)
        yield* join(channels, "presence-a", b, joe, { hidden: true })
        expect(yield* channels.describe("presence-a")).toEqual({ name: "presence-a", kind: "presence", subscribers: 2 })
        expect(yield* channels.describe("room")).toEqual({ name: "room", kind: "normal", subscribers: 0 })
        for (const name of ["nope", "", "%%%", "__proto__"]) {
          expect(yield* Effect.flip(channels.describe(name))).toMatchObject({ code: 454, channel: name })
        }
      }))

    it.effect("lists the channels with a prefix in the order of their opening", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "private-b", "room2", "private-a", "x-room")
        expect(namesAfter(channels, "", 0)).toEqual(["room", "private-b", "room2", "private-a", "x-room"])
        expect(namesAfter(channels, "room", 0)).toEqual(["room", "room2"])
        expect(namesAfter(channels, "private-", 0)).toEqual(["private-b", "private-a"])
        for (const none of ["Room", ".*", "r*", "rooms", "nope", "__proto__"]) {
          expect(namesAfter(channels, none, 0)).toEqual([])
        }
      }))

    it.effect("continues from a cursor while channels are opened and closed meanwhile", () =>
      Effect.gen(function*() {
        const channels = yield* make("a", "b", "c", "d")
        const [, b] = channels.listAfter("", 0).items
        yield* channels.close("a")
        yield* channels.close("b")
        yield* channels.close("c")
        yield* channels.open("a")
        expect(b!.value.name).toBe("b")
        expect(namesAfter(channels, "", b!.cursor)).toEqual(["d", "a"])
        expect(namesAfter(channels, "", Number.MAX_SAFE_INTEGER)).toEqual([])
        expect(namesAfter(channels, "", -1)).toEqual(["d", "a"])
      }))

    it.effect("lists visible subscribers in the order of their subscriptions, from a cursor on", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "presence-a")
        const [a, b, c, d] = browsers("a", "b", "c", "d")
        yield* join(channels, "presence-a", a, joe, { data: { n: 1 } })
        yield* join(channels, "presence-a", b, ann, { hidden: true })
        yield* join(channels, "presence-a", c, joe)
        yield* join(channels, "room", d, joe, { data: { n: 2 } })
        const on = (name: string, cursor = 0) =>
          Effect.map(channels.subscribersAfter(name, cursor), ({ items }) => items)
        const [first, ...more] = yield* on("presence-a")
        const texts = (all: ReadonlyArray<Channels.Listed<Subscription> | undefined>) =>
          all.map((placed) => [placed?.value.browser, placed?.value.uid, placed?.value.data.text])
        expect(texts([first, ...more])).toEqual([[a, "joe", `{"n":1}`], [c, "joe", "{}"]])
        // On a normal channel nobody is anybody.
        expect(texts(yield* on("room"))).toEqual([[d, undefined, `{"n":2}`]])
        yield* channels.leave(a)
        yield* join(channels, "presence-a", a, ann)
        expect((yield* on("presence-a", first!.cursor)).map(({ value }) => [value.browser.sid, value.uid])).toEqual([
          ["c", "joe"],
          ["a", "ann"]
        ])
        expect(yield* Effect.flip(channels.subscribersAfter("nope", 0))).toMatchObject({ code: 454, channel: "nope" })
      }))
  })

  describe("emitting lifecycle events", () => {
    /** Channels with `names` open, and what they announce since the last look. */
    const announcing = Effect.fnUntraced(function*(...names: ReadonlyArray<string>) {
      const announced: Array<Event> = []
      const channels = makeWith({
        maxChannels: 100,
        memberDataSize: 4096,
        emit: (event) => announced.push(event)
      })
      yield* Effect.forEach(names, channels.open)
      return { channels, announced: () => announced.splice(0) }
    })
    const { channelOccupied, channelVacated, memberJoined, memberLeft } = Lifecycle

    it.effect("emits them for a channel's first and last browser, hidden ones included", () =>
      Effect.gen(function*() {
        for (const name of ["room", "private-a"]) {
          const { announced, channels } = yield* announcing(name)
          const [a, b] = browsers("a", "b")
          expect(announced()).toEqual([])
          yield* join(channels, name, a, joe, { hidden: true })
          expect(announced()).toEqual([channelOccupied(name)])
          yield* join(channels, name, a, joe)
          yield* join(channels, name, b, joe)
          yield* channels.unsubscribe(name, a, {})
          expect(announced()).toEqual([])
          yield* channels.unsubscribe(name, b, {})
          expect(announced()).toEqual([channelVacated(name)])
          yield* Effect.flip(channels.unsubscribe(name, b, {}))
          yield* channels.leave(b)
          yield* channels.close(name)
          expect(announced()).toEqual([])
        }
      }))

    it.effect("emits them for a user's first and last browser that is not hidden, with that browser's data", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("presence-a")
        const [a, b, c, d] = browsers("a", "b", "c", "d")
        yield* join(channels, "presence-a", a, joe, { hidden: true, data: { n: 1 } })
        expect(announced()).toEqual([channelOccupied("presence-a")])
        yield* join(channels, "presence-a", b, joe, { data: { n: 2 } })
        expect(announced()).toEqual([memberJoined("presence-a", "joe", { n: 2 })])
        yield* join(channels, "presence-a", c, joe, { data: { n: 3 } })
        expect(announced()).toEqual([])
        yield* join(channels, "presence-a", d, ann)
        expect(announced()).toEqual([memberJoined("presence-a", "ann", {})])
        yield* channels.unsubscribe("presence-a", b, { bye: true })
        yield* channels.unsubscribe("presence-a", a, {})
        expect(announced()).toEqual([])
        yield* channels.unsubscribe("presence-a", c, { bye: true })
        expect(announced()).toEqual([memberLeft("presence-a", "joe", { n: 3 })])
        yield* channels.leave(d)
        expect(announced()).toEqual([memberLeft("presence-a", "ann", {}), channelVacated("presence-a")])
      }))

    it.effect("emits them for each member of a closed channel, once, and last for the channel", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("presence-a", "presence-b")
        const [a, b, c, hidden] = browsers("a", "b", "c", "hidden")
        for (const [browser, who] of [[a, joe], [b, ann], [c, joe]] as const) {
          yield* join(channels, "presence-a", browser, who, { data: { sid: browser.sid } })
        }
        yield* join(channels, "presence-a", hidden, permit("spy"), { hidden: true })
        yield* join(channels, "presence-b", a, joe)
        announced()
        yield* channels.close("presence-a")
        expect(announced()).toEqual([
          memberLeft("presence-a", "ann", { sid: "b" }),
          memberLeft("presence-a", "joe", { sid: "c" }),
          channelVacated("presence-a")
        ])
        // They are not told of again when they go.
        for (const browser of [a, b, c, hidden]) yield* channels.leave(browser)
        expect(announced()).toEqual([memberLeft("presence-b", "joe", {}), channelVacated("presence-b")])
      }))

    it.effect("emits them for all channels that a browser leaves at once", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("room", "presence-a", "private-a")
        const [a, b] = browsers("a", "b")
        for (const name of ["room", "presence-a", "private-a"]) yield* join(channels, name, a, joe)
        yield* join(channels, "private-a", b, joe)
        announced()
        yield* channels.leave(a)
        yield* channels.leave(a)
        expect(announced()).toEqual([
          channelVacated("room"),
          memberLeft("presence-a", "joe", {}),
          channelVacated("presence-a")
        ])
      }))

    it.effect("emits none for what was rejected", () =>
      Effect.gen(function*() {
        const { announced, channels } = yield* announcing("presence-a")
        const [a] = browsers("a")
        const options = { hidden: false, data: {} }
        yield* Effect.flip(channels.subscribe("presence-a", a, { permission: undefined, ...options }))
        yield* Effect.flip(channels.subscribe("nope", a, { permission: joe, ...options }))
        yield* Effect.flip(
          channels.subscribe("presence-a", a, { permission: joe, hidden: false, data: { x: "x".repeat(5000) } })
        )
        yield* Effect.flip(channels.close("nope"))
        expect(announced()).toEqual([])
      }))
  })

  describe("property", () => {
    it.effect.prop("what each browser receives equals a model, after any sequence", [
      Arbitrary.array(step, { maxLength: 60 })
    ], ([steps]) =>
      Effect.gen(function*() {
        const announced: Array<Event> = []
        const channels = makeWith({
          maxChannels: 4,
          memberDataSize: 4096,
          emit: (event) => announced.push(event)
        })
        const model = makeModel(4)
        const real = new Map<string, FakeBrowser.FakeBrowser>(sids.map((sid) => [sid, FakeBrowser.make(sid)]))
        for (const step of steps) {
          const browser = "sid" in step && step.sid !== undefined ? real.get(step.sid)! : undefined
          const failure = yield* carryOut(channels, step, browser)
          const before = model.present()
          expect(failure).toBe(model.carryOut(step))
          const after = model.present()
          expect(announced.splice(0).map(shortly).toSorted()).toEqual([
            ...after.filter((one) => !before.includes(one)).map((one) => `came: ${one}`),
            ...before.filter((one) => !after.includes(one)).map((one) => `went: ${one}`)
          ].toSorted())
          for (const [sid, { received }] of real) expect(received()).toEqual(model.heard(sid))
          const list = yield* channels.list
          expect(list.map(({ name, subscribers }) => [name, subscribers])).toEqual(model.list())
          expect(channels.counters).toEqual(model.counters())
          for (const [name] of model.list()) {
            const on = (yield* channels.subscribersAfter(String(name), 0)).items
            expect(on.map(({ value }) => value.browser.sid)).toEqual(model.subscribers(String(name)))
            for (const [index, { cursor }] of on.entries()) {
              expect((yield* channels.subscribersAfter(String(name), cursor)).items).toEqual(on.slice(index + 1))
            }
          }
          const open = channels.listAfter("pr", 0).items
          expect(open.map(({ value }) => value.name)).toEqual(
            model.list().map(([name]) => name).filter((name) => String(name).startsWith("pr"))
          )
          for (const [index, { cursor }] of open.entries()) {
            expect(channels.listAfter("pr", cursor).items).toEqual(open.slice(index + 1))
          }
        }
      }), { arbitrary: { runs: 80, size: 60 } })
  })
})

// --- The model: what each browser receives, as the protocol describes it --------------------------------------------------

const names = ["room", "private-a", "presence-a", "presence-b", "other"] as const
const sids = ["a", "b", "c"] as const

type Step =
  | { readonly do: "open" | "close"; readonly name: string }
  | {
    readonly do: "subscribe"
    readonly name: string
    readonly sid: string
    readonly uid: string | undefined
    readonly hidden: boolean
    readonly data: JsonObject
  }
  | { readonly do: "unsubscribe"; readonly name: string; readonly sid: string; readonly data: JsonObject }
  | {
    readonly do: "broadcast"
    readonly name: string
    readonly sid: string | undefined
    readonly exceptSid: string | undefined
    readonly data: JsonObject
  }
  | { readonly do: "leave"; readonly sid: string }

const anyData = pick<JsonObject>([{}, { n: 1 }, { n: 2, m: 3 }, { uid: "forged", channel: "forged", sid: "forged" }])

/** Opening and subscribing are more frequent than the rest, so that there are subscribers. */
const step: Arbitrary.Arbitrary<Step> = Arbitrary.map(
  Arbitrary.all({
    kind: pick(
      ["open", "open", "close", "subscribe", "subscribe", "subscribe", "unsubscribe", "broadcast", "broadcast", "leave"]
    ),
    name: pick(names),
    sid: pick(sids),
    // Nobody, joe who may join everything, or ann who may join what ends in "a".
    uid: pick([undefined, "joe", "joe", "ann"]),
    hidden: Arbitrary.map(int(0, 3), (n) => n === 0),
    exceptSid: pick([undefined, undefined, "a", "b", "nobody"]),
    fromBackend: Arbitrary.map(int(0, 1), (n) => n === 0),
    data: anyData
  }),
  ({ data, exceptSid, fromBackend, hidden, kind, name, sid, uid }): Step => {
    switch (kind) {
      case "open":
      case "close":
        return { do: kind, name }
      case "subscribe":
        return { do: kind, name, sid, uid, hidden, data }
      case "unsubscribe":
        return { do: kind, name, sid, data }
      case "broadcast":
        return { do: kind, name, sid: fromBackend ? undefined : sid, exceptSid, data }
      case "leave":
        return { do: kind, sid }
    }
  }
)

const patterns: Record<string, string> = { joe: ".*", ann: ".*a" }

/** Gives the error's code, if there is one. */
const carryOut = (channels: Channels.Channels, step: Step, browser: FakeBrowser.FakeBrowser | undefined) => {
  const effect = (): Effect.Effect<
    unknown,
    | BadRequestError
    | InvalidChannelNameError
    | InternalError
    | ChannelNotFoundError
    | ForbiddenError
    | NotSubscribedError
    | TooManyRequestsError
  > => {
    switch (step.do) {
      case "open":
        return channels.open(step.name)
      case "close":
        return channels.close(step.name)
      case "subscribe": {
        const permission = step.uid === undefined ? undefined : permit(step.uid, patterns[step.uid])
        return channels.subscribe(step.name, browser!, { permission, hidden: step.hidden, data: step.data })
      }
      case "unsubscribe":
        return channels.unsubscribe(step.name, browser!, step.data)
      case "broadcast":
        return channels.broadcast(step.name, "event", step.data, { from: browser, exceptSid: step.exceptSid })
      case "leave":
        return channels.leave(browser!)
    }
  }
  return Effect.match(effect(), { onFailure: (error) => error.code, onSuccess: () => undefined })
}

/** A lifecycle event, as the model says it. */
const shortly = ({ data, event }: Event): string => {
  const { channel, uid } = data as Record<string, string>
  const what = uid === undefined ? channel : `${uid} on ${channel}`
  const verbs: Record<string, string> = {
    channelOccupied: "came",
    memberJoined: "came",
    channelVacated: "went",
    memberLeft: "went"
  }
  return `${verbs[event.replace(":lifecycle/", "")]}: ${what}`
}

interface Member {
  readonly sid: string
  readonly uid: string | undefined
  readonly isVisible: boolean
  readonly hidden: boolean
  readonly data: JsonObject
}

const makeModel = (maxChannels: number) => {
  let open: ReadonlyArray<{ readonly name: string; members: ReadonlyArray<Member> }> = []
  const inboxes: Record<string, Array<unknown>> = { a: [], b: [], c: [] }
  const tell = (sid: string, event: string, payload: object) => inboxes[sid]!.push({ [event]: payload })
  const counters = { broadcasts: 0, deliveries: 0 }
  const isPresence = (name: string) => name.startsWith("presence-")

  const remove = (channel: typeof open[number], sid: string, farewell: JsonObject) => {
    const leaving = channel.members.find((member) => member.sid === sid)
    if (leaving === undefined) return
    channel.members = channel.members.filter((member) => member !== leaving)
    if (!leaving.isVisible) return
    for (const member of channel.members) {
      tell(member.sid, ":memberLeft", { ...leaving.data, ...farewell, channel: channel.name, uid: leaving.uid })
    }
  }

  const carryOut = (step: Step): number | undefined => {
    const channel = "name" in step ? open.find(({ name }) => name === step.name) : undefined
    if (step.do === "open") {
      if (channel !== undefined) return undefined
      if (open.length === maxChannels) return 597
      open = [...open, { name: step.name, members: [] }]
      return undefined
    }
    if (step.do === "leave") {
      for (const channel of open) remove(channel, step.sid, {})
      return undefined
    }
    if (channel === undefined) return 454
    const isOn = "sid" in step && channel.members.some(({ sid }) => sid === step.sid)
    switch (step.do) {
      case "close":
        open = open.filter((other) => other !== channel)
        for (const { sid } of channel.members) tell(sid, ":unsubscribed", { channel: step.name })
        return undefined
      case "subscribe": {
        const isNormal = step.name === "room" || step.name === "other"
        if (!isNormal && (step.uid === undefined || (step.uid === "ann" && !step.name.endsWith("a")))) return 403
        if (isOn) return undefined
        const isVisible = isPresence(step.name) && !step.hidden
        const uid = isNormal ? undefined : step.uid
        const here = channel.members.filter((member) => member.isVisible)
        tell(step.sid, ":subscribed", {
          channel: step.name,
          ...(!isNormal && { uid }),
          ...(isPresence(step.name) && {
            subscribers: here.map((member) => ({ ...member.data, channel: step.name, uid: member.uid }))
          })
        })
        channel.members = [...channel.members, { sid: step.sid, uid, isVisible, hidden: step.hidden, data: step.data }]
        if (!isVisible) return undefined
        for (const { sid } of channel.members) tell(sid, ":memberJoined", { ...step.data, channel: step.name, uid })
        return undefined
      }
      case "unsubscribe":
        if (!isOn) return 453
        tell(step.sid, ":unsubscribed", { channel: step.name })
        remove(channel, step.sid, step.data)
        return undefined
      case "broadcast":
        if (step.sid !== undefined && !isOn) return 453
        counters.broadcasts++
        for (const { sid } of channel.members) {
          if (sid === step.exceptSid) continue
          counters.deliveries++
          tell(sid, "event", { ...step.data, channel: step.name, ...(step.sid !== undefined && { sid: step.sid }) })
        }
        return undefined
    }
  }

  return {
    carryOut,
    /** The channels with subscribers, and the members of presence channels. */
    present: () => [
      ...open.flatMap(({ members, name }) => members.length > 0 ? [name] : []),
      ...new Set(
        open.flatMap(({ members, name }) =>
          members.flatMap(({ isVisible, uid }) => isVisible ? [`${uid} on ${name}`] : [])
        )
      )
    ],
    subscribers: (name: string) =>
      open.find((channel) => channel.name === name)!.members.flatMap(({ hidden, sid }) => hidden ? [] : [sid]),
    counters: () => ({
      ...counters,
      channels: open.length,
      subscriptions: open.reduce((sum, { members }) => sum + members.length, 0)
    }),
    heard: (sid: string) => inboxes[sid]!.splice(0),
    list: () => open.map(({ members, name }) => [name, members.length])
  }
}
