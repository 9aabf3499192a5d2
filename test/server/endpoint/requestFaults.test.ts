/**
 * Requests and triggers whose broker, tracer or browser misbehaves: each still ends once, and no other one suffers.
 */
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { envelopeSize } from "../../../src/protocol/Frame.ts"
import type { Delivery } from "../../../src/protocol/Trigger.ts"
import type * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import type { RequestResult } from "../../../src/server/engine/EventQueue.ts"
import * as Timeline from "../../../src/server/engine/internal/timeline.ts"
import * as Vhosts from "../../../src/server/engine/Vhosts.ts"
import * as AdjustableClock from "../../harness/AdjustableClock.ts"
import { enter, makeVhost, type World } from "../../harness/browserSession.ts"
import { settings } from "../../harness/engine.ts"
import { makeWithoutHeartbeats as makeLobby } from "../../harness/lobby.ts"

/** A worker that acks and responds, and the ids of what it was given. */
const attend = Effect.fnUntraced(function*({ lobby }: Vhosts.Vhost, prefetch = 100) {
  const given: Array<string> = []
  const connection = {}
  yield* lobby.register({
    id: "responder",
    connection,
    lifecycle: false,
    responses: true,
    prefetch,
    maxAttempts: 1,
    deliverUnsafe: (_json, _origin, settled, delivery: Delivery | undefined) => {
      given.push(delivery!.id)
      settled(true)
    },
    heartbeatUnsafe: () => {},
    dismiss: Effect.void
  })
  return {
    given: () => given.splice(0),
    respond: (delivery: string) => Effect.sync(() => lobby.respondUnsafe("responder", connection, delivery, "ok", "1"))
  }
})

const enterAs = Effect.fnUntraced(function*(world: World, sid: string, client = "c") {
  const entered = enter(world, sid, 1)
  yield* entered.send("auth", { token: yield* world.grant("joe"), client })
  return entered
})

describe("an id that was used", () => {
  it.effect("is refused for other data, wherever they differ", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world.vhost)
      const browser = yield* enterAs(world, "s")
      const text = "x".repeat(40)
      for (let at = 0; at < text.length; at++) {
        const other = { text: `${text.slice(0, at)}y${text.slice(at + 1)}` }
        yield* browser.send("trigger", { event: "say", data: { text }, id: `t${at}` })
        expect(yield* browser.send("trigger", { event: "say", data: other, id: `t${at}` }), `at ${at}`)
          .toMatchObject([{ ":error": { code: 400, id: `t${at}` } }])
        yield* browser.send("request", { event: "say", data: { text }, id: `r${at}` })
        expect(yield* browser.send("request", { event: "say", data: other, id: `r${at}` }), `at ${at}`)
          .toMatchObject([{ ":error": { code: 400, id: `r${at}` } }])
        for (const id of worker.given()) yield* worker.respond(id)
        browser.browser.received()
      }
    }))
})

describe("a vhost that is removed", () => {
  const make = (options?: BrokerConfig.Options) =>
    Effect.gen(function*() {
      const vhosts = yield* Effect.provide(Vhosts.make, settings(options))
      return { vhosts, vhost: yield* vhosts.add({ path: "/gone" }) }
    })

  it.effect("ends its requests, queued and in flight", () =>
    Effect.gen(function*() {
      const { vhost, vhosts } = yield* make()
      const worker = yield* attend(vhost, 1)
      const results: Array<RequestResult["_tag"]> = []
      for (const timeout of [5000, 6000]) {
        yield* vhost.lobby.request({
          event: "e",
          json: `{"e":{}}`,
          timeout,
          respondUnsafe: ({ _tag }) => void results.push(_tag)
        })
      }
      expect([worker.given().length, results]).toEqual([1, []])
      yield* vhosts.remove("/gone")
      yield* TestClock.adjust("1 minute")
      expect(results).toHaveLength(2)
      expect(vhost.lobby.counters).toMatchObject({ unacknowledged: 0 })
    }))
})

describe("a tracer that throws", () => {
  it.effect("when a request ends, stops no other request", () =>
    Effect.gen(function*() {
      const clock = yield* AdjustableClock.make
      yield* Effect.gen(function*() {
        const world = yield* makeVhost({ heartbeat: { maxMissed: 1000 } })
        const worker = yield* attend(world.vhost, 1)
        const browser = yield* enterAs(world, "s")
        const send = (id: number, timeout: number) => browser.send("request", { event: "say", data: {}, id, timeout })
        yield* send(1, 60_000)
        const [first] = worker.given()
        const broken = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            span.end = () => {
              throw new Error("boom")
            }
            return span
          }
        })
        yield* send(2, 1000).pipe(Effect.withTracer(broken))
        yield* send(3, 60_000)
        // Its deadline passes while the process stands still, so that it is found when the next one is delivered.
        clock.standStill(2000)
        yield* Effect.exit(worker.respond(first!))
        const [third] = worker.given()
        expect(third).toBeDefined()
        yield* worker.respond(third!)
        expect(browser.browser.received()).toMatchObject([
          { ":response": { id: 1 } },
          { ":error": { code: 459, id: 2 } },
          { ":response": { id: 3 } }
        ])
      }).pipe(clock.provide)
    }))
})

describe("ten thousand requests whose deadline passes at once", () => {
  it.effect("end in steps, between which others have their turn, and none of them is delivered", () =>
    Effect.gen(function*() {
      const clock = yield* AdjustableClock.make
      yield* Effect.gen(function*() {
        const lobby = yield* makeLobby({ missedHeartbeats: 1000 })
        let given = 0
        const register = (prefetch: number) =>
          lobby.register({
            id: "w",
            connection: {},
            lifecycle: false,
            responses: true,
            prefetch,
            maxAttempts: 1,
            deliverUnsafe: (_json, _origin, settled) => {
              given++
              settled(true)
            },
            heartbeatUnsafe: () => {},
            dismiss: Effect.void
          })
        yield* register(0)
        const results: Array<RequestResult["_tag"]> = []
        const request = (timeout: number) =>
          lobby.request({ event: "e", json: "{}", timeout, respondUnsafe: ({ _tag }) => void results.push(_tag) })
        for (let index = 0; index < 9999; index++) yield* request(1000)
        yield* request(60_000)
        clock.standStill(1000)
        const steps: Array<number> = []
        const step = (work: Effect.Effect<unknown>) =>
          Effect.suspend(() => {
            const before = results.length
            return Effect.tap(work, () => Effect.sync(() => steps.push(results.length - before)))
          })
        // A worker with credit is given no request that has expired, however many there are.
        yield* step(register(1))
        expect(given).toBe(0)
        while ((lobby.nextDue() ?? Infinity) <= Timeline.nowOf(yield* Clock.Clock)) yield* step(lobby.redeliver)
        expect(Math.max(...steps)).toBeLessThanOrEqual(512)
        expect([results.length, new Set(results), given]).toEqual([9999, new Set(["Expired"]), 1])
      }).pipe(clock.provide)
    }))
})

describe("the largest request", () => {
  it.effect("still fits into a worker's message with the time that is left", () =>
    Effect.gen(function*() {
      const maxMessageSize = 2000
      const lobby = yield* makeLobby({ maxMessageSize })
      const sizes: Array<number> = []
      yield* lobby.register({
        id: "w",
        connection: {},
        lifecycle: false,
        responses: true,
        prefetch: 100,
        maxAttempts: 1,
        deliverUnsafe: (json, origin, settled) => {
          sizes.push(json.length + (origin?.length ?? 0))
          settled(true)
        },
        heartbeatUnsafe: () => {},
        dismiss: Effect.void
      })
      const origin = `{"uid":"joe"}`
      for (let size = maxMessageSize - envelopeSize - 100; size <= maxMessageSize; size++) {
        const json = "x".repeat(size - origin.length)
        yield* Effect.exit(
          lobby.request({ event: "e", json, origin, timeout: 3_599_999.5, respondUnsafe: () => {} })
        )
      }
      expect(sizes.length).toBeGreaterThan(50)
      expect(Math.max(...sizes)).toBeLessThanOrEqual(maxMessageSize - envelopeSize)
    }))
})
