import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Deferred, Effect, Fiber, Option, Tracer } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import * as Lifecycle from "../../../src/protocol/Lifecycle.ts"
import * as BrowserSession from "../../../src/server/endpoint/BrowserSession.ts"
import type { Vhost } from "../../../src/server/engine/Vhosts.ts"
import { enter, error, makeVhost, type text, type World } from "../../harness/browserSession.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { anyText, bytes, garbage, jsonObject, oddKeys, oneOf, pick } from "../../protocol/arbitraries.ts"

/** A vhost in which it takes this long to persist that a token is used. */
const persistingAfter = ({ vhost }: World, persisted: Effect.Effect<void>): Vhost => ({
  ...vhost,
  accessTokens: {
    ...vhost.accessTokens,
    redeem: (token) => Effect.tap(vhost.accessTokens.redeem(token), () => persisted)
  }
})

describe("BrowserSession", () => {
  it.effect("sends `:connected` with the sid", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      expect(enter(world, "s1").connected).toEqual([{ ":connected": { sid: "s1" } }])
    }))

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

  describe("subscribe and unsubscribe", () => {
    it.effect("notify as each kind of channel requires", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        expect(yield* a.send("subscribe", { channel: "room" })).toEqual([{ ":subscribed": { channel: "room" } }])
        expect(yield* a.send("subscribe", { channel: "private-room" })).toEqual([
          { ":subscribed": { channel: "private-room", uid: "joe" } }
        ])
        expect(yield* a.send("subscribe", { channel: "presence-room", data: { name: "Joe" } })).toEqual([
          { ":subscribed": { channel: "presence-room", uid: "joe", subscribers: [] } },
          { ":memberJoined": { channel: "presence-room", uid: "joe", name: "Joe" } }
        ])
        expect(yield* a.send("unsubscribe", { channel: "presence-room", data: { bye: 1 } })).toEqual([
          { ":unsubscribed": { channel: "presence-room" } }
        ])
        expect(yield* a.send("unsubscribe", { channel: "room" })).toEqual([{ ":unsubscribed": { channel: "room" } }])
      }))

    it.effect("do nothing the second time, and answer 453 without a subscription", () =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        yield* a.send("subscribe", { channel: "room" })
        expect(yield* a.send("subscribe", { channel: "room" })).toEqual([])
        yield* a.send("unsubscribe", { channel: "room" })
        expect(yield* a.send("unsubscribe", { channel: "room" })).toEqual([error(453)])
      }))

    it.effect("merge the data of both for the others", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.authenticate("joe")
        yield* a.send("subscribe", { channel: "presence-room" })
        yield* b.authenticate("ann")
        yield* b.send("subscribe", { channel: "presence-room", data: { name: "Ann", n: 1 } })
        a.browser.received()
        yield* b.send("unsubscribe", { channel: "presence-room", data: { n: 2, bye: true } })
        expect(a.browser.received()).toEqual([
          { ":memberLeft": { channel: "presence-room", uid: "ann", name: "Ann", n: 2, bye: true } }
        ])
      }))

    it.effect("hide a browser with `hidden: true`, and with nothing else", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        yield* a.send("subscribe", { channel: "presence-room" })
        for (const [hidden, count] of [[true, 0], ["true", 1], [1, 1], [null, 1], [false, 1]] as const) {
          const b = enter(world, "b")
          yield* b.authenticate("ann")
          yield* b.send("subscribe", { channel: "presence-room", hidden })
          expect(a.browser.received().length).toBe(count)
          yield* b.session.end(false)
          expect(a.browser.received().length).toBe(count)
        }
      }))

    it.effect.each<[string, unknown, keyof typeof text]>([
      ["subscribe", {}, 400],
      ["subscribe", { channel: "" }, 400],
      ["subscribe", { channel: 7 }, 400],
      ["subscribe", { channel: null }, 400],
      ["subscribe", { channel: ["room"] }, 400],
      ["subscribe", { channel: { name: "room" } }, 400],
      ["subscribe", { Channel: "room" }, 400],
      ["subscribe", { channel: "nope" }, 454],
      ["subscribe", { channel: "%%%" }, 454],
      ["subscribe", { channel: "__proto__" }, 454],
      ["subscribe", { channel: "constructor" }, 454],
      ["subscribe", { channel: "room " }, 454],
      ["subscribe", { channel: "presence-nope" }, 454],
      ["subscribe", { channel: "private-room" }, 403],
      ["subscribe", { channel: "presence-room", hidden: true }, 403],
      ["unsubscribe", {}, 400],
      ["unsubscribe", { channel: "" }, 400],
      ["unsubscribe", { channel: false }, 400],
      ["unsubscribe", { channel: "nope" }, 454],
      ["unsubscribe", { channel: "toString" }, 454],
      ["unsubscribe", { channel: "room" }, 453],
      ["unsubscribe", { channel: "presence-room" }, 453]
    ])("%s %j is answered with %i", ([event, payload, code]) =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        expect(yield* a.send(event, payload)).toEqual([error(code)])
      }))

    it.effect("answer 400 to data beyond the limit", () =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        yield* a.authenticate("joe")
        const data = { text: "x".repeat(4096) }
        expect(yield* a.send("subscribe", { channel: "presence-room", data })).toEqual([error(400)])
        expect(yield* a.send("subscribe", { channel: "room", data })).toEqual([error(400)])
      }))

    it.effect("are forbidden without a permission for the channel", () =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        yield* a.authenticate("joe", "private")
        expect(yield* a.send("subscribe", { channel: "private-room" })).toEqual([error(403)])
        expect(yield* a.send("subscribe", { channel: "room" })).toEqual([{ ":subscribed": { channel: "room" } }])
      }))
  })

  describe("broadcast", () => {
    it.effect("is delivered to all subscribers, the sender too", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b, c] = [enter(world, "a"), enter(world, "b"), enter(world, "c")]
        yield* a.send("subscribe", { channel: "room" })
        yield* b.send("subscribe", { channel: "room" })
        yield* c.send("subscribe", { channel: "other" })
        c.browser.received()
        b.browser.received()
        const told = [{ hello: { what: "world", channel: "room", sid: "a" } }]
        expect(yield* a.send("broadcast", { channel: "room", event: "hello", data: { what: "world" } })).toEqual(told)
        expect(b.browser.received()).toEqual(told)
        expect(c.browser.received()).toEqual([])
      }))

    it.effect.each<[unknown]>([[null], [undefined]])(
      "takes data %j as {}",
      ([data]) =>
        Effect.gen(function*() {
          const a = enter(yield* makeVhost(), "a")
          yield* a.send("subscribe", { channel: "room" })
          expect(yield* a.send("broadcast", { channel: "room", event: "hello", data })).toEqual([
            { hello: { channel: "room", sid: "a" } }
          ])
        })
    )

    it.effect("delivers data as the text that was sent, and the protocol's keys win", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const told: Array<string> = []
        const session = BrowserSession.make(world.vhost, FakeBrowser.make("a", (message) => told.push(message)))
        yield* session.handle(`{"subscribe":{"channel":"room"}}`)
        for (
          const [data, delivered] of [
            [`{"n":9007199254740993,"big":1e400,"one":1.0}`, `{"n":9007199254740993,"big":1e400,"one":1.0,`],
            [`{"sid":"forged","one":1.0,"ch\\u0061nnel":2}`, `{"one":1.0,`],
            [`{"channel":1e1}`, `{`]
          ]
        ) {
          told.length = 0
          yield* session.handle(`{"broadcast":{"channel":"room","event":"e","data":${data}}}`)
          expect(told).toEqual([`{"e":${delivered}"channel":"room","sid":"a"}}`])
        }
      }))

    it.effect("delivers a message of the largest size, whatever numbers it has", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost({ maxMessageSize: 100_000, browsers: { messageRate: Infinity } })
        const sizes: Array<number> = []
        const session = BrowserSession.make(world.vhost, FakeBrowser.make("a", ({ length }) => sizes.push(length)))
        yield* session.handle(`{"subscribe":{"channel":"room"}}`)
        const list = Array.from({ length: 18_000 }, () => "1e20").join()
        sizes.length = 0
        yield* session.handle(`{"broadcast":{"channel":"room","event":"e","data":{"a":[${list}]}}}`)
        expect(sizes).toEqual([list.length + 41])
      }))

    it.effect.each<[unknown, keyof typeof text]>([
      [{}, 400],
      [{ channel: "room" }, 400],
      [{ event: "hello" }, 400],
      [{ channel: "", event: "hello" }, 400],
      [{ channel: "room", event: "" }, 400],
      [{ channel: "room", event: 7 }, 400],
      [{ channel: "room", event: ["hello"] }, 400],
      [{ channel: "nope", event: "hello" }, 454],
      [{ channel: "nope", event: "hello", trigger: "x" }, 454],
      [{ channel: "hasOwnProperty", event: "hello" }, 454],
      [{ channel: "room", event: "hello" }, 453],
      [{ channel: "room", event: "hello", trigger: "x" }, 453],
      [{ channel: "presence-room", event: "hello" }, 453]
    ])("of %j is answered with %i", ([payload, code]) =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* world.attend
        yield* b.send("subscribe", { channel: "room" })
        expect(yield* a.send("broadcast", payload)).toEqual([error(code)])
        expect([b.browser.received(), world.triggered]).toEqual([[], []])
      }))
  })

  describe("trigger", () => {
    it.effect("is sent to a worker with the browser's sid", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const a = enter(world, "a")
        yield* a.authenticate("joe", "")
        expect(yield* a.send("trigger", { event: "chat/save", data: { n: 1 } })).toEqual([])
        expect(yield* a.send("trigger", { event: "chat/save" })).toEqual([])
        expect(yield* a.send("trigger", { event: "x", data: { sid: "forged", channel: "c" } })).toEqual([])
        expect(world.triggered).toEqual([
          { "chat/save": { n: 1, sid: "a" } },
          { "chat/save": { sid: "a" } },
          { x: { sid: "a", channel: "c" } }
        ])
      }))

    it.effect.each<[unknown, keyof typeof text]>([
      [{}, 400],
      [{ event: "" }, 400],
      [{ event: 7 }, 400],
      [{ event: {} }, 400],
      [{ data: {} }, 400],
      [{ event: "chat/save" }, 403]
    ])("of %j without authentication is answered with %i", ([payload, code]) =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const a = enter(world, "a")
        expect(yield* a.send("trigger", payload)).toEqual([error(code)])
        expect(world.triggered).toEqual([])
      }))

    it.effect("is confirmed if it has an id, and its error has the id", () =>
      Effect.gen(function*() {
        const { authenticate, send } = enter(yield* makeVhost({ queue: { capacity: 2 } }), "browser")
        const refused = { code: 597, status: "Internal error" }
        expect(yield* send("trigger", { event: "save", id: 1 })).toMatchObject([
          { ":error": { code: 403, status: "Forbidden", id: 1, event: "trigger" } }
        ])
        yield* authenticate("joe")
        expect(yield* send("trigger", { event: "save", id: "first" })).toEqual([{ ":triggered": { id: "first" } }])
        expect(yield* send("trigger", { event: "save" })).toEqual([])
        expect(yield* send("trigger", { event: "save", id: 2 })).toMatchObject([
          { ":error": { ...refused, id: 2, event: "trigger" } }
        ])
        for (const id of [{}, "x".repeat(101), null, 1.5, 2 ** 53]) {
          expect(yield* send("trigger", { event: "save", id })).toEqual([
            {
              ":error": {
                code: 400,
                status: "Bad request",
                event: "trigger",
                reason: expect.stringContaining("an id is")
              }
            }
          ])
        }
      }))

    it.effect("is rejected with 597 while the queue is full", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost({ queue: { capacity: 2 } })
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        yield* a.send("trigger", { event: "e1" })
        yield* a.send("trigger", { event: "e2" })
        expect(yield* a.send("trigger", { event: "e3" })).toEqual([error(597)])
        yield* world.attend
        expect(yield* a.send("trigger", { event: "e4" })).toEqual([])
        expect(world.triggered.flatMap((event) => Object.keys(event as object))).toEqual(["e1", "e2", "e4"])
      }))
  })

  describe("broadcast with trigger", () => {
    it.effect("is delivered to the channel and to one worker, with the channel", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        yield* a.send("subscribe", { channel: "room" })
        const message = { channel: "room", event: "hello", data: { n: 1, channel: "forged" }, trigger: "chat/hello" }
        expect(yield* a.send("broadcast", message)).toEqual([{ hello: { n: 1, channel: "room", sid: "a" } }])
        expect(world.triggered).toEqual([{ "chat/hello": { n: 1, channel: "room", sid: "a" } }])
      }))

    it.effect("is confirmed if it has an id, also without a trigger", () =>
      Effect.gen(function*() {
        const { send } = enter(yield* makeVhost(), "browser")
        yield* send("subscribe", { channel: "room" })
        expect(yield* send("broadcast", { channel: "room", event: "hello", id: 7 })).toEqual([
          { hello: { channel: "room", sid: "browser" } },
          { ":triggered": { id: 7 } }
        ])
      }))

    it.effect("is forbidden to all browsers if only backends may broadcast", () =>
      Effect.gen(function*() {
        const { send } = enter(yield* makeVhost({ browsers: { broadcast: false } }), "browser")
        yield* send("subscribe", { channel: "room" })
        expect(yield* send("broadcast", { channel: "room", event: "hello" })).toEqual([
          { ":error": { code: 403, status: "Forbidden" } }
        ])
      }))

    it.effect("is forbidden without authentication, and nothing is delivered", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.send("subscribe", { channel: "room" })
        yield* b.send("subscribe", { channel: "room" })
        b.browser.received()
        expect(yield* a.send("broadcast", { channel: "room", event: "hello", trigger: "x" })).toEqual([error(403)])
        expect([b.browser.received(), world.triggered]).toEqual([[], []])
      }))

    it.effect("is rejected with 597 while the queue is full, and nothing is delivered", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost({ queue: { capacity: 1 } })
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.authenticate("joe")
        yield* a.send("subscribe", { channel: "room" })
        yield* b.send("subscribe", { channel: "room" })
        yield* a.send("trigger", { event: "e1" })
        b.browser.received()
        expect(yield* a.send("broadcast", { channel: "room", event: "hello", trigger: "x" })).toEqual([error(597)])
        expect(b.browser.received()).toEqual([])
        expect(yield* a.send("broadcast", { channel: "room", event: "hello" })).toEqual([
          { hello: { channel: "room", sid: "a" } }
        ])
        yield* world.attend
        expect(world.triggered).toEqual([{ e1: { sid: "a" } }])
      }))

    it.effect.each<[unknown]>([[7], [0], [null], [false], [""]])(
      "with the trigger %j is a broadcast only",
      ([trigger]) =>
        Effect.gen(function*() {
          const world = yield* makeVhost()
          yield* world.attend
          const a = enter(world, "a")
          yield* a.send("subscribe", { channel: "room" })
          expect(yield* a.send("broadcast", { channel: "room", event: "hello", trigger })).toEqual([
            { hello: { channel: "room", sid: "a" } }
          ])
          expect(world.triggered).toEqual([])
        })
    )

    it.effect.each<[unknown]>([[{}], [["x"]], [true]])(
      "with the trigger %j is answered with 400",
      ([trigger]) =>
        Effect.gen(function*() {
          const world = yield* makeVhost()
          yield* world.attend
          const a = enter(world, "a")
          yield* a.authenticate("joe")
          yield* a.send("subscribe", { channel: "room" })
          expect(yield* a.send("broadcast", { channel: "room", event: "hello", trigger })).toEqual([error(400)])
          expect(world.triggered).toEqual([])
        })
    )
  })

  describe("close", () => {
    it.effect("sends `:closed` and ends the connection", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        expect(yield* a.session.handle(`{"subscribe":{"channel":"room"}}`)).toBe(true)
        expect(yield* a.session.handle(`{"nonsense":{}}`)).toBe(true)
        a.browser.received()
        expect(yield* a.session.handle(`{"close":{}}`)).toBe(false)
        expect(a.browser.received()).toEqual([{ ":closed": { sid: "a" } }])
      }))

    it.effect("unsubscribes the browser when the session ends, and notifies the others", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.authenticate("joe")
        yield* b.authenticate("ann")
        for (const channel of ["room", "presence-room"]) {
          yield* a.send("subscribe", { channel, data: { name: "Joe" } })
          yield* b.send("subscribe", { channel })
        }
        a.browser.received()
        yield* a.session.end(false)
        expect(b.browser.received()).toEqual([{ ":memberLeft": { channel: "presence-room", uid: "joe", name: "Joe" } }])
        expect(a.browser.received()).toEqual([])
        expect((yield* world.vhost.channels.list).map(({ subscribers }) => subscribers)).toEqual([1, 0, 0, 1])
      }))

    it.effect("leaves no subscription that is applied after the session's end", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const isApplied = yield* Deferred.make<void>()
        const { channels } = world.vhost
        const subscribe: typeof channels.subscribe = (...subscription) =>
          Effect.andThen(Deferred.await(isApplied), channels.subscribe(...subscription))
        const a = enter({ ...world, vhost: { ...world.vhost, channels: { ...channels, subscribe } } }, "a")
        const subscribing = yield* Effect.forkChild(a.send("subscribe", { channel: "room" }), {
          startImmediately: true
        })
        yield* a.session.end(false)
        yield* Deferred.succeed(isApplied, undefined)
        yield* Fiber.join(subscribing)
        expect(channels.counters.subscriptions).toBe(0)
      }))
  })

  describe("messages from a backend", () => {
    it.effect("are possible from before `:connected` to the end of the session", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const { browsers } = world.vhost
        const a = enter(world, "a")
        expect(browsers.count()).toBe(1)
        yield* browsers.sendTo("a", "hello", { n: 1 })
        expect(a.browser.received()).toEqual([{ hello: { n: 1 } }])
        yield* a.session.end(false)
        yield* a.session.end(false)
        expect(browsers.count()).toBe(0)
        expect((yield* Effect.flip(browsers.sendTo("a", "hello", {}))).code).toBe(455)
        const early = FakeBrowser.make("early", () => expect(browsers.count()).toBe(1))
        BrowserSession.make(world.vhost, early)
        expect(early.received()).toEqual([{ ":connected": { sid: "early" } }])
      }))

    it.effect("address the user of the last valid token", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const { browsers } = world.vhost
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* b.authenticate("joe")
        yield* a.authenticate("joe")
        yield* a.send("auth", { token: "nope" })
        expect(yield* browsers.disconnect("uid", "joe")).toBe(2)
        yield* a.authenticate("ann")
        expect(yield* browsers.disconnect("uid", "joe")).toBe(1)
        expect(yield* browsers.disconnect("uid", "ann")).toBe(1)
        yield* a.session.end(false)
        expect(yield* browsers.disconnect("uid", "ann")).toBe(0)
        expect(a.browser.closedWith()).toBe(4403)
      }))
  })

  it.effect("sends every event with its origin, whatever its data are", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      yield* world.attend
      const a = enter(world, "a")
      const forged = { uid: "root", sid: "forged", channel: "forged", traceparent: "forged" }
      yield* a.authenticate("joe")
      yield* a.send("trigger", { event: "e", data: forged })
      yield* a.send("subscribe", { channel: "room" })
      yield* a.send("broadcast", { channel: "room", event: "b", trigger: "t", data: forged })
      yield* a.authenticate("ann")
      yield* a.send("trigger", { event: "e", data: forged })
      expect(world.origins).toEqual([{ sid: "a", uid: "joe" }, { sid: "a", uid: "joe", channel: "room" }, {
        sid: "a",
        uid: "ann"
      }])
    }))

  it.effect("starts a trace with every event if there is a tracer, whatever the browser sends", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const world = yield* makeVhost()
      yield* world.attend
      const a = enter(world, "a")
      yield* a.authenticate("joe")
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      yield* Effect.withSpan(a.send("trigger", { event: "e", data: { traceparent } }), "around").pipe(
        Effect.provideService(Tracer.Tracer, tracer)
      )
      const [, span] = spans
      expect(Option.isNone(span!.parent)).toBe(true)
      expect(world.origins).toEqual([
        { sid: "a", uid: "joe", traceparent: `00-${span!.traceId}-${span!.spanId}-01` }
      ])
      expect(world.triggered).toEqual([{ e: { traceparent, sid: "a" } }])
    }))

  it.effect("emits lifecycle events to workers that take them, each once and in order", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      yield* world.attendAs(true)
      const told = () => world.triggered.splice(0)
      const event = ({ data, event }: { readonly event: string; readonly data: JsonObject }) => ({ [event]: data })
      const { browserConnected, browserDisconnected, channelOccupied, channelVacated, memberJoined, memberLeft } =
        Lifecycle
      const a = enter(world, "a")
      yield* a.authenticate("joe")
      yield* a.send("subscribe", { channel: "presence-room", data: { name: "Joe" } })
      yield* a.send("subscribe", { channel: "presence-room", data: { name: "Joe" } })
      yield* a.send("trigger", { event: "e" })
      expect(told()).toEqual([
        event(browserConnected("a")),
        event(channelOccupied("presence-room")),
        event(memberJoined("presence-room", "joe", { name: "Joe" })),
        { e: { sid: "a" } }
      ])
      // Authenticating again drops what was subscribed.
      yield* a.authenticate("ann")
      yield* a.send("subscribe", { channel: "presence-room" })
      expect(told()).toEqual([
        event(memberLeft("presence-room", "joe", { name: "Joe" })),
        event(channelVacated("presence-room")),
        event(channelOccupied("presence-room")),
        event(memberJoined("presence-room", "ann", {}))
      ])
      const b = enter(world, "b")
      yield* b.send("subscribe", { channel: "presence-room" })
      yield* b.session.end(false)
      yield* a.session.end(false)
      yield* a.session.end(false)
      expect(told()).toEqual([
        event(browserConnected("b")),
        event(browserDisconnected("b", undefined)),
        event(memberLeft("presence-room", "ann", {})),
        event(channelVacated("presence-room")),
        event(browserDisconnected("a", "ann"))
      ])
      expect(world.origins.filter((origin) => origin !== undefined)).toEqual([{ sid: "a", uid: "joe" }])
    }))

  describe("an invalid message", () => {
    it.effect.each<[string | Uint8Array]>([
      [""],
      ["not json"],
      ["null"],
      ["7"],
      [`"subscribe"`],
      ["[]"],
      [`[{"close":{}}]`],
      ["{}"],
      [`{"subscribe":{"channel":"room"},"close":{}}`],
      [`{"close":{},"close2":{}}`],
      [`{"subscribe":"room"}`],
      [`{"close":null}`],
      [`{"close":[]}`],
      [`{"close":7}`],
      [`{"nonsense":{}}`],
      [`{"Close":{}}`],
      [`{":connected":{"sid":"a"}}`],
      [`{"__proto__":{"channel":"room"}}`],
      [`{"constructor":{"channel":"room"}}`],
      [`{"close":{}`],
      [`{"close":{}} {"close":{}}`],
      [`${"[".repeat(100_000)}${"]".repeat(100_000)}`],
      [`{"trigger":{"event":"x","data":${`{"a":`.repeat(100_000)}1${"}".repeat(100_000)}}}`],
      [new TextEncoder().encode(`{"close":{}}`)],
      [new Uint8Array(0)]
    ])("is answered with 400: %j", ([message]) =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        expect(yield* a.sendText(message)).toEqual([error(400)])
        // Nothing has changed.
        expect((yield* world.vhost.channels.list).every(({ subscribers }) => subscribers === 0)).toBe(true)
        expect((yield* world.vhost.lobby.info).queued).toBe(0)
        expect(yield* a.send("subscribe", { channel: "private-room" })).toMatchObject([{ ":subscribed": {} }])
      }))
  })

  it.effect("carries unusual names and keys unchanged, and pollutes no prototype", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      yield* world.attend
      const said: Array<string> = []
      const browser = FakeBrowser.make("a", (message) => said.push(message))
      const session = BrowserSession.make(world.vhost, browser)
      yield* session.handle(JSON.stringify({ auth: { token: yield* world.grant("__proto__") } }))
      yield* session.handle(`{"subscribe":{"channel":"presence-room","data":{"__proto__":{"polluted":1},"toJSON":1}}}`)
      said.length = 0
      const data = `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}`
      for (const event of oddKeys.filter((key) => key !== "")) {
        yield* session.handle(`{"broadcast":{"channel":"presence-room","event":"${event}","data":${data}}}`)
        expect(said.splice(0)).toEqual([
          `{"${event}":${data.slice(0, -1)},"channel":"presence-room","sid":"a"}}`
        ])
      }
      yield* session.handle(`{"trigger":{"event":"__proto__","data":{"__proto__":1}}}`)
      expect(JSON.stringify(world.triggered)).toBe(`[{"__proto__":{"__proto__":1,"sid":"a"}}]`)
      yield* session.handle(`{"unsubscribe":{"channel":"presence-room","data":{"__proto__":{"polluted":1}}}}`)
      expect(Object.hasOwn(Object.prototype, "polluted") || "polluted" in {}).toBe(false)
    }))

  describe("property", () => {
    const handle = Effect.fnUntraced(function*(messages: ReadonlyArray<string | Uint8Array>, authenticated: boolean) {
      const world = yield* makeVhost({ queue: { capacity: 3 } })
      const a = enter(world, "a")
      if (authenticated) yield* a.authenticate("joe", "room|pr.*")
      for (const message of messages) {
        const goesOn = yield* a.session.handle(message)
        const heard = a.browser.received()
        const [legal, ...more] = legalAnswers(message).filter((answer) => matches(answer, heard))
        expect({ message, heard, legal }).toMatchObject({ legal: expect.any(Array) as unknown })
        expect(more).toEqual([])
        expect(goesOn).toBe(heard.every((told) => !Object.hasOwn(told as object, ":closed")))
      }
      yield* a.session.end(false)
      expect((yield* world.vhost.channels.list).every(({ subscribers }) => subscribers === 0)).toBe(true)
    })

    it.effect.prop(
      "answers any text or bytes with 400 or with a valid response",
      [
        Arbitrary.array(oneOf<string | Uint8Array>(garbage, anyText, bytes), { maxLength: 5 }),
        pick([true, false])
      ],
      ([messages, authenticated]) => handle(messages, authenticated),
      { arbitrary: { runs: 200 } }
    )

    it.effect.prop(
      "answers any JSON in a batch as it does alone",
      [Arbitrary.array(oneOf<string>(nearlyMessage, pick(["7", "[]", "{}", `"{"`])), { maxLength: 8 })],
      ([messages]) =>
        Effect.gen(function*() {
          const [alone, together] = [yield* makeVhost(), yield* makeVhost()]
          const [a, b] = [enter(alone, "a", 1), enter(together, "a", 1)]
          yield* a.authenticate("joe", "room|pr.*")
          yield* b.authenticate("joe", "room|pr.*")
          const answers: Array<unknown> = []
          for (const message of messages) {
            if (!(yield* a.session.handle(message.startsWith("[") ? `[${message}]` : message))) break
          }
          answers.push(...a.browser.received())
          expect(yield* b.sendText(`[${messages.join(" , ")}]`)).toEqual(answers)
        }),
      { arbitrary: { runs: 100 } }
    )

    it.effect.prop(
      "answers any JSON that is close to the protocol with a valid response",
      [
        Arbitrary.array(nearlyMessage, { maxLength: 30 }),
        pick([true, false])
      ],
      ([messages, authenticated]) => handle(messages, authenticated),
      { arbitrary: { runs: 200, size: 30 } }
    )
  })
})

// --- What a browser may be told after a message, by the protocol's tables ---------------------------------------------------

const channels = ["room", "private-room", "presence-room", "nope", "__proto__"]

const nearlyMessage: Arbitrary.Arbitrary<string> = Arbitrary.map(
  Arbitrary.all({
    event: pick(
      [
        "auth",
        "subscribe",
        "subscribe",
        "unsubscribe",
        "broadcast",
        "broadcast",
        "trigger",
        "members",
        "ping",
        "close",
        "x"
      ]
    ),
    id: pick([undefined, undefined, undefined, 7, "a", 1.5, null]),
    channel: oneOf<unknown>(pick(channels), pick(channels), pick([7, null, "", {}])),
    name: oneOf<unknown>(pick(["hello", "chat/save", ...oddKeys]), anyText, pick([7, null, {}])),
    data: oneOf<unknown>(jsonObject, pick([undefined, 7, null, "x", []])),
    extra: pick<JsonObject>([{}, {}, { trigger: "t" }, { trigger: 7 }, { trigger: true }, { hidden: true }, {
      token: "nope"
    }, {
      token: 7
    }]),
    wrap: pick([0, 0, 0, 0, 0, 0, 1, 2])
  }),
  ({ channel, data, event, extra, id, name, wrap }) => {
    const message = { [event]: { channel, event: name, data, id, ...extra } }
    return JSON.stringify(wrap === 0 ? message : wrap === 1 ? [message] : { ...message, second: {} })
  }
)

/** An answer: the codes of `:error`, or the events that come, in their order. */
type Answer = ReadonlyArray<number | string>

const matches = (answer: Answer, heard: ReadonlyArray<unknown>): boolean =>
  answer.length === heard.length && answer.every((expected, index) => {
    const entries = Object.entries(heard[index] as Record<string, JsonObject>)
    const [name, payload] = entries[0]!
    return entries.length === 1 &&
      (typeof expected === "number" ? name === ":error" && payload.code === expected : name === expected)
  })

const legalAnswers = (message: string | Uint8Array): ReadonlyArray<Answer> => {
  const bad = [[400]]
  if (typeof message !== "string" || !message.isWellFormed()) return bad
  let value: unknown
  try {
    value = JSON.parse(message)
  } catch {
    return bad
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return bad
  const entries = Object.entries(value)
  const payload: unknown = entries[0]?.[1]
  if (entries.length !== 1 || typeof payload !== "object" || payload === null || Array.isArray(payload)) return bad
  const { channel, data, event, id, token, trigger } = payload as Record<string, unknown>
  if (id !== undefined && !Number.isSafeInteger(id) && !(typeof id === "string" && id.length <= 100)) return bad
  const hasData = data === undefined || data === null || (typeof data === "object" && !Array.isArray(data))
  const triggers = trigger !== undefined && trigger !== null && trigger !== false && trigger !== "" &&
    typeof trigger !== "number"
  const confirmed = id === undefined ? [] : [":triggered"]
  const isText = (text: unknown) => typeof text === "string" && text !== ""
  // Names that begin with ":" are the system's.
  const isName = (text: unknown) => isText(text) && !(text as string).startsWith(":")
  const unknownChannel = channel === "nope" || channel === "__proto__"
  switch (entries[0]![0]) {
    case "auth":
      return isText(token) ? [[402], [429]] : bad
    case "subscribe":
      if (!isText(channel) || !hasData) return bad
      if (unknownChannel) return [[454]]
      if (channel === "room") return [...(id === undefined ? [[]] : []), [":subscribed"]]
      return [[403], ...(id === undefined ? [[]] : []), [":subscribed"], [":subscribed", ":memberJoined"]]
    case "unsubscribe":
      return !isText(channel) || !hasData ? bad : unknownChannel ? [[454]] : [[453], [":unsubscribed"]]
    case "members":
      return !isText(channel) ? bad : unknownChannel ? [[454]] : [[453], [":members"]]
    case "broadcast":
      if (!isText(channel) || !isName(event) || (triggers && !isName(trigger)) || !hasData) return bad
      if (unknownChannel) return [[454]]
      return [[453], [event as string, ...confirmed], ...(triggers ? [[403], [597]] : [])]
    case "trigger":
      return isName(event) && hasData ? [[403], [597], confirmed] : bad
    case "ping":
      return [[":pong"]]
    case "close":
      return [[":closed"]]
    default:
      return bad
  }
}
