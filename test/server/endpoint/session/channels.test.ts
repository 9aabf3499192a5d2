/** A browser subscribes, unsubscribes and broadcasts. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as BrowserSession from "../../../../src/server/endpoint/BrowserSession.ts"
import { enter, error, makeVhost, type text } from "../../../harness/browserSession.ts"
import * as FakeBrowser from "../../../harness/FakeBrowser.ts"

describe("BrowserSession", () => {
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
})
