/** What one browser may do, and what it is told of it. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Tracer } from "effect"
import type { JsonObject } from "../../../src/protocol/Json.ts"
import * as Lifecycle from "../../../src/protocol/Lifecycle.ts"
import * as BrowserSession from "../../../src/server/endpoint/BrowserSession.ts"
import { enter, error, makeVhost, type text } from "../../harness/browserSession.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as RecordingTracer from "../../harness/recordingTracer.ts"
import { oddKeys } from "../../protocol/arbitraries.ts"

describe("BrowserSession", () => {
  it.effect("sends `:connected` with the sid", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      expect(enter(world, "s1").connected).toEqual([{ ":connected": { sid: "s1" } }])
    }))

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
      const { spans, tracer } = RecordingTracer.make()
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
})
