/** Whom a broadcast reaches, and as what. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../../../src/protocol/Json.ts"
import { NotSubscribedError } from "../../../../src/protocol/KosmonautError.ts"
import { browsers, join, make } from "../../../harness/channels.ts"
import * as FakeBrowser from "../../../harness/FakeBrowser.ts"

describe("Channels", () => {
  describe("broadcasting", () => {
    it.effect("reaches every subscriber once, the sender too, with the sender's sid", () =>
      Effect.gen(function*() {
        const channels = yield* make("room", "other")
        const [a, b, c] = browsers("a", "b", "c")
        yield* join(channels, "room", a)
        yield* join(channels, "room", b)
        yield* join(channels, "other", c)
        yield* channels.broadcast("room", "hello", { what: "world" }, { from: a })
        const told = [{ hello: { what: "world", channel: "room", sid: "a" } }]
        expect([a.received(), b.received(), c.received()]).toEqual([told, told, []])
        yield* channels.broadcast("room", "hello", { what: "world" })
        expect(b.received()).toEqual([{ hello: { what: "world", channel: "room" } }])
      }))

    it.effect("is rejected for a browser that is not subscribed", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        const failure = yield* Effect.flip(channels.broadcast("room", "hello", {}, { from: b }))
        expect(failure).toBeInstanceOf(NotSubscribedError)
        expect(a.received()).toEqual([])
      }))

    it.effect("carries any name and any data as they are", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const told: Array<string> = []
        const browser = FakeBrowser.make("a", (message) => told.push(message))
        yield* join(channels, "room", browser)
        told.length = 0
        const data = JSON.parse(`{"__proto__":{"x":1},"constructor":2,"toJSON":3,"":4}`) as JsonObject
        yield* channels.broadcast("room", "__proto__", data)
        expect(told).toEqual([`{"__proto__":{"__proto__":{"x":1},"constructor":2,"toJSON":3,"":4,"channel":"room"}}`])
      }))

    it.effect("reaches all other subscribers if one leaves while it receives the message", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const gone = FakeBrowser.make("gone", (message) => {
          if (message.startsWith(`{"hello"`)) Effect.runSync(channels.leave(gone))
        })
        const all = [...browsers("a", "b"), gone, ...browsers("c", "d")]
        for (const browser of all) yield* join(channels, "room", browser)
        yield* channels.broadcast("room", "hello", {})
        for (const browser of all) expect(browser.received()).toEqual([{ hello: { channel: "room" } }])
        yield* channels.broadcast("room", "hello", {})
        expect(all.map((browser) => browser.received().length)).toEqual([1, 1, 0, 1, 1])
      }))

    it.effect("reaches exactly the current subscribers, in order, while many subscribe and leave", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const log: Array<string> = []
        const everybody = browsers(...Array.from({ length: 20 }, (_, index) => `p${index}`))
        const present = new Set<FakeBrowser.FakeBrowser>()
        const expected = new Map(everybody.map((browser) => [browser, [] as Array<number>]))
        let sent = 0
        const comeAndGo = (browser: FakeBrowser.FakeBrowser, turns: number) =>
          Effect.gen(function*() {
            for (let turn = 0; turn < turns; turn++) {
              yield* Effect.yieldNow
              yield* channels.subscribe("room", browser, { permission: undefined, hidden: false, data: {} })
              present.add(browser)
              for (let i = 0; i < turn % 3; i++) yield* Effect.yieldNow
              if (turn % 2 === 0) yield* channels.unsubscribe("room", browser, {})
              else yield* channels.leave(browser)
              present.delete(browser)
            }
          })
        const speak = Effect.gen(function*() {
          for (let i = 0; i < 40; i++) {
            const number = sent++
            for (const browser of present) expected.get(browser)!.push(number)
            yield* channels.broadcast("room", "n", { number })
            log.push("sent")
            yield* Effect.yieldNow
          }
        })
        yield* Effect.all([
          ...everybody.map((browser, index) => comeAndGo(browser, 10 + index % 7)),
          speak,
          speak
        ], { concurrency: "unbounded" })
        expect(log.length).toBe(80)
        for (const browser of everybody) {
          const heard = browser.received().flatMap((message) => {
            const { n } = message as { readonly n?: { readonly number: number } }
            return n === undefined ? [] : [n.number]
          })
          expect(heard).toEqual(expected.get(browser))
        }
        expect([...expected.values()].flat().length).toBeGreaterThan(0)
        expect(yield* channels.list).toMatchObject([{ subscribers: 0 }])
      }))
  })

  describe("broadcasting with exceptSid", () => {
    it.effect("reaches all subscribers but that browser, whoever sends", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b, c] = browsers("a", "b", "c")
        for (const browser of [a, b, c]) yield* join(channels, "room", browser)
        yield* channels.broadcast("room", "hello", {}, { exceptSid: "b" })
        yield* channels.broadcast("room", "hi", {}, { from: a, exceptSid: "a" })
        const [hello, hi] = [{ hello: { channel: "room" } }, { hi: { channel: "room", sid: "a" } }]
        expect([a.received(), b.received(), c.received()]).toEqual([[hello], [hi], [hello, hi]])
        expect(channels.counters).toMatchObject({ broadcasts: 2, deliveries: 4 })
      }))

    it.effect("reaches all subscribers if that browser is not subscribed", () =>
      Effect.gen(function*() {
        const channels = yield* make("room")
        const [a, b] = browsers("a", "b")
        yield* join(channels, "room", a)
        for (const exceptSid of ["b", "nobody", "", "__proto__"]) {
          yield* channels.broadcast("room", "hello", {}, { exceptSid })
          expect(a.received().length).toBe(1)
        }
        expect(b.received()).toEqual([])
        expect(yield* Effect.flip(channels.broadcast("nope", "hello", {}, { exceptSid: "a" }))).toMatchObject({
          code: 454
        })
        expect(channels.counters).toMatchObject({ broadcasts: 4, deliveries: 4 })
      }))
  })
})
