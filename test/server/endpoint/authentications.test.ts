import { describe, expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type * as AccessTokens from "../../../src/server/engine/AccessTokens.ts"
import { enter, makeVhost, type World } from "../../harness/browserSession.ts"

const grant = ({ vhost }: World, uid: string, pattern: string, options?: AccessTokens.Options) =>
  Effect.map(vhost.accessTokens.issue(uid, pattern, options), Redacted.value)

/** A browser that authenticates with whatever a token grants. */
const enterAs = (world: World, sid: string, version: 0 | 1 = 1) => {
  const entered = enter(world, sid, version)
  const authenticate = (uid: string, expiresIn?: number, pattern = ".*") =>
    Effect.flatMap(
      grant(world, uid, pattern, { expiresIn }),
      (token) => entered.sendText(JSON.stringify({ auth: { token } }))
    )
  const subscribe = (...channels: ReadonlyArray<string>) =>
    Effect.forEach(channels, (channel) => entered.send("subscribe", { channel }), { discard: true })
  return { ...entered, authenticate, subscribe }
}

const refused = (code: 402 | 403, event: string, reason: unknown = expect.any(String)) => [{
  ":error": { code, status: code === 402 ? "Unauthorized" : "Forbidden", event, reason }
}]

describe("an authentication", () => {
  it.effect("says when it ends, and to which channels it subscribes", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const token = yield* grant(world, "joe", ".*", { expiresIn: 60_000, channels: ["private-room"] })
      yield* TestClock.adjust("10 seconds")
      const a = enterAs(world, "a")
      expect((yield* a.send("auth", { token, id: 1 }))[0]).toEqual({
        ":authenticated": { uid: "joe", expiresIn: 50_000, channels: ["private-room"], id: 1 }
      })
      expect(yield* enterAs(world, "b").authenticate("joe")).toEqual([{ ":authenticated": { uid: "joe" } }])
      expect(yield* enterAs(world, "c", 0).authenticate("joe", 60_000)).toEqual([{ ":authenticated": {} }])
    }))

  it.effect.each([0, 1] as const)(
    "that ends disconnects a browser of version %i exactly then",
    (version) =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b, c] = [enterAs(world, "a", version), enterAs(world, "b", version), enterAs(world, "c", version)]
        yield* a.authenticate("joe", 60_000)
        yield* b.authenticate("joe", 30_000)
        yield* c.authenticate("joe")
        // The wall clock decides nothing.
        yield* TestClock.setTime(0)
        yield* TestClock.adjust("29999 millis")
        expect(b.browser.closedWith()).toBeUndefined()
        yield* TestClock.adjust("1 millis")
        expect([a, b, c].map(({ browser }) => browser.closedWith())).toEqual([undefined, 4501, undefined])
        yield* TestClock.adjust("30 seconds")
        expect([a, c].map(({ browser }) => browser.closedWith())).toEqual([4501, undefined])
        yield* TestClock.adjust("1 day")
        expect(c.browser.closedWith()).toBeUndefined()
        expect(world.vhost.authentications.nextDue()).toBeUndefined()
      })
  )

  it.effect("is renewed by another token of the same user, also by one that does not end", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const [a, b] = [enterAs(world, "a"), enterAs(world, "b")]
      yield* a.authenticate("joe", 60_000)
      yield* b.authenticate("joe", 60_000)
      yield* TestClock.adjust("59 seconds")
      expect(yield* a.authenticate("joe", 60_000)).toEqual([{ ":authenticated": { uid: "joe", expiresIn: 60_000 } }])
      yield* b.authenticate("joe")
      yield* TestClock.adjust("59 seconds")
      expect([a, b].map(({ browser }) => browser.closedWith())).toEqual([undefined, undefined])
      yield* TestClock.adjust("1 second")
      expect([a, b].map(({ browser }) => browser.closedWith())).toEqual([4501, undefined])
    }))

  it.effect("is not renewed by a token that is used, wrong or expired, and stays until it ends", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const [a, stranger] = [enterAs(world, "a"), enterAs(world, "b")]
      const token = yield* grant(world, "joe", ".*", { expiresIn: 60_000 })
      const late = yield* grant(world, "joe", ".*", { expiresIn: 30_000 })
      yield* a.send("auth", { token })
      yield* a.subscribe("private-room")
      yield* TestClock.adjust("30 seconds")
      for (const bad of [token, late, "f".repeat(128)]) {
        expect(yield* a.send("auth", { token: bad })).toEqual(refused(402, "auth"))
        expect(yield* stranger.send("auth", { token: bad })).toEqual(refused(402, "auth"))
      }
      expect(yield* a.send("trigger", { event: "e", id: 1 })).toEqual([{ ":triggered": { id: 1 } }])
      expect(yield* stranger.send("subscribe", { channel: "private-room" })).toMatchObject([{
        ":error": { code: 403 }
      }])
      yield* TestClock.adjust("30 seconds")
      expect([a, stranger].map(({ browser }) => browser.closedWith())).toEqual([4501, undefined])
    }))

  it.effect("of the same user keeps the subscriptions that it allows, and says which ended", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const [a, other] = [enterAs(world, "a"), enterAs(world, "b")]
      yield* other.authenticate("ann")
      yield* other.subscribe("presence-room")
      yield* a.authenticate("joe")
      yield* a.subscribe("room", "private-room", "presence-room")
      other.browser.received()
      expect(yield* a.authenticate("joe", undefined, "presence-.*")).toEqual([
        { ":authenticated": { uid: "joe" } },
        { ":unsubscribed": { channel: "private-room", reason: "forbidden" } }
      ])
      expect(other.browser.received()).toEqual([])
      for (const channel of ["room", "private-room", "presence-room"]) {
        yield* world.vhost.channels.broadcast(channel, "said", {})
      }
      expect(a.browser.received()).toEqual([
        { said: { channel: "room" } },
        { said: { channel: "presence-room" } }
      ])
      expect(yield* a.authenticate("joe", undefined, "private-.*")).toEqual([
        { ":authenticated": { uid: "joe" } },
        { ":unsubscribed": { channel: "presence-room", reason: "forbidden" } }
      ])
      expect(other.browser.received()).toMatchObject([{ said: {} }, { ":memberLeft": { uid: "joe" } }])
      expect(yield* a.send("subscribe", { channel: "presence-room" })).toMatchObject([{ ":error": { code: 403 } }])
    }))

  it.effect("of another user ends all subscriptions", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const [a, other] = [enterAs(world, "a"), enterAs(world, "b")]
      yield* other.authenticate("ann")
      yield* other.subscribe("presence-room")
      yield* a.authenticate("joe", 60_000)
      yield* a.subscribe("room", "presence-room")
      other.browser.received()
      expect(yield* a.authenticate("eve")).toEqual([{ ":authenticated": { uid: "eve" } }])
      expect(other.browser.received()).toMatchObject([{ ":memberLeft": { uid: "joe" } }])
      yield* world.vhost.channels.broadcast("room", "said", {})
      yield* TestClock.adjust("1 minute")
      expect([a.browser.received(), a.browser.closedWith()]).toEqual([[], undefined])
    }))

  it.effect("of the same user ends all subscriptions of an original browser", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const a = enterAs(world, "a", 0)
      yield* a.authenticate("joe")
      yield* a.subscribe("room")
      expect(yield* a.authenticate("joe")).toEqual([{ ":authenticated": {} }])
      yield* world.vhost.channels.broadcast("room", "said", {})
      expect(a.browser.received()).toEqual([])
    }))

  it.effect("leaves nothing behind when the browser has disconnected", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const a = enterAs(world, "a")
      yield* a.authenticate("joe", 60_000)
      expect(world.vhost.authentications.nextDue()).toBe(60_000)
      yield* a.session.end(false)
      expect(world.vhost.authentications.nextDue()).toBeUndefined()
      const token = yield* grant(world, "joe", ".*", { expiresIn: 60_000 })
      yield* a.session.handle(JSON.stringify({ auth: { token } }))
      expect(world.vhost.authentications.nextDue()).toBeUndefined()
      yield* TestClock.adjust("1 minute")
      expect(a.browser.closedWith()).toBeUndefined()
    }))

  it.effect("ends with thousands of others, while the broker does other work in between", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ tokens: { capacity: 3000 } })
      const all = Array.from({ length: 2000 }, (_, n) => enterAs(world, `browser ${n}`))
      yield* Effect.forEach(all, (one) => one.authenticate("joe", 60_000), { discard: true })
      const closed = () => all.filter(({ browser }) => browser.closedWith() === 4501).length
      const seen: Array<number> = []
      yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sync(() => seen.push(closed())), Effect.yieldNow)))
      yield* TestClock.adjust("1 minute")
      expect(closed()).toBe(2000)
      expect(seen.some((count) => count > 0 && count < 2000)).toBe(true)
    }))
})
