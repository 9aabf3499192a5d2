import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Deferred, Effect, Fiber, Option, Tracer } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import * as Lifecycle from "../../../src/protocol/Lifecycle.ts"
import * as BrowserSession from "../../../src/server/endpoint/BrowserSession.ts"
import { enter, error, makeVhost, type text } from "../../harness/browserSession.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { anyText, bytes, garbage, jsonObject, oddKeys, oneOf, pick } from "../../protocol/arbitraries.ts"

describe("BrowserSession", () => {
  it.effect("greets a browser with its sid", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      expect(enter(world, "s1").greeting).toEqual([{ ":connected": { sid: "s1" } }])
    }))

  describe("auth", () => {
    it.effect("authenticates with a single access token, once for each", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        const token = yield* world.grant("joe")
        expect(yield* a.says("auth", { token })).toEqual([{ ":authenticated": {} }])
        expect(yield* a.says("auth", { token })).toEqual([error(402)])
        expect(yield* b.says("auth", { token })).toEqual([error(402)])
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
        expect(yield* a.says("auth", payload)).toEqual([error(400)])
      }))

    it.effect.each(["nope", "__proto__", "constructor"])(
      "answers 402 to the token %j",
      (token) =>
        Effect.gen(function*() {
          const a = enter(yield* makeVhost(), "a")
          expect(yield* a.says("auth", { token })).toEqual([error(402)])
        })
    )

    it.effect("answers 402 to a token whose time is over", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost({ tokens: { timeToLive: "10 minutes" } })
        const a = enter(world, "a")
        const token = yield* world.grant("joe")
        yield* TestClock.adjust("10 minutes")
        expect(yield* a.says("auth", { token })).toEqual([error(402)])
        expect(yield* a.says("subscribe", { channel: "private-room" })).toEqual([error(403)])
      }))

    it.effect("leaves a browser what it had when its token is no good", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* b.says("subscribe", { channel: "room" })
        yield* a.authenticate("joe")
        yield* a.says("subscribe", { channel: "room" })
        yield* a.says("subscribe", { channel: "private-room" })
        expect(yield* a.says("auth", { token: "nope" })).toEqual([error(402)])
        expect(yield* a.says("auth", {})).toEqual([error(400)])
        expect(yield* a.says("broadcast", { channel: "private-room", event: "hello" })).toEqual([
          { hello: { channel: "private-room", sid: "a" } }
        ])
        expect(yield* a.says("subscribe", { channel: "presence-room" })).toMatchObject([
          { ":subscribed": { uid: "joe" } },
          { ":memberJoined": { uid: "joe" } }
        ])
      }))

    it.effect("keeps at the first good token what a browser had subscribed to before", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.says("subscribe", { channel: "room", data: { n: 1 } })
        expect(yield* a.authenticate("joe")).toEqual([{ ":authenticated": {} }])
        expect(yield* a.says("broadcast", { channel: "room", event: "hello" })).toEqual([
          { hello: { channel: "room", sid: "a" } }
        ])
        expect(yield* a.authenticate("joe")).toEqual([{ ":authenticated": {} }])
        expect(yield* a.says("broadcast", { channel: "room", event: "hello" })).toEqual([error(453)])
      }))

    it.effect("registers nobody who has gone while the token was recorded as used", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const gate = yield* Deferred.make<void>()
        const journal = { ...world.vhost.journal, persisted: Deferred.await(gate) }
        const page = FakeBrowser.make("a")
        const session = BrowserSession.make({ ...world.vhost, journal }, page)
        yield* session.handle(`{"subscribe":{"channel":"room"}}`)
        const token = yield* world.grant("joe")
        const handling = yield* Effect.forkChild(session.handle(JSON.stringify({ auth: { token } })), {
          startImmediately: true
        })
        page.heard()
        yield* session.end
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(handling)
        expect([page.heard(), session.isAuthenticated()]).toEqual([[], false])
        expect(yield* world.vhost.browsers.disconnect("uid", "joe")).toBe(0)
        // Nothing more is carried out either.
        expect(yield* session.handle(`{"subscribe":{"channel":"room"}}`)).toBe(false)
        expect(world.vhost.channels.counters.subscriptions).toBe(0)
      }))

    it.effect("leaves a browser as it was that is interrupted while the token is recorded as used", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const session = BrowserSession.make(
          { ...world.vhost, journal: { ...world.vhost.journal, persisted: Effect.never } },
          FakeBrowser.make("a")
        )
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

    it.effect("slows down who presents wrong tokens, and no one else", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        for (let n = 0; n < 10; n++) expect(yield* a.says("auth", { token: "nope" })).toEqual([error(402)])
        const good = yield* world.grant("joe")
        expect(yield* a.says("auth", { token: "nope" })).toEqual([error(429)])
        expect(yield* a.says("auth", { token: good })).toEqual([error(429)])
        expect(yield* b.says("auth", { token: "nope" })).toEqual([error(402)])
        yield* TestClock.adjust("1 second")
        expect(yield* a.says("auth", { token: good })).toEqual([{ ":authenticated": {} }])
        // A good one costs nothing.
        for (let n = 0; n < 20; n++) expect(yield* b.authenticate("ann")).toEqual([{ ":authenticated": {} }])
      }))

    it.effect("drops all subscriptions at a second good token, and the first user is gone", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* b.authenticate("bob")
        yield* b.says("subscribe", { channel: "presence-room" })
        yield* a.authenticate("joe")
        for (const channel of ["room", "private-room", "presence-room"]) yield* a.says("subscribe", { channel })
        b.page.heard()
        expect(yield* a.authenticate("ann", "presence-.*")).toEqual([{ ":authenticated": {} }])
        expect(b.page.heard()).toEqual([{ ":memberLeft": { channel: "presence-room", uid: "joe" } }])
        for (const channel of ["room", "private-room", "presence-room"]) {
          expect(yield* a.says("broadcast", { channel, event: "hello" })).toEqual([error(453)])
        }
        expect(yield* a.says("subscribe", { channel: "private-room" })).toEqual([error(403)])
        expect(yield* a.says("subscribe", { channel: "presence-room" })).toMatchObject([
          { ":subscribed": { uid: "ann" } },
          { ":memberJoined": { uid: "ann" } }
        ])
      }))
  })

  describe("subscribe and unsubscribe", () => {
    it.effect("say what happened on each kind of channel", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        expect(yield* a.says("subscribe", { channel: "room" })).toEqual([{ ":subscribed": { channel: "room" } }])
        expect(yield* a.says("subscribe", { channel: "private-room" })).toEqual([
          { ":subscribed": { channel: "private-room", uid: "joe" } }
        ])
        expect(yield* a.says("subscribe", { channel: "presence-room", data: { name: "Joe" } })).toEqual([
          { ":subscribed": { channel: "presence-room", uid: "joe", subscribers: [] } },
          { ":memberJoined": { channel: "presence-room", uid: "joe", name: "Joe" } }
        ])
        expect(yield* a.says("unsubscribe", { channel: "presence-room", data: { bye: 1 } })).toEqual([
          { ":unsubscribed": { channel: "presence-room" } }
        ])
        expect(yield* a.says("unsubscribe", { channel: "room" })).toEqual([{ ":unsubscribed": { channel: "room" } }])
      }))

    it.effect("say nothing the second time, and 453 where there is nothing to leave", () =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        yield* a.says("subscribe", { channel: "room" })
        expect(yield* a.says("subscribe", { channel: "room" })).toEqual([])
        yield* a.says("unsubscribe", { channel: "room" })
        expect(yield* a.says("unsubscribe", { channel: "room" })).toEqual([error(453)])
      }))

    it.effect("merge data of both into what the others are told", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.authenticate("joe")
        yield* a.says("subscribe", { channel: "presence-room" })
        yield* b.authenticate("ann")
        yield* b.says("subscribe", { channel: "presence-room", data: { name: "Ann", n: 1 } })
        a.page.heard()
        yield* b.says("unsubscribe", { channel: "presence-room", data: { n: 2, bye: true } })
        expect(a.page.heard()).toEqual([
          { ":memberLeft": { channel: "presence-room", uid: "ann", name: "Ann", n: 2, bye: true } }
        ])
      }))

    it.effect("hide who asks for it with true, and with nothing else", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        yield* a.says("subscribe", { channel: "presence-room" })
        for (const [hidden, count] of [[true, 0], ["true", 1], [1, 1], [null, 1], [false, 1]] as const) {
          const b = enter(world, "b")
          yield* b.authenticate("ann")
          yield* b.says("subscribe", { channel: "presence-room", hidden })
          expect(a.page.heard().length).toBe(count)
          yield* b.session.end
          expect(a.page.heard().length).toBe(count)
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
        expect(yield* a.says(event, payload)).toEqual([error(code)])
      }))

    it.effect("take no more of a browser about itself than the bound, 400", () =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        yield* a.authenticate("joe")
        const data = { text: "x".repeat(4096) }
        expect(yield* a.says("subscribe", { channel: "presence-room", data })).toEqual([error(400)])
        expect(yield* a.says("subscribe", { channel: "room", data })).toEqual([error(400)])
      }))

    it.effect("are forbidden where the permission is for other channels", () =>
      Effect.gen(function*() {
        const a = enter(yield* makeVhost(), "a")
        yield* a.authenticate("joe", "private")
        expect(yield* a.says("subscribe", { channel: "private-room" })).toEqual([error(403)])
        expect(yield* a.says("subscribe", { channel: "room" })).toEqual([{ ":subscribed": { channel: "room" } }])
      }))
  })

  describe("broadcast", () => {
    it.effect("reaches all on the channel, the sender too", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b, c] = [enter(world, "a"), enter(world, "b"), enter(world, "c")]
        yield* a.says("subscribe", { channel: "room" })
        yield* b.says("subscribe", { channel: "room" })
        yield* c.says("subscribe", { channel: "other" })
        c.page.heard()
        b.page.heard()
        const told = [{ hello: { what: "world", channel: "room", sid: "a" } }]
        expect(yield* a.says("broadcast", { channel: "room", event: "hello", data: { what: "world" } })).toEqual(told)
        expect(b.page.heard()).toEqual(told)
        expect(c.page.heard()).toEqual([])
      }))

    it.effect.each<[unknown]>([[null], [undefined]])(
      "takes data that is %j for {}",
      ([data]) =>
        Effect.gen(function*() {
          const a = enter(yield* makeVhost(), "a")
          yield* a.says("subscribe", { channel: "room" })
          expect(yield* a.says("broadcast", { channel: "room", event: "hello", data })).toEqual([
            { hello: { channel: "room", sid: "a" } }
          ])
        })
    )

    it.effect("delivers data as the text that came, and the system's keys win", () =>
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

    it.effect("delivers a message as large as any may be, whatever numbers it has", () =>
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
        yield* b.says("subscribe", { channel: "room" })
        expect(yield* a.says("broadcast", payload)).toEqual([error(code)])
        expect([b.page.heard(), world.triggered]).toEqual([[], []])
      }))
  })

  describe("trigger", () => {
    it.effect("reaches a worker with the browser's sid", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const a = enter(world, "a")
        yield* a.authenticate("joe", "")
        expect(yield* a.says("trigger", { event: "chat/save", data: { n: 1 } })).toEqual([])
        expect(yield* a.says("trigger", { event: "chat/save" })).toEqual([])
        expect(yield* a.says("trigger", { event: "x", data: { sid: "forged", channel: "c" } })).toEqual([])
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
    ])("of %j by a stranger is answered with %i", ([payload, code]) =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const a = enter(world, "a")
        expect(yield* a.says("trigger", payload)).toEqual([error(code)])
        expect(world.triggered).toEqual([])
      }))

    it.effect("is confirmed where it has an id, once it is accepted, and its error says the id", () =>
      Effect.gen(function*() {
        const { authenticate, says } = enter(yield* makeVhost({ queue: { capacity: 2 } }), "browser")
        const refused = { code: 597, status: "Internal error" }
        expect(yield* says("trigger", { event: "save", id: 1 })).toMatchObject([
          { ":error": { code: 403, status: "Forbidden", id: 1, event: "trigger" } }
        ])
        yield* authenticate("joe")
        expect(yield* says("trigger", { event: "save", id: "first" })).toEqual([{ ":triggered": { id: "first" } }])
        expect(yield* says("trigger", { event: "save" })).toEqual([])
        expect(yield* says("trigger", { event: "save", id: 2 })).toMatchObject([
          { ":error": { ...refused, id: 2, event: "trigger" } }
        ])
        for (const id of [{}, "x".repeat(101), null, 1.5, 2 ** 53]) {
          expect(yield* says("trigger", { event: "save", id })).toEqual([
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

    it.effect("is refused with 597 when too many events wait, and works again afterwards", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost({ queue: { capacity: 2 } })
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        yield* a.says("trigger", { event: "e1" })
        yield* a.says("trigger", { event: "e2" })
        expect(yield* a.says("trigger", { event: "e3" })).toEqual([error(597)])
        yield* world.attend
        expect(yield* a.says("trigger", { event: "e4" })).toEqual([])
        expect(world.triggered.flatMap((event) => Object.keys(event as object))).toEqual(["e1", "e2", "e4"])
      }))
  })

  describe("broadcast with trigger", () => {
    it.effect("reaches the channel and one worker, who learns the channel as well", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        yield* a.says("subscribe", { channel: "room" })
        const message = { channel: "room", event: "hello", data: { n: 1, channel: "forged" }, trigger: "chat/hello" }
        expect(yield* a.says("broadcast", message)).toEqual([{ hello: { n: 1, channel: "room", sid: "a" } }])
        expect(world.triggered).toEqual([{ "chat/hello": { n: 1, channel: "room", sid: "a" } }])
      }))

    it.effect("is confirmed where it has an id, also without a trigger", () =>
      Effect.gen(function*() {
        const { says } = enter(yield* makeVhost(), "browser")
        yield* says("subscribe", { channel: "room" })
        expect(yield* says("broadcast", { channel: "room", event: "hello", id: 7 })).toEqual([
          { hello: { channel: "room", sid: "browser" } },
          { ":triggered": { id: 7 } }
        ])
      }))

    it.effect("is forbidden to all browsers where only backends broadcast", () =>
      Effect.gen(function*() {
        const { says } = enter(yield* makeVhost({ browsers: { broadcast: false } }), "browser")
        yield* says("subscribe", { channel: "room" })
        expect(yield* says("broadcast", { channel: "room", event: "hello" })).toEqual([
          { ":error": { code: 403, status: "Forbidden" } }
        ])
      }))

    it.effect("is forbidden to a stranger, and nobody hears of it", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        yield* world.attend
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.says("subscribe", { channel: "room" })
        yield* b.says("subscribe", { channel: "room" })
        b.page.heard()
        expect(yield* a.says("broadcast", { channel: "room", event: "hello", trigger: "x" })).toEqual([error(403)])
        expect([b.page.heard(), world.triggered]).toEqual([[], []])
      }))

    it.effect("is refused with 597 when too many events wait, and nobody hears of it", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost({ queue: { capacity: 1 } })
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.authenticate("joe")
        yield* a.says("subscribe", { channel: "room" })
        yield* b.says("subscribe", { channel: "room" })
        yield* a.says("trigger", { event: "e1" })
        b.page.heard()
        expect(yield* a.says("broadcast", { channel: "room", event: "hello", trigger: "x" })).toEqual([error(597)])
        expect(b.page.heard()).toEqual([])
        expect(yield* a.says("broadcast", { channel: "room", event: "hello" })).toEqual([
          { hello: { channel: "room", sid: "a" } }
        ])
        yield* world.attend
        expect(world.triggered).toEqual([{ e1: { sid: "a" } }])
      }))

    it.effect.each<[unknown]>([[7], [0], [null], [false], [""]])(
      "with the trigger %j is a broadcast alone",
      ([trigger]) =>
        Effect.gen(function*() {
          const world = yield* makeVhost()
          yield* world.attend
          const a = enter(world, "a")
          yield* a.says("subscribe", { channel: "room" })
          expect(yield* a.says("broadcast", { channel: "room", event: "hello", trigger })).toEqual([
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
          yield* a.says("subscribe", { channel: "room" })
          expect(yield* a.says("broadcast", { channel: "room", event: "hello", trigger })).toEqual([error(400)])
          expect(world.triggered).toEqual([])
        })
    )
  })

  describe("close", () => {
    it.effect("says goodbye and that the connection is to end", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        expect(yield* a.session.handle(`{"subscribe":{"channel":"room"}}`)).toBe(true)
        expect(yield* a.session.handle(`{"nonsense":{}}`)).toBe(true)
        a.page.heard()
        expect(yield* a.session.handle(`{"close":{}}`)).toBe(false)
        expect(a.page.heard()).toEqual([{ ":closed": { sid: "a" } }])
      }))

    it.effect("takes the browser off its channels at the session's end, and tells the others", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* a.authenticate("joe")
        yield* b.authenticate("ann")
        for (const channel of ["room", "presence-room"]) {
          yield* a.says("subscribe", { channel, data: { name: "Joe" } })
          yield* b.says("subscribe", { channel })
        }
        a.page.heard()
        yield* a.session.end
        expect(b.page.heard()).toEqual([{ ":memberLeft": { channel: "presence-room", uid: "joe", name: "Joe" } }])
        expect(a.page.heard()).toEqual([])
        expect((yield* world.vhost.channels.list).map(({ subscribers }) => subscribers)).toEqual([1, 0, 0, 1])
      }))
  })

  describe("being reached by a backend", () => {
    it.effect("begins before the greeting and ends with the session", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const { browsers } = world.vhost
        const a = enter(world, "a")
        expect(browsers.count()).toBe(1)
        yield* browsers.sendTo("a", "hello", { n: 1 })
        expect(a.page.heard()).toEqual([{ hello: { n: 1 } }])
        yield* a.session.end
        yield* a.session.end
        expect(browsers.count()).toBe(0)
        expect((yield* Effect.flip(browsers.sendTo("a", "hello", {}))).code).toBe(455)
        const early = FakeBrowser.make("early", () => expect(browsers.count()).toBe(1))
        BrowserSession.make(world.vhost, early)
        expect(early.heard()).toEqual([{ ":connected": { sid: "early" } }])
      }))

    it.effect("is as the user of its last good token", () =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const { browsers } = world.vhost
        const [a, b] = [enter(world, "a"), enter(world, "b")]
        yield* b.authenticate("joe")
        yield* a.authenticate("joe")
        yield* a.says("auth", { token: "nope" })
        expect(yield* browsers.disconnect("uid", "joe")).toBe(2)
        yield* a.authenticate("ann")
        expect(yield* browsers.disconnect("uid", "joe")).toBe(1)
        expect(yield* browsers.disconnect("uid", "ann")).toBe(1)
        yield* a.session.end
        expect(yield* browsers.disconnect("uid", "ann")).toBe(0)
        expect(a.page.closedWith()).toBe(4403)
      }))
  })

  it.effect("says of every event who triggered it, whatever its data say", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      yield* world.attend
      const a = enter(world, "a")
      const forged = { uid: "root", sid: "forged", channel: "forged", traceparent: "forged" }
      yield* a.authenticate("joe")
      yield* a.says("trigger", { event: "e", data: forged })
      yield* a.says("subscribe", { channel: "room" })
      yield* a.says("broadcast", { channel: "room", event: "b", trigger: "t", data: forged })
      yield* a.authenticate("ann")
      yield* a.says("trigger", { event: "e", data: forged })
      expect(world.origins).toEqual([{ sid: "a", uid: "joe" }, { sid: "a", uid: "joe", channel: "room" }, {
        sid: "a",
        uid: "ann"
      }])
    }))

  it.effect("begins a trace with every event where somebody traces, whatever the browser says of one", () =>
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
      yield* Effect.withSpan(a.says("trigger", { event: "e", data: { traceparent } }), "around").pipe(
        Effect.provideService(Tracer.Tracer, tracer)
      )
      const [, span] = spans
      expect(Option.isNone(span!.parent)).toBe(true)
      expect(world.origins).toEqual([
        { sid: "a", uid: "joe", traceparent: `00-${span!.traceId}-${span!.spanId}-01` }
      ])
      expect(world.triggered).toEqual([{ e: { traceparent, sid: "a" } }])
    }))

  it.effect("happens to be told of to workers that take it, each thing once and in order", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      yield* world.attendAs(true)
      const told = () => world.triggered.splice(0)
      const event = ({ data, event }: { readonly event: string; readonly data: JsonObject }) => ({ [event]: data })
      const { browserConnected, browserDisconnected, channelOccupied, channelVacated, memberJoined, memberLeft } =
        Lifecycle
      const a = enter(world, "a")
      yield* a.authenticate("joe")
      yield* a.says("subscribe", { channel: "presence-room", data: { name: "Joe" } })
      yield* a.says("subscribe", { channel: "presence-room", data: { name: "Joe" } })
      yield* a.says("trigger", { event: "e" })
      expect(told()).toEqual([
        event(browserConnected("a")),
        event(channelOccupied("presence-room")),
        event(memberJoined("presence-room", "joe", { name: "Joe" })),
        { e: { sid: "a" } }
      ])
      // Authenticating again drops what was subscribed.
      yield* a.authenticate("ann")
      yield* a.says("subscribe", { channel: "presence-room" })
      expect(told()).toEqual([
        event(memberLeft("presence-room", "joe", { name: "Joe" })),
        event(channelVacated("presence-room")),
        event(channelOccupied("presence-room")),
        event(memberJoined("presence-room", "ann", {}))
      ])
      const b = enter(world, "b")
      yield* b.says("subscribe", { channel: "presence-room" })
      yield* b.session.end
      yield* a.session.end
      yield* a.session.end
      expect(told()).toEqual([
        event(browserConnected("b")),
        event(browserDisconnected("b", undefined)),
        event(memberLeft("presence-room", "ann", {})),
        event(channelVacated("presence-room")),
        event(browserDisconnected("a", "ann"))
      ])
      expect(world.origins.filter((origin) => origin !== undefined)).toEqual([{ sid: "a", uid: "joe" }])
    }))

  describe("what is no message", () => {
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
        expect(yield* a.hear(message)).toEqual([error(400)])
        // Nothing has changed.
        expect((yield* world.vhost.channels.list).every(({ subscribers }) => subscribers === 0)).toBe(true)
        expect((yield* world.vhost.lobby.info).queued).toBe(0)
        expect(yield* a.says("subscribe", { channel: "private-room" })).toMatchObject([{ ":subscribed": {} }])
      }))
  })

  it.effect("carries odd names and keys as they are, and pollutes nothing", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      yield* world.attend
      const said: Array<string> = []
      const page = FakeBrowser.make("a", (message) => said.push(message))
      const session = BrowserSession.make(world.vhost, page)
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
        const heard = a.page.heard()
        const [legal, ...more] = legalAnswers(message).filter((answer) => matches(answer, heard))
        expect({ message, heard, legal }).toMatchObject({ legal: expect.any(Array) as unknown })
        expect(more).toEqual([])
        expect(goesOn).toBe(heard.every((told) => !Object.hasOwn(told as object, ":closed")))
      }
      yield* a.session.end
      expect((yield* world.vhost.channels.list).every(({ subscribers }) => subscribers === 0)).toBe(true)
    })

    it.effect.prop(
      "any text or bytes are answered with 400 or with what they legally say",
      [
        Arbitrary.array(oneOf<string | Uint8Array>(garbage, anyText, bytes), { maxLength: 5 }),
        pick([true, false])
      ],
      ([messages, authenticated]) => handle(messages, authenticated),
      { arbitrary: { runs: 200 } }
    )

    it.effect.prop(
      "any JSON in a batch is answered as it is alone",
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
          answers.push(...a.page.heard())
          expect(yield* b.hear(`[${messages.join(" , ")}]`)).toEqual(answers)
        }),
      { arbitrary: { runs: 100 } }
    )

    it.effect.prop(
      "any JSON that comes close to the protocol is answered legally",
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
