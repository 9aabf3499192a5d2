/** Channels are opened, closed and listed. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { ChannelNotFoundError, InternalError, InvalidChannelNameError } from "../../../src/protocol/KosmonautError.ts"
import type { Subscription } from "../../../src/server/domain/Browser.ts"
import type * as Channels from "../../../src/server/engine/Channels.ts"
import { ann, browsers, joe, join, make, makeWith } from "../../harness/channels.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Vhost from "../../harness/vhost.ts"

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

  describe("listing", () => {
    const namesAfter = (channels: Channels.Channels, prefix: string, cursor: number) =>
      Effect.runSync(channels.listAfter(prefix, cursor)).items.map(({ value }) => value.name)

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
        const [, b] = (yield* channels.listAfter("", 0)).items
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
})
