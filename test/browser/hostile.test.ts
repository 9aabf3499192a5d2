/**
 * The script and `kosmonaut/browser` with a server that is broken or malicious, and pages that call whatever there is whenever they
 * like: nothing is thrown, nothing hangs, and it ends when it is closed.
 */
import { describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { expect } from "vitest"
import { Browser } from "../../src/browser/index.ts"
import type * as Script from "../../src/browser/script.ts"
import { Channel } from "../../src/index.ts"

import { Chromium, describeInChromium, faultsOf } from "../harness/chromium.ts"
import { eventually } from "../harness/eventually.ts"
import * as Hostile from "../harness/hostileServer.ts"
import { build } from "../harness/script.ts"
import * as Nonsense from "./internal/nonsense.ts"
import { type Room, Talk } from "./page/events.ts"

const loaded: Effect.Effect<typeof Script> = Effect.promise(() =>
  import(/* @vite-ignore */ `data:text/javascript;base64,${Buffer.from(build("esm")).toString("base64")}`)
)

const connected = `{":connected":{"sid":"sid","v":1}}`
const end = `{"talk/said":{"channel":"room","n":1}}`
/** After whatever else, a browser that is alive receives `end`. */
const begin = (peer: Hostile.Peer) => {
  peer.send(connected)
  peer.send(`{":subscribed":{"channel":"room"}}`)
}

const nonsense = (peer: Hostile.Peer, seed: number) => {
  const next = Nonsense.random(seed)
  for (let n = 0; n < 2000; n++) peer.send(JSON.stringify(Nonsense.message(next)) ?? "no JSON")
}

const floods: Record<string, (peer: Hostile.Peer) => void> = {
  "nonsense": (peer) => nonsense(peer, 1),
  "other nonsense": (peer) => nonsense(peer, 2),
  "errors": (peer) => {
    for (let n = 0; n < 5000; n++) peer.send(`{":error":{"code":597,"id":${n},"status":"x"}}`)
  },
  "confirmed subscriptions": (peer) => {
    for (let n = 0; n < 5000; n++) peer.send(`{":subscribed":{"channel":"room-${n % 2 ? n : ""}"}}`)
  },
  "responses": (peer) => {
    for (let n = 0; n < 5000; n++) peer.send(`{":response":{"id":${n},"data":{}}}`)
  },
  "a huge message": (peer) => peer.send(`{"talk/said":{"channel":"room","x":"${"x".repeat(5_000_000)}"}}`),
  "a huge batch": (peer) => peer.send(`[${"1,".repeat(200_000)}1]`),
  "a deep message": (peer) => peer.send(`${"[".repeat(200_000)}${"]".repeat(200_000)}`),
  "bytes": (peer) => peer.frame(2, Buffer.alloc(1000, 7)),
  "pings": (peer) => {
    for (let n = 0; n < 1000; n++) peer.frame(9, Buffer.from("ping"))
  }
}

describe.each(Object.entries(floods))("a server that sends %s", (_, flood) => {
  const serve = Hostile.make((peer) => {
    begin(peer)
    flood(peer)
    peer.send(end)
  })

  it.live("is survived by the script", () =>
    Effect.gen(function*() {
      const { connect } = yield* loaded
      const { url } = yield* serve
      const connection = connect(url)
      const room = connection.subscribe("room")
      yield* Effect.promise(() =>
        new Promise<void>((resolve) => void room.on("talk/said", (data) => "n" in data && resolve()))
      )
      const call = room.broadcast("talk/said", {}).catch(({ _tag }) => _tag)
      const later = () => room.broadcast("talk/said", {}).catch(({ _tag }) => _tag)
      connection.close()
      expect(yield* Effect.promise(() => call)).toMatch(/Error$/)
      expect(yield* Effect.promise(later)).toBe("ConnectionClosedError")
      expect(connection.state).toMatchObject({ _tag: "Closed", code: 1000 })
    }))

  it.live("is survived by kosmonaut/browser", () =>
    Effect.gen(function*() {
      const { url } = yield* serve
      const errors: Array<unknown> = []
      const onError = (error: unknown) => Effect.sync(() => errors.push(error))
      const browser = yield* Effect.provide(Browser.Browser, yield* Layer.build(Browser.layer({ url, onError })))
      const room = yield* browser.subscribe(Channel.make("room", { events: Talk }))
      yield* Stream.runDrain(Stream.take(room.events, 1))
      expect((yield* browser.state)._tag).toBe("Connected")
      for (const error of errors) expect((error as Error).message).not.toBe("")
      expect(yield* Effect.flip(browser.trigger(Talk.events.said, { n: 1 }))).toMatchObject({
        _tag: "UnauthorizedError"
      })
    }))
})

const codes = [0, 1, 999, 1000, 1004, 1005, 1006, 1008, 1015, 2999, 3000, 4000, 4400, 4499, 4500, 4999, 5000, 65_535]

const isFinal = (code: number) => code === 1000 || (code >= 4400 && code < 4500)

describe.concurrent.each(codes)("a server that closes with %i", (code) => {
  const serve = Hostile.make((peer, number) => {
    if (number === 1) peer.close(code)
    else begin(peer)
  })

  it.live("is left, or connected to again, by the script", () =>
    Effect.gen(function*() {
      const { connect } = yield* loaded
      const { url } = yield* serve
      const connection = connect(url)
      const state = Effect.sync(() => connection.state._tag)
      expect(yield* eventually(state, (tag) => tag === "Closed" || tag === "Connected")).toBe(
        isFinal(code) ? "Closed" : "Connected"
      )
      connection.close()
    }))
})

describeInChromium("pages of a server that is broken", (it) => {
  const open = Effect.gen(function*() {
    const context = yield* (yield* Chromium).profile
    const page = yield* Effect.promise(() => context.newPage())
    const faults = faultsOf(page)
    yield* Effect.promise(() => page.addScriptTag({ content: build("iife") }))
    return { faults, run: (code: string) => Effect.promise(() => page.evaluate(code)) }
  })

  // Those that their WebSocket itself may mind. What the script does with a message is the same as above.
  it.effect.each(["nonsense", "a huge message", "bytes", "pings"])("survive %s", (name) =>
    Effect.gen(function*() {
      const flood = floods[name]!
      const { faults, run } = yield* open
      const { url } = yield* Hostile.make((peer) => {
        begin(peer)
        flood(peer)
        peer.send(end)
      })
      yield* run(`{
        globalThis.connection = Kosmonaut.connect("${url}")
        new Promise((resolve) => connection.subscribe("room").on("talk/said", ({ n }) => n && resolve()))
      }`)
      yield* run("connection.close()")
      expect(yield* run("connection.state.code")).toBe(1000)
      expect(faults).toEqual([])
    }))

  it.effect("reconnect by the code that they were closed with", () =>
    Effect.gen(function*() {
      const { faults, run } = yield* open
      const tagAfter = Effect.fnUntraced(function*(code: number) {
        const { url } = yield* Hostile.make((peer, number) => number === 1 ? peer.close(code) : begin(peer))
        return yield* run(`new Promise((resolve) => {
          const connection = Kosmonaut.connect("${url}")
          connection.onState(({ _tag }) => (_tag === "Closed" || _tag === "Connected") && (connection.close(), resolve(_tag)))
        })`)
      })
      const tags = yield* Effect.forEach(codes, tagAfter, { concurrency: "unbounded" })
      expect(tags).toEqual(codes.map((code) => isFinal(code) ? "Closed" : "Connected"))
      expect(faults).toEqual([])
    }))
})

/** What a page without a compiler may pass. */
const anything: ReadonlyArray<unknown> = [
  undefined,
  null,
  0,
  NaN,
  Infinity,
  1n,
  "",
  "x",
  {},
  [],
  () => {},
  Symbol("x"),
  { toJSON: () => undefined }
]

type Call = (...args: ReadonlyArray<unknown>) => Promise<unknown>

/** A connection as a page without types sees it. */
interface Untyped {
  readonly trigger: Call
  readonly request: Call
  readonly subscribe: (channel: unknown) => { readonly state: { readonly _tag: string }; readonly broadcast: Call }
  readonly close: () => void
}

describe("a page that passes anything", () => {
  it.live("gets rejections, and a connection that still works", () =>
    Effect.gen(function*() {
      const { connect } = yield* loaded
      const { url } = yield* Hostile.make((peer) => {
        begin(peer)
        peer.send(`{":error":{"code":400,"id":1,"status":"Bad request"}}`)
      })
      const connection = connect(url) as unknown as Untyped
      const room = connection.subscribe("room")
      yield* eventually(Effect.sync(() => room.state._tag), (tag) => tag === "Subscribed")
      const outcome = (call: () => unknown) => {
        const promise = call() as Promise<unknown>
        expect(promise).toBeInstanceOf(Promise)
        return promise.then(() => "fulfilled", (error) => error)
      }
      const timeout = 100
      const outcomes = anything.flatMap((value) =>
        anything.flatMap((other) => [
          outcome(() => connection.trigger(value, other, { timeout })),
          outcome(() => connection.request(value, other, { timeout })),
          outcome(() => room.broadcast(value, other, { timeout }))
        ])
      )
      // Some of them have a long time.
      const others = anything.map((timeout) => outcome(() => room.broadcast("talk/said", {}, { timeout })))
      for (const outcome of yield* Effect.promise(() => Promise.all(outcomes))) expect(outcome).toBeInstanceOf(Error)
      // Nothing of all that is left: the limits still hold.
      const x = "x".repeat(1_000_000)
      const calls = Array.from({ length: 10 }, () =>
        room.broadcast("talk/said", { x }).catch((error: Script.CallError) => error._tag))
      connection.close()
      for (
        const outcome of yield* Effect.promise(() =>
          Promise.all(others)
        )
      ) expect(outcome).toBeInstanceOf(Error)
      const tags = yield* Effect.promise(() => Promise.all(calls))
      expect(Map.groupBy(tags, (tag) => tag).get("TooManyCallsError")).toHaveLength(6)
    }))

  it.live("may call everything after close, again and again", () =>
    Effect.gen(function*() {
      const { connect } = yield* loaded
      const server = yield* Hostile.make(begin)
      const connection = connect(server.url)
      const room = connection.subscribe("room")
      yield* eventually(Effect.sync(() => room.state._tag), (tag) => tag === "Subscribed")
      for (let n = 0; n < 3; n++) {
        connection.close()
        expect(connection.state).toMatchObject({ _tag: "Closed", code: 1000 })
        expect(room.state._tag).toBe(n === 0 ? "Failed" : "Unsubscribed")
        expect(room.members).toEqual([])
        const other = connection.subscribe("other")
        expect(other.state).toMatchObject({ _tag: "Failed", failure: { _tag: "ConnectionClosedError" } })
        for (
          const call of [() => room.broadcast("talk/said", {}), () =>
            connection.trigger("x", {}), () =>
            connection.request("x", {})]
        ) {
          expect(
            yield* Effect.promise(() =>
              call().catch(({ _tag }) => _tag)
            )
          ).toBe("ConnectionClosedError")
        }
        const stops = [
          connection.on("x", () => {}),
          connection.onState(() => {}),
          connection.onError(() => {}),
          other.on("x" as never, () => {})
        ]
        for (const stop of [...stops, ...stops]) stop()
        for (const { unsubscribe } of [other, other, room]) unsubscribe()
      }
      yield* eventually(Effect.sync(server.open), (open) => open === 0)
      expect(server.count()).toBe(1)
    }))

  it.live("may throw in its handlers and fail in its token", () =>
    Effect.gen(function*() {
      const { connect } = yield* loaded
      const { url } = yield* Hostile.make((peer) => {
        begin(peer)
        peer.send(end)
      })
      const wrong = () => {
        throw new Error("thrown by the page")
      }
      const thrown: Array<unknown> = []
      const others = process.listeners("uncaughtException")
      process.removeAllListeners("uncaughtException").on("uncaughtException", (error) => thrown.push(error.message))
      const connection = connect(url, { token: wrong })
      const room = connection.subscribe<typeof Room>("room")
      room.on("talk/said", wrong)
      yield* Effect.promise(() => new Promise((resolve) => void room.on("talk/said", resolve)))
      const call = yield* Effect.promise(() =>
        connection.trigger("x", {}).catch(({ _tag, message }) => ({ _tag, message }))
      )
      expect(call).toMatchObject({ _tag: "UnauthorizedError" })
      connection.close()
      process.removeAllListeners("uncaughtException")
      for (const other of others) process.on("uncaughtException", other)
      expect(thrown).toEqual(["thrown by the page"])
    }))
})

describe("thousands of subscriptions", () => {
  it.live("are made and left", () =>
    Effect.gen(function*() {
      const { connect } = yield* loaded
      const { url } = yield* Hostile.make((peer) => {
        begin(peer)
        for (let n = 0; n < 5000; n++) peer.send(`{":subscribed":{"channel":"room-${n}"}}`)
      })
      const connection = connect(url)
      const names = Array.from({ length: 5000 }, (_, n) => `room-${n}`)
      const rooms = names.map((name) => connection.subscribe(name))
      yield* eventually(
        Effect.sync(() => rooms.filter(({ state }) => state._tag === "Subscribed").length),
        (count) => count === rooms.length
      )
      for (const room of rooms) {
        room.on("x" as never, () => {})
        room.onState(() => {})
        room.unsubscribe()
      }
      expect(new Set(rooms.map(({ state }) => state._tag))).toEqual(new Set(["Unsubscribed"]))
      connection.close()
    }))
})
