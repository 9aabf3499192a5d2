import { describe, expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import * as AdjustableClock from "../../harness/AdjustableClock.ts"
import { enter, makeVhost, type World } from "../../harness/browserSession.ts"

const room = "presence-room"

const lifecycleOf = ({ triggered }: World) =>
  triggered.splice(0).flatMap((event) =>
    Object.entries(event as Record<string, { uid?: string; channel?: string }>).flatMap(([name, { channel, uid }]) =>
      channel === undefined ? [] : [[name.slice(":lifecycle/".length), ...uid === undefined ? [] : [uid]].join(" ")]
    )
  )

const make = (options: Parameters<typeof makeVhost>[0] = {}) =>
  Effect.tap(makeVhost({ heartbeat: { interval: "1 hour" }, ...options }), ({ attendAs }) => attendAs(true))

/** A browser that has joined the room. */
const join = Effect.fnUntraced(function*(
  world: World,
  uid: string,
  sid: string,
  { version = 1, ...payload }: { version?: 0 | 1; hidden?: boolean; data?: object; channel?: string } = {}
) {
  const browser = enter(world, sid, version)
  yield* browser.authenticate(uid)
  const joined = yield* browser.send("subscribe", { channel: room, ...payload })
  return { ...browser, joined }
})

const member = (uid: string, sid: string, data: object = {}) => ({ uid, sid, data })
const changed = (how: string, uid: string, sid: string, data: object = {}) => ({
  [`:member${how}`]: { channel: room, ...member(uid, sid, data) }
})
const moved = (uid: string, from: string, sid: string) => ({ ":memberMoved": { channel: room, uid, from, sid } })
const original = (how: string, uid: string, data: object = {}) => ({
  [`:member${how}`]: { ...data, channel: room, uid }
})

describe("Presence in version 1", () => {
  it.effect("members have a sid, and their data in a field, and version 0 sees them as before", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const old = yield* join(world, "old", "o", { version: 0 })
      const joe = yield* join(world, "joe", "a", { data: { name: "Joe", uid: "no" } })
      expect(joe.joined).toEqual([
        { ":subscribed": { channel: room, uid: "joe", subscribers: [member("old", "o")] } },
        changed("Joined", "joe", "a", { name: "Joe", uid: "no" })
      ])
      expect(old.browser.received()).toEqual([original("Joined", "joe", { name: "Joe" })])
      const ann = yield* join(world, "ann", "b")
      const list = [member("old", "o"), member("joe", "a", { name: "Joe", uid: "no" })]
      expect(ann.joined[0]).toEqual({ ":subscribed": { channel: room, uid: "ann", subscribers: list } })
      expect(yield* ann.send("members", { channel: room, id: 1 })).toEqual([
        { ":members": { channel: room, next: null, id: 1, subscribers: [...list, member("ann", "b")] } }
      ])
      yield* joe.send("unsubscribe", { channel: room, data: { why: "tired" } })
      expect(ann.browser.received()).toEqual([
        changed("Left", "joe", "a", { name: "Joe", uid: "no", why: "tired" })
      ])
      expect(old.browser.received().at(-1)).toEqual(original("Left", "joe", { name: "Joe", why: "tired" }))
    }))

  it.effect("update changes the data for those of version 1, and for lists of all", () =>
    Effect.gen(function*() {
      const world = yield* make({ browsers: { dataSize: 20, totalDataSize: 25, broadcast: true } })
      const old = yield* join(world, "old", "o", { version: 0 })
      const joe = yield* join(world, "joe", "a", { data: { n: 1 } })
      old.browser.received()
      expect(yield* joe.send("update", { channel: room, data: { n: 2 }, id: 7 })).toEqual([
        changed("Updated", "joe", "a", { n: 2 }),
        { ":updated": { channel: room, id: 7 } }
      ])
      // The same again tells nobody.
      expect(yield* joe.send("update", { channel: room, data: { n: 2 }, id: 8 })).toEqual([
        { ":updated": { channel: room, id: 8 } }
      ])
      expect(yield* joe.send("update", { channel: room, data: { n: 3 } })).toHaveLength(1)
      expect(old.browser.received()).toEqual([])
      const late = yield* join(world, "late", "l", { version: 0 })
      expect(late.joined[0]).toMatchObject({ ":subscribed": { subscribers: [{ uid: "old" }, { n: 3, uid: "joe" }] } })
      joe.browser.received()
      const error = (code: number) => ({ ":error": expect.objectContaining({ code, event: "update", channel: room }) })
      expect(yield* joe.send("update", { channel: room, data: { text: "x".repeat(20) } })).toEqual([error(400)])
      yield* joe.send("subscribe", { channel: "room", data: { text: "xxxx" } })
      expect(yield* joe.send("update", { channel: room, data: { n: "xxxxx" } })).toEqual([error(429)])
      expect(yield* joe.send("update", { channel: room, data: [] })).toEqual([error(400)])
      expect(yield* joe.send("update", { data: {} })).toMatchObject([{ ":error": { code: 400 } }])
      expect(yield* joe.send("update", { channel: "other", data: {} })).toMatchObject([{ ":error": { code: 453 } }])
      expect(yield* joe.send("update", { channel: "none", data: {} })).toMatchObject([{ ":error": { code: 454 } }])
      old.browser.received()
      expect(yield* old.send("update", { channel: room, data: {} })).toEqual([
        { ":error": { code: 400, status: "Bad request" } }
      ])
      const hidden = yield* join(world, "ghost", "g", { hidden: true })
      expect(yield* hidden.send("update", { channel: room, data: { n: 1 }, id: 1 })).toEqual([
        { ":updated": { channel: room, id: 1 } }
      ])
    }))
})

describe("A renewal", () => {
  it.effect("with other info changes that of the subscriptions, and those of version 1 hear it", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const renew = (browser: { readonly send: ReturnType<typeof enter>["send"] }, info?: JsonObject, pattern = ".*") =>
        Effect.flatMap(
          world.vhost.accessTokens.issue("joe", pattern, info === undefined ? {} : { info: JsonText.fromObject(info) }),
          (token) => browser.send("auth", { token: Redacted.value(token) })
        )
      const old = yield* join(world, "old", "o", { version: 0 })
      const ann = yield* join(world, "ann", "b")
      const joe = yield* join(world, "joe", "a", { data: { n: 1 } })
      yield* joe.send("subscribe", { channel: "private-room" })
      yield* joe.send("subscribe", { channel: "room" })
      const ghost = yield* join(world, "joe", "g", { hidden: true })
      old.browser.received()
      ann.browser.received()
      const authenticated = { ":authenticated": { uid: "joe" } }
      const updated = (info?: object) => ({
        ":memberUpdated": { channel: room, ...member("joe", "a", { n: 1 }), ...info && { info } }
      })
      expect(yield* renew(joe, { role: "host" })).toEqual([authenticated, updated({ role: "host" })])
      expect(ann.browser.received()).toEqual([updated({ role: "host" })])
      // The same again tells nobody, and nobody sees who is hidden.
      expect(yield* renew(joe, { role: "host" })).toEqual([authenticated])
      expect(ghost.browser.received()).toEqual([updated({ role: "host" })])
      expect(yield* renew(ghost, { role: "guest" })).toEqual([authenticated])
      const { items } = yield* world.vhost.channels.subscribersAfter("private-room", 0)
      expect(items.map(({ value: { info } }) => info?.text)).toEqual([`{"role":"host"}`])
      const late = yield* join(world, "late", "l")
      expect(late.joined[0]).toMatchObject({ ":subscribed": { subscribers: [{}, {}, { info: { role: "host" } }] } })
      for (const { browser } of [ann, joe]) browser.received()
      expect(yield* renew(joe)).toEqual([authenticated, updated()])
      expect(ann.browser.received()).toEqual([updated()])
      // What the token does not allow is left, and not updated first.
      expect(yield* renew(joe, { role: "none" }, "private-room")).toEqual([
        authenticated,
        { ":unsubscribed": { channel: room, reason: "forbidden" } }
      ])
      expect(ann.browser.received()).toEqual([changed("Left", "joe", "a", { n: 1 })])
      expect(old.browser.received()).toMatchObject([original("Joined", "late"), original("Left", "joe", { n: 1 })])
    }))
})

describe("The grace of a member", () => {
  it.effect.each(["uid", "sid"] as const)(
    "ends at once if a backend disconnects it, by its %s",
    (by) =>
      Effect.gen(function*() {
        const world = yield* make()
        const { browsers, channels } = world.vhost
        yield* channels.open("presence-other")
        const ann = yield* join(world, "ann", "b")
        const joe = yield* join(world, "joe", "a")
        yield* joe.send("subscribe", { channel: "presence-other" })
        const other = yield* join(world, "joe", "c")
        for (const { session } of [joe, other]) yield* session.end(true)
        lifecycleOf(world)
        ann.browser.received()
        // Nobody is connected any more.
        expect(yield* browsers.disconnect(by, by === "uid" ? "joe" : "a")).toBe(0)
        const left = [changed("Left", "joe", "a"), ...by === "uid" ? [changed("Left", "joe", "c")] : []]
        expect(ann.browser.received()).toEqual(left)
        // By its sid it leaves the other channel alone, where the user has no other connection.
        const events = ["memberLeft joe", "channelVacated", ...by === "uid" ? ["memberLeft joe"] : []]
        expect(lifecycleOf(world)).toEqual(events)
        expect((yield* channels.describe("presence-other")).subscribers).toBe(0)
        yield* TestClock.adjust("1 minute")
        expect(ann.browser.received()).toEqual(by === "uid" ? [] : [changed("Left", "joe", "c")])
        // Others are still there, and who comes back is new.
        const back = yield* join(world, "joe", "d")
        expect(back.joined).toHaveLength(2)
        expect(ann.browser.received()).toEqual([changed("Joined", "joe", "d")])
      })
  )

  it.effect("a connection that is lost and comes back moves the member, and nobody hears more", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const old = yield* join(world, "old", "o", { version: 0 })
      const ann = yield* join(world, "ann", "b")
      const joe = yield* join(world, "joe", "a", { data: { n: 1 } })
      lifecycleOf(world)
      old.browser.received()
      ann.browser.received()
      yield* joe.session.end(true)
      yield* TestClock.adjust("2900 millis")
      const list = [member("old", "o"), member("ann", "b"), member("joe", "a", { n: 1 })]
      expect(yield* ann.send("members", { channel: room })).toEqual([
        { ":members": { channel: room, next: null, subscribers: list } }
      ])
      const back = yield* join(world, "joe", "c", { data: { n: 1 } })
      expect(back.joined).toEqual([
        { ":subscribed": { channel: room, uid: "joe", subscribers: list } },
        moved("joe", "a", "c")
      ])
      expect(ann.browser.received()).toEqual([moved("joe", "a", "c")])
      yield* TestClock.adjust("1 minute")
      expect(ann.browser.received()).toEqual([])
      expect(old.browser.received()).toEqual([])
      expect(lifecycleOf(world)).toEqual([])
      // It has its old place in the list.
      const zoe = yield* join(world, "zoe", "z")
      expect(zoe.joined[0]).toMatchObject({ ":subscribed": { subscribers: [{}, {}, { uid: "joe", sid: "c" }] } })
      yield* back.session.end(false)
      expect(ann.browser.received().at(-1)).toEqual(changed("Left", "joe", "c", { n: 1 }))
      expect(old.browser.received().at(-1)).toEqual(original("Left", "joe", { n: 1 }))
    }))

  it.effect("one that comes back with other data moves and updates the member", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const old = yield* join(world, "old", "o", { version: 0 })
      const joe = yield* join(world, "joe", "a", { data: { n: 1 } })
      yield* joe.session.end(true)
      old.browser.received()
      const back = yield* join(world, "joe", "c", { data: { n: 2 } })
      expect(back.joined.slice(1)).toEqual([moved("joe", "a", "c"), changed("Updated", "joe", "c", { n: 2 })])
      expect(old.browser.received()).toEqual([])
    }))

  it.effect("one that does not come back leaves when it is over, once for all", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const old = yield* join(world, "old", "o", { version: 0 })
      const ann = yield* join(world, "ann", "b")
      const joe = yield* join(world, "joe", "a", { data: { n: 1 } })
      lifecycleOf(world)
      old.browser.received()
      ann.browser.received()
      yield* joe.session.end(true)
      yield* joe.session.end(false)
      yield* TestClock.adjust("2999 millis")
      expect([...ann.browser.received(), ...old.browser.received(), ...lifecycleOf(world)]).toEqual([])
      yield* TestClock.adjust("1 millis")
      expect(ann.browser.received()).toEqual([changed("Left", "joe", "a", { n: 1 })])
      expect(old.browser.received()).toEqual([original("Left", "joe", { n: 1 })])
      expect(lifecycleOf(world)).toEqual(["memberLeft joe"])
      expect((yield* ann.send("members", { channel: room }))[0]).toMatchObject({
        ":members": { subscribers: [{ uid: "old" }, { uid: "ann" }] }
      })
    }))

  it.effect.each(["unsubscribe", "end", "version 0", "no grace", "no room"])(
    "none after: %s",
    (how) =>
      Effect.gen(function*() {
        const world = yield* make({
          channelRules: how === "no grace" ? [{ pattern: ".*", grace: 0 }] : [],
          browsers: { broadcast: true, graceSize: how === "no room" ? 511 : Infinity }
        })
        const ann = yield* join(world, "ann", "b")
        const joe = yield* join(world, "joe", "a", { version: how === "version 0" ? 0 : 1 })
        lifecycleOf(world)
        ann.browser.received()
        if (how === "unsubscribe") yield* joe.send("unsubscribe", { channel: room })
        yield* joe.session.end(how !== "end")
        expect(ann.browser.received()).toEqual([changed("Left", "joe", "a")])
        expect(lifecycleOf(world)).toEqual(["memberLeft joe"])
      })
  )

  it.effect("a user with two connections in grace has both, and a hidden one takes over none", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const ann = yield* join(world, "ann", "z")
      const one = yield* join(world, "joe", "a")
      const two = yield* join(world, "joe", "b")
      yield* one.session.end(true)
      yield* TestClock.adjust("1 second")
      yield* two.session.end(true)
      lifecycleOf(world)
      ann.browser.received()
      yield* join(world, "joe", "g", { hidden: true })
      expect(ann.browser.received()).toEqual([])
      yield* join(world, "joe", "c")
      expect(ann.browser.received()).toEqual([moved("joe", "a", "c")])
      yield* TestClock.adjust("3 seconds")
      expect(ann.browser.received()).toEqual([changed("Left", "joe", "b")])
      expect(lifecycleOf(world)).toEqual([])
    }))

  it.effect("a channel is vacated after the last grace, also one without members", () =>
    Effect.gen(function*() {
      const world = yield* make()
      for (const channel of [room, "room", "private-room"]) {
        const joe = yield* join(world, "joe", `${channel} 1`, { channel })
        lifecycleOf(world)
        yield* joe.session.end(true)
        yield* TestClock.adjust("2 seconds")
        expect(lifecycleOf(world)).toEqual([])
        const back = yield* join(world, "joe", `${channel} 2`, { channel })
        yield* back.session.end(true)
        yield* TestClock.adjust("2 seconds")
        expect(lifecycleOf(world)).toEqual([])
        yield* TestClock.adjust("1 second")
        expect(lifecycleOf(world)).toEqual(channel === room ? ["memberLeft joe", "channelVacated"] : ["channelVacated"])
      }
    }))

  it.effect("browsers that are no members prolong that of their channel", () =>
    Effect.gen(function*() {
      const world = yield* make({ browsers: { graceSize: 512 } })
      const one = yield* join(world, "joe", "a", { channel: "room" })
      const two = yield* join(world, "joe", "b", { channel: "room" })
      lifecycleOf(world)
      yield* one.session.end(true)
      yield* TestClock.adjust("2 seconds")
      yield* two.session.end(true)
      yield* TestClock.adjust("2999 millis")
      expect(lifecycleOf(world)).toEqual([])
      yield* TestClock.adjust("1 millis")
      expect(lifecycleOf(world)).toEqual(["channelVacated"])
    }))

  it.effect("is that of the rule of the channel, which stays open if it was opened on demand", () =>
    Effect.gen(function*() {
      const world = yield* make({
        channelRules: [{ pattern: "presence-d.*", openOnDemand: true, grace: "10 seconds" }]
      })
      const channel = "presence-demand"
      const joe = yield* join(world, "joe", "a", { channel })
      yield* joe.session.end(true)
      yield* TestClock.adjust("9 seconds")
      const back = yield* join(world, "joe", "b", { channel })
      expect(back.joined[1]).toMatchObject({ ":memberMoved": { from: "a", sid: "b" } })
      yield* back.session.end(true)
      yield* TestClock.adjust("9 seconds")
      expect((yield* world.vhost.channels.describe(channel)).subscribers).toBe(0)
      yield* TestClock.adjust("1 second")
      expect(yield* Effect.flip(world.vhost.channels.describe(channel))).toMatchObject({ code: 454 })
    }))

  it.effect("a channel that is closed has left all, those in grace too", () =>
    Effect.gen(function*() {
      const world = yield* make()
      const joe = yield* join(world, "joe", "a")
      yield* joe.session.end(true)
      lifecycleOf(world)
      yield* world.vhost.channels.close(room)
      expect(lifecycleOf(world)).toEqual(["memberLeft joe", "channelVacated"])
      yield* world.vhost.channels.open(room)
      const back = yield* join(world, "joe", "b")
      expect(back.joined[1]).toEqual(changed("Joined", "joe", "b"))
      yield* TestClock.adjust("1 minute")
      expect(lifecycleOf(world)).toEqual(["channelOccupied", "memberJoined joe"])
    }))

  it.effect("time in which the process stood still does not count", () =>
    Effect.gen(function*() {
      const clock = yield* AdjustableClock.make
      yield* clock.provide(Effect.gen(function*() {
        const world = yield* make()
        const ann = yield* join(world, "ann", "b")
        const joe = yield* join(world, "joe", "a")
        ann.browser.received()
        yield* joe.session.end(true)
        yield* TestClock.adjust("1 second")
        clock.standStill(60_000)
        yield* TestClock.adjust("2 seconds")
        expect(ann.browser.received()).toEqual([])
        yield* TestClock.adjust("1 second")
        expect(ann.browser.received()).toEqual([changed("Left", "joe", "a")])
      }))
    }))
})
