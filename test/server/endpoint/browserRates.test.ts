/**
 * How much one browser may send, and what becomes of one that sends more.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as TokenBucket from "../../../src/server/endpoint/internal/tokenBucket.ts"
import { enter, error, makeVhost } from "../../harness/browserSession.ts"
import { int, pick } from "../../protocol/arbitraries.ts"

const ping = `{"ping":{}}`
const pong = [{ ":pong": {} }]

describe("A browser", () => {
  it.effect("may send a burst of messages, then as many as its rate", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { messageRate: 2 } })
      const a = enter(world, "a")
      for (let n = 0; n < 10; n++) expect(yield* a.sendText(ping)).toEqual(pong)
      expect(yield* a.sendText(ping)).toEqual([error(429)])
      yield* TestClock.adjust("500 millis")
      expect(yield* a.sendText(ping)).toEqual(pong)
      expect(yield* a.sendText(ping)).toEqual([error(429)])
      yield* TestClock.adjust("1 hour")
      for (let n = 0; n < 10; n++) expect(yield* a.sendText(ping)).toEqual(pong)
      expect(yield* a.sendText(ping)).toEqual([error(429)])
      // Everybody has an allowance of their own.
      expect(yield* enter(world, "b").sendText(ping)).toEqual(pong)
    }))

  it.effect("beyond its rate may only unsubscribe and close, and receives an error with the id and the reason", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { messageRate: 1 } })
      yield* world.attend
      const a = enter(world, "a")
      yield* a.authenticate("joe")
      yield* a.send("subscribe", { channel: "room" })
      for (let n = 0; n < 3; n++) yield* a.sendText(ping)
      expect(yield* a.send("trigger", { event: "e", id: 7 })).toEqual([{
        ":error": {
          code: 429,
          status: "Too many requests",
          event: "trigger",
          id: 7,
          reason: "a browser sends at most 1 messages a second"
        }
      }])
      expect(yield* a.send("broadcast", { channel: "room", event: "e" })).toEqual([error(429)])
      expect(world.triggered).toEqual([])
      expect(yield* a.send("unsubscribe", { channel: "room" })).toEqual([{ ":unsubscribed": { channel: "room" } }])
      expect(yield* a.sendText("not json")).toEqual([error(429)])
      expect(yield* a.session.handle(`{"close":{}}`)).toBe(false)
      expect(a.browser.received()).toEqual([{ ":closed": { sid: "a" } }])
    }))

  it.effect("is closed with 1013 if it keeps exceeding its rate, whatever it sends", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { messageRate: 2 } })
      for (const message of [ping, "not json", `{"unsubscribe":{"channel":"room"}}`, "x".repeat(5000)]) {
        const a = enter(world, "a")
        for (let n = 0; n < 20; n++) yield* a.sendText(message)
        expect(a.browser.closedWith()).toBeUndefined()
        yield* a.sendText(message)
        expect(a.browser.closedWith()).toBe(1013)
        yield* a.session.end(false)
      }
      // One that sends somewhat too much stays.
      const b = enter(world, "b")
      for (let n = 0; n < 200; n++) {
        yield* b.sendText(ping)
        yield* TestClock.adjust("400 millis")
      }
      expect(b.browser.closedWith()).toBeUndefined()
    }))

  it.effect("may send bytes up to its rate, and at least one message of the largest size", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { byteRate: 100 }, maxMessageSize: 2000 })
      const a = enter(world, "a")
      // Of two bytes each.
      const message = `{"ping":{"a":"${"ż".repeat(900)}"}}`
      expect(yield* a.sendText(message)).toEqual(pong)
      expect(yield* a.sendText(message)).toEqual([error(429)])
      expect(yield* a.sendText(ping)).toEqual(pong)
      yield* TestClock.adjust("18 seconds")
      expect(yield* a.sendText(message)).toEqual(pong)
    }))

  it.effect("may send anything without limits", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { messageRate: Infinity, byteRate: Infinity } })
      const a = enter(world, "a")
      for (let n = 0; n < 5000; n++) expect(yield* a.sendText(ping)).toEqual(pong)
      // One limit of the two is enough to count.
      const b = enter(yield* makeVhost({ browsers: { messageRate: Infinity, byteRate: 1 }, maxMessageSize: 20 }), "b")
      expect(yield* b.sendText(ping)).toEqual(pong)
      expect(yield* b.sendText(ping)).toEqual([error(429)])
    }))

  it.effect("is limited by each message of a batch", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { messageRate: 1 } })
      const a = enter(world, "a", 1)
      const answers = yield* a.sendText(`[${Array.from({ length: 7 }, (_, id) => `{"ping":{"id":${id}}}`).join()}]`)
      expect(answers.slice(0, 5)).toEqual([0, 1, 2, 3, 4].map((id) => ({ ":pong": { id } })))
      expect(answers.slice(5)).toMatchObject([{ ":error": { code: 429, id: 5 } }, { ":error": { code: 429, id: 6 } }])
    }))

  it.effect("has a limited number of subscriptions, and of bytes of data", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { maxSubscriptions: 2, totalDataSize: 35 } })
      const a = enter(world, "a", 1)
      yield* a.authenticate("joe")
      yield* a.send("subscribe", { channel: "room", data: { n: "x".repeat(10) } })
      expect(yield* a.send("subscribe", { channel: "other", data: { n: "x".repeat(10) } })).toEqual([{
        ":error": {
          code: 429,
          status: "Too many requests",
          event: "subscribe",
          channel: "other",
          reason: "the data of all subscriptions of a browser have at most 35 bytes"
        }
      }])
      expect(yield* a.send("subscribe", { channel: "other", data: { n: "x".repeat(9) } })).toEqual([
        { ":subscribed": { channel: "other" } }
      ])
      expect(yield* a.send("subscribe", { channel: "private-room" })).toMatchObject([
        { ":error": { code: 429, channel: "private-room", reason: "a browser has at most 2 subscriptions" } }
      ])
      // What it leaves makes room.
      yield* a.send("unsubscribe", { channel: "room" })
      const data = { n: "x".repeat(10) }
      expect(yield* a.send("subscribe", { channel: "private-room", data })).toMatchObject([{ ":subscribed": {} }])
    }))
})

describe("TokenBucket", () => {
  it.effect.prop("allows a burst and its rate, and no more", [
    Arbitrary.array(Arbitrary.all({ passes: int(-50, 2000), tokens: int(0, 12) }), { maxLength: 40 }),
    pick<number>([0.5, 1, 7, 100]),
    pick<number>([1, 5, 10])
  ], ([steps, perSecond, burst]) =>
    Effect.sync(() => {
      const rate = { perSecond, burst }
      const bucket = TokenBucket.make(rate, 0)
      let [now, latest, taken, has] = [0, 0, 0, burst]
      for (const { passes, tokens } of steps) {
        now += passes
        has = Math.min(burst, has + Math.max(0, passes) * perSecond / 1000)
        latest = Math.max(latest, now)
        const expected = has >= tokens
        expect(TokenBucket.take(bucket, rate, now, tokens)).toBe(expected)
        if (expected) {
          has -= tokens
          taken += tokens
        }
        expect(bucket.tokens).toBeGreaterThanOrEqual(0)
        expect(bucket.tokens).toBeLessThanOrEqual(burst)
      }
      expect(Number.isFinite(taken)).toBe(true)
    }))

  it("limits nothing at an infinite rate", () => {
    const rate = { perSecond: Infinity, burst: Infinity }
    const bucket = TokenBucket.make(rate, 0)
    for (const now of [0, 0, 1]) expect(TokenBucket.take(bucket, rate, now, 1e12)).toBe(true)
  })
})
