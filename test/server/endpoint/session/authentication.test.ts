/** Who a browser is, by the tokens that it sends. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as BrowserSession from "../../../../src/server/endpoint/BrowserSession.ts"
import type { Vhost } from "../../../../src/server/engine/Vhosts.ts"
import { enter, error, makeVhost, type World } from "../../../harness/browserSession.ts"
import * as FakeBrowser from "../../../harness/FakeBrowser.ts"

/** A vhost in which it takes this long to persist that a token is used. */
const persistingAfter = ({ vhost }: World, persisted: Effect.Effect<void>): Vhost => ({
  ...vhost,
  accessTokens: {
    ...vhost.accessTokens,
    redeem: (token) => Effect.tap(vhost.accessTokens.redeem(token), () => persisted)
  }
})

describe("BrowserSession", () => {
  describe("auth", () => {
    it.effect("accepts each single access token once", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        const token = yield* world.grant("joe")
        expect(yield* a.send("auth", { token })).toEqual([{ ":authenticated": {} }])
        expect(yield* a.send("auth", { token })).toEqual([error(402)])
        expect(yield* b.send("auth", { token })).toEqual([error(402)])
      }))

    it.effect.each<[string, unknown]>([
      ["none", {}],
      ["empty", { token: "" }],
      ["a number", { token: 7 }],
      ["null", { token: null }],
      ["an object", { token: { toString: "x" } }],
      ["a list of one", { token: ["x"] }]
    ])("answers 400 to a token that is %s", ([_, payload]) =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        expect(yield* a.send("auth", payload)).toEqual([error(400)])
      }))

    it.effect.each(["nope", "__proto__", "constructor"])(
      "answers 402 to the token %j",
      (token) =>
        Effect.gen(function*() {
          const a = enter(yield* makeVhost(), "a")
          expect(yield* a.send("auth", { token })).toEqual([error(402)])
        })
    )

    it.effect("answers 402 to an expired token", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost({ tokens: { timeToLive: "10 minutes" } })
        const a = enter(world, "a")
        const token = yield* world.grant("joe")
        yield* TestClock.adjust("10 minutes")
        expect(yield* a.send("auth", { token })).toEqual([error(402)])
        expect(yield* a.send("subscribe", { channel: "private-room" })).toEqual([error(403)])
      }))

    it.effect("changes nothing if the token is invalid", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* b.send("subscribe", { channel: "room" })
        yield* a.authenticate("joe")
        yield* a.send("subscribe", { channel: "room" })
        yield* a.send("subscribe", { channel: "private-room" })
        expect(yield* a.send("auth", { token: "nope" })).toEqual([error(402)])
        expect(yield* a.send("auth", {})).toEqual([error(400)])
        expect(yield* a.send("broadcast", { channel: "private-room", event: "hello" })).toEqual([
          { hello: { channel: "private-room", sid: "a" } }
        ])
        expect(yield* a.send("subscribe", { channel: "presence-room" })).toMatchObject([
          { ":subscribed": { uid: "joe" } },
          { ":memberJoined": { uid: "joe" } }
        ])
      }))

    it.effect("keeps earlier subscriptions at the first valid token", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.send("subscribe", { channel: "room", data: { n: 1 } })
        expect(yield* a.authenticate("joe")).toEqual([{ ":authenticated": {} }])
        expect(yield* a.send("broadcast", { channel: "room", event: "hello" })).toEqual([
          { hello: { channel: "room", sid: "a" } }
        ])
        expect(yield* a.authenticate("joe")).toEqual([{ ":authenticated": {} }])
        expect(yield* a.send("broadcast", { channel: "room", event: "hello" })).toEqual([error(453)])
      }))

    it.effect("registers no user for a browser that has disconnected while the token was being persisted", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const gate = yield* Deferred.make<void>()
        const browser = FakeBrowser.make("a")
        const session = BrowserSession.make(persistingAfter(world, Deferred.await(gate)), browser)
        yield* session.handle(`{"subscribe":{"channel":"room"}}`)
        const token = yield* world.grant("joe")
        const handling = yield* Effect.forkChild(session.handle(JSON.stringify({ auth: { token } })), {
          startImmediately: true
        })
        browser.received()
        yield* session.end(false)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(handling)
        expect([browser.received(), session.isAuthenticated()]).toEqual([[], false])
        expect(yield* world.vhost.browsers.disconnect("uid", "joe")).toBe(0)
        // Nothing more is carried out either.
        expect(yield* session.handle(`{"subscribe":{"channel":"room"}}`)).toBe(false)
        expect(world.vhost.channels.counters.subscriptions).toBe(0)
      }))

    it.effect("changes nothing if it is interrupted while the token is being persisted", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const session = BrowserSession.make(persistingAfter(world, Effect.never), FakeBrowser.make("a"))
        yield* session.handle(`{"subscribe":{"channel":"room"}}`)
        const token = yield* world.grant("joe")
        const handling = yield* Effect.forkChild(session.handle(JSON.stringify({ auth: { token } })), {
          startImmediately: true
        })
        yield* Fiber.interrupt(handling)
        expect(session.isAuthenticated()).toBe(false)
        expect(yield* world.vhost.browsers.disconnect("uid", "joe")).toBe(0)
        expect(world.vhost.channels.counters.subscriptions).toBe(1)
      }))

    it.effect("limits the rate of a browser with wrong tokens, and of no other", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        for (let n = 0; n < 10; n++) expect(yield* a.send("auth", { token: "nope" })).toEqual([error(402)])
        const good = yield* world.grant("joe")
        expect(yield* a.send("auth", { token: "nope" })).toEqual([error(429)])
        expect(yield* a.send("auth", { token: good })).toEqual([error(429)])
        expect(yield* b.send("auth", { token: "nope" })).toEqual([error(402)])
        yield* TestClock.adjust("1 second")
        expect(yield* a.send("auth", { token: good })).toEqual([{ ":authenticated": {} }])
        // A good one costs nothing.
        for (let n = 0; n < 20; n++) expect(yield* b.authenticate("ann")).toEqual([{ ":authenticated": {} }])
      }))

    it.effect("drops all subscriptions at a second valid token, and the first user leaves", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* b.authenticate("bob")
        yield* b.send("subscribe", { channel: "presence-room" })
        yield* a.authenticate("joe")
        for (const channel of ["room", "private-room", "presence-room"]) yield* a.send("subscribe", { channel })
        b.browser.received()
        expect(yield* a.authenticate("ann", "presence-.*")).toEqual([{ ":authenticated": {} }])
        expect(b.browser.received()).toEqual([{ ":memberLeft": { channel: "presence-room", uid: "joe" } }])
        for (const channel of ["room", "private-room", "presence-room"]) {
          expect(yield* a.send("broadcast", { channel, event: "hello" })).toEqual([error(453)])
        }
        expect(yield* a.send("subscribe", { channel: "private-room" })).toEqual([error(403)])
        expect(yield* a.send("subscribe", { channel: "presence-room" })).toMatchObject([
          { ":subscribed": { uid: "ann" } },
          { ":memberJoined": { uid: "ann" } }
        ])
      }))
  })
})
