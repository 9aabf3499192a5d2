/**
 * What browsers get that ask for version 1, or name their messages, and what the others keep getting.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as BrowserSession from "../../../src/server/endpoint/BrowserSession.ts"
import * as EventLoop from "../../../src/transport/EventLoop.ts"
import { enter, error, makeVhost } from "../../harness/browserSession.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"

describe("A browser of version 1", () => {
  it.effect("receives its version and the ping interval", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { pingInterval: "7 seconds" } })
      expect(enter(world, "a", 1).connected).toEqual([{ ":connected": { sid: "a", v: 1, pingInterval: 7000 } }])
      expect(enter(world, "b").connected).toEqual([{ ":connected": { sid: "b" } }])
    }))

  it.effect("is told which user its token is of", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      expect(yield* enter(world, "a", 1).authenticate("joe")).toEqual([{ ":authenticated": { uid: "joe" } }])
    }))

  it.effect("receives the reason of an error", () =>
    Effect.gen(function*() {
      const a = enter(yield* makeVhost({ browsers: { broadcast: false } }), "a", 1)
      const refused = (message: string) => Effect.map(a.sendText(message), ([answer]) => (answer as Refused)[":error"])
      interface Refused {
        readonly ":error": { readonly reason: string; readonly event?: string; readonly channel?: string }
      }
      expect(yield* refused("not json")).toMatchObject({ code: 400, reason: expect.stringContaining("JSON object") })
      expect(yield* refused(`{"subscribe":{"channel":"nope"}}`)).toEqual({
        code: 454,
        status: "Channel not found",
        event: "subscribe",
        channel: "nope",
        reason: `"nope" is not open. A backend opens it first (openChannel), or it has a rule with openOnDemand`
      })
      expect(yield* refused(`{"trigger":{"event":"save","data":[1]}}`)).toEqual({
        code: 400,
        status: "Bad request",
        event: "trigger",
        reason: "data is a JSON object; put any other value into a field of one"
      })
      yield* a.sendText(`{"subscribe":{"channel":"room"}}`)
      const forbidden = yield* refused(`{"broadcast":{"channel":"room","event":"e"}}`)
      expect(forbidden.reason).toContain("--browsers-broadcast")
      const token = "secret".repeat(20)
      expect(JSON.stringify(yield* refused(JSON.stringify({ auth: { token } })))).not.toContain("secret")
    }))

  it.effect("may send many messages as one, which are handled in order", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const a = enter(world, "a", 1)
      expect(
        yield* a.sendText(` [{"subscribe":{"channel":"room"}},{"nonsense":{"id":1}},7,
          {"broadcast":{"channel":"room","event":"e","data":{"one":1.0}}},[],{"ping":{}}]`)
      ).toMatchObject([
        { ":subscribed": { channel: "room" } },
        { ":error": { code: 400, id: 1 } },
        { ":error": { code: 400 } },
        { e: { one: 1, channel: "room", sid: "a" } },
        { ":error": { code: 400 } },
        { ":pong": {} }
      ])
      expect(yield* a.sendText("[]")).toEqual([])
      expect(yield* a.sendText(`[{"ping":{}}`)).toMatchObject([{ ":error": { code: 400 } }])
      expect(yield* a.sendText(`[${Array.from({ length: 257 }, () => `{"ping":{}}`).join()}]`)).toMatchObject([
        { ":error": { code: 400, reason: "a batch has at most 256 messages" } }
      ])
      expect((yield* a.sendText(`[${Array.from({ length: 256 }, () => `{"ping":{}}`).join()}]`)).length).toBe(256)
      // What comes after its goodbye is not carried out.
      expect(yield* a.session.handle(`[{"close":{}},{"ping":{}}]`)).toBe(false)
      expect(a.browser.received()).toEqual([{ ":closed": { sid: "a" } }])
      expect(yield* enter(world, "b").sendText(`[{"ping":{}}]`)).toEqual([error(400)])
    }))
})

describe("A browser of any version", () => {
  it.effect("may have an event queued once for its user, and browsers of version 0 have no such keys", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const { lobby } = world.vhost
      const traceparent = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`
      const save = (id: number) => ({ event: "save", dedupeKey: "k", traceparent, id })
      const [a, b, old] = [enter(world, "a", 1), enter(world, "b", 1), enter(world, "o")]
      yield* a.authenticate("joe")
      yield* b.authenticate("ann")
      yield* old.authenticate("joe")
      for (const [browser, id] of [[a, 1], [a, 2], [b, 1], [old, 1], [old, 2]] as const) {
        expect(yield* browser.send("trigger", save(id))).toEqual([{ ":triggered": { id } }])
      }
      // Whatever a backend calls its keys.
      yield* lobby.enqueue(`{"save":{}}`, undefined, { dedupeKey: "k" })
      expect((yield* lobby.info).queued).toBe(5)
      yield* world.attend
      expect(world.origins).toEqual([
        { sid: "a", uid: "joe", traceparent },
        { sid: "b", uid: "ann", traceparent },
        { sid: "o", uid: "joe" },
        { sid: "o", uid: "joe" },
        undefined
      ])
    }))

  it.effect("may ping the broker", () =>
    Effect.gen(function*() {
      const a = enter(yield* makeVhost(), "a")
      expect(yield* a.send("ping", {})).toEqual([{ ":pong": {} }])
      expect(yield* a.send("ping", { id: "x" })).toEqual([{ ":pong": { id: "x" } }])
    }))

  it.effect("is not told which user a token is of", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      expect(yield* enter(world, "a").authenticate("joe")).toEqual([{ ":authenticated": {} }])
    }))

  it.effect("receives a reason only if its message has an id", () =>
    Effect.gen(function*() {
      const a = enter(yield* makeVhost(), "a")
      expect(yield* a.send("subscribe", { channel: "nope" })).toEqual([error(454)])
      expect(yield* a.send("subscribe", { channel: "nope", id: 1 })).toMatchObject([
        { ":error": { code: 454, id: 1, event: "subscribe", channel: "nope", reason: expect.any(String) } }
      ])
    }))

  it.effect("gets a response to every message with an id, also if it is subscribed already", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const [a, b] = [enter(world, "a"), enter(world, "b")]
      yield* b.authenticate("bob")
      yield* b.send("subscribe", { channel: "presence-room" })
      expect(yield* a.send("auth", { token: yield* world.grant("joe"), id: 1 })).toEqual([{
        ":authenticated": { id: 1 }
      }])
      const subscribed = {
        ":subscribed": {
          channel: "presence-room",
          uid: "joe",
          id: 2,
          subscribers: [{ channel: "presence-room", uid: "bob" }]
        }
      }
      expect(yield* a.send("subscribe", { channel: "presence-room", id: 2 })).toMatchObject([
        subscribed,
        { ":memberJoined": {} }
      ])
      b.browser.received()
      expect(yield* a.send("subscribe", { channel: "presence-room", id: 2 })).toEqual([subscribed])
      expect(yield* a.send("subscribe", { channel: "presence-room" })).toEqual([])
      expect(b.browser.received()).toEqual([])
      expect(yield* a.send("members", { channel: "presence-room", id: 3 })).toEqual([{
        ":members": {
          channel: "presence-room",
          id: 3,
          next: null,
          subscribers: [{ channel: "presence-room", uid: "bob" }, { channel: "presence-room", uid: "joe" }]
        }
      }])
      expect(yield* a.send("unsubscribe", { channel: "presence-room", id: 4 })).toEqual([
        { ":unsubscribed": { channel: "presence-room", id: 4 } }
      ])
      expect(yield* a.send("members", { channel: "presence-room" })).toEqual([error(453)])
      expect(yield* a.send("members", { channel: "nope" })).toEqual([error(454)])
    }))

  it.live("does not keep others waiting with a batch if the turn of the event loop is over", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const a = enter(world, "a", 1)
      const b = enter(world, "b", 1)
      const batch = JSON.stringify(Array.from({ length: 60 }, (_, id) => ({ ping: { id } })))
      EventLoop.finish()
      const handling = yield* Effect.forkChild(a.session.handle(batch), { startImmediately: true })
      const early = a.browser.received()
      expect(early.length).toBeLessThan(60)
      expect(yield* b.sendText(`{"ping":{"id":"other"}}`)).toEqual([{ ":pong": { id: "other" } }])
      expect(yield* Fiber.join(handling)).toBe(true)
      expect([...early, ...a.browser.received()]).toEqual(
        Array.from({ length: 60 }, (_, id) => ({ ":pong": { id } }))
      )
    }))

  it.effect("has nothing more handled once its session has ended, also within a batch", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const browser = FakeBrowser.make("a", (message) => {
        if (message.includes("first")) Effect.runSync(session.end(false))
      }, 1)
      const session = BrowserSession.make(world.vhost, browser)
      browser.received()
      expect(yield* session.handle(`[{"ping":{"id":"first"}},{"subscribe":{"channel":"room"}}]`)).toBe(false)
      expect(browser.received()).toEqual([{ ":pong": { id: "first" } }])
      expect(world.vhost.channels.counters.subscriptions).toBe(0)
    }))
})
