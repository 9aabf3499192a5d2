/** Brokers that share a registry of vhosts, and are told of nothing or of everything. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Logger, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { InternalError, UnauthorizedError } from "../../../src/protocol/KosmonautError.ts"
import * as LocalVhosts from "../../../src/server/engine/internal/localVhosts.ts"
import * as Journal from "../../../src/server/engine/Journal.ts"
import { SharedVhosts } from "../../../src/server/engine/SharedVhosts.ts"
import * as Vhosts from "../../../src/server/engine/Vhosts.ts"
import type { BrokerConfig } from "../../../src/server/index.ts"
import { settings } from "../../harness/engine.ts"

const token = "0123456789abcdef0123456789abcdef01234567"
const options = { vhosts: [{ path: "/test", token }] }

type Registry = SharedVhosts["Service"]

const registry = () => LocalVhosts.make(new Map(), () => Journal.none).vhosts

/** A registry that tells of each change. */
const telling = (): Registry => {
  const listeners = new Set<() => void>()
  const { change, load } = registry()
  return {
    load,
    change: (...args) => Effect.tap(change(...args), () => Effect.sync(() => listeners.forEach((tell) => tell()))),
    onChangeUnsafe: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
  }
}

const make = (shared: Registry, given: BrokerConfig.Options = options) =>
  Vhosts.make.pipe(
    Effect.provide(settings(given)),
    Effect.provideService(SharedVhosts, shared),
    Effect.provide(Logger.layer([]))
  )

type Engine = Effect.Success<ReturnType<typeof make>>

const authorize = ({ authorize }: Engine, token: Redacted.Redacted) =>
  authorize({ kind: "dlr", vhost: "/test", token, id: "7b5d2a5e-0000-4000-8000-000000000000" })

const settle = TestClock.adjust("1 second")

describe("Vhosts that several brokers share", () => {
  it.effect("are looked at when somebody shows a token that is not known, ten times a second for all", () =>
    Effect.gen(function*() {
      let loads = 0
      const { change, load, onChangeUnsafe } = registry()
      const counted = { change, onChangeUnsafe, load: Effect.andThen(Effect.sync(() => void loads++), load) }
      const [one, other] = [yield* make(counted), yield* make(counted)]
      yield* settle
      const added = yield* one.addToken("/test")
      const authorized = yield* Effect.forkChild(authorize(other, added), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      expect((yield* Fiber.join(authorized)).path).toBe("/test")
      loads = 0
      const strangers = yield* Effect.forEach(
        Array.from({ length: 100 }),
        () => Effect.forkChild(Effect.flip(authorize(other, Redacted.make("f".repeat(40)))), { startImmediately: true })
      )
      yield* settle
      for (const stranger of strangers) expect(yield* Fiber.join(stranger)).toBeInstanceOf(UnauthorizedError)
      expect(loads).toBeLessThan(5)
    }))

  it.effect.each([["told", telling, "200 millis"], ["not told", registry, "6 seconds"]] as const)(
    "are the same for all when they are %s, and whoever has shown a removed token is ended",
    ([_, registry, wait]) =>
      Effect.gen(function*() {
        const shared = registry()
        const [one, other] = [yield* make(shared), yield* make(shared)]
        yield* settle
        const old = (yield* other.get("/test")).tokens.find(Redacted.make(token))!
        const ended: Array<unknown> = []
        yield* other.onTokenRemoved((token) => Effect.sync(() => void ended.push(token)))
        const removed = yield* Effect.forkChild(Effect.flatMap(other.get("/test"), ({ removed }) => removed))
        const next = yield* one.regenerateToken("/test")
        yield* one.add({ path: "/new" })
        yield* TestClock.adjust(wait)
        expect(ended).toEqual([old])
        expect((yield* other.get("/test")).token).toEqual(next)
        expect((yield* other.list).map(({ path }) => path)).toEqual(["/test", "/new"])
        // One that has the path now is another one.
        yield* one.remove("/test")
        yield* one.add({ path: "/test" })
        yield* TestClock.adjust(wait)
        yield* Fiber.join(removed)
        expect((yield* other.get("/test")).token).toEqual((yield* one.get("/test")).token)
      })
  )

  it.effect("lose no change that is made by others at the same time", () =>
    Effect.gen(function*() {
      const shared = registry()
      const [one, other] = [yield* make(shared), yield* make(shared)]
      const tokens = yield* Effect.forEach(
        [one, other, one, other, one, other],
        ({ addToken }) => addToken("/test"),
        { concurrency: "unbounded" }
      )
      yield* TestClock.adjust("6 seconds")
      const expected = [token, ...tokens.map(Redacted.value)].toSorted()
      for (const { get } of [one, other]) {
        expect((yield* get("/test")).tokens.list().map(Redacted.value).toSorted()).toEqual(expected)
      }
      // Rules of one, and a token of the other.
      yield* (yield* one.get("/test")).setChannelRules([{ pattern: "a", openOnDemand: true }])
      yield* other.removeToken("/test", token)
      yield* TestClock.adjust("6 seconds")
      for (const { get } of [one, other]) {
        const vhost = yield* get("/test")
        expect([vhost.channelRules().map(({ pattern }) => pattern), vhost.tokens.list().length]).toEqual([["a"], 6])
      }
    }))

  it.effect("have rules that another one has set while this one began", () =>
    Effect.gen(function*() {
      const { change, load, onChangeUnsafe } = registry()
      const one = yield* make({ change, load, onChangeUnsafe })
      let loads = 0
      const setRules = Effect.suspend(() =>
        ++loads === 2
          ? Effect.flatMap(one.get("/test"), (vhost) => vhost.setChannelRules([{ pattern: "a", openOnDemand: true }]))
          : Effect.void
      )
      const other = yield* make({ change, onChangeUnsafe, load: Effect.tap(load, () => Effect.orDie(setRules)) })
      const vhost = yield* other.get("/test")
      expect([loads > 2, vhost.channels.ruleOf("a").openOnDemand]).toEqual([true, false])
      yield* settle
      expect(vhost.channelRules().map(({ pattern }) => pattern)).toEqual(["a"])
      expect(vhost.channels.ruleOf("a").openOnDemand).toBe(true)
    }))

  it.effect("are as before if a change cannot be made, and go on when it can", () =>
    Effect.gen(function*() {
      const { change, load, onChangeUnsafe } = registry()
      let isAway = false
      const unlessAway = <A>(effect: Effect.Effect<A, InternalError>) =>
        Effect.suspend(() => isAway ? Effect.fail(new InternalError({ detail: "away" })) : effect)
      const engine = yield* make({
        load: unlessAway(load),
        change: (...args) => unlessAway(change(...args)),
        onChangeUnsafe
      })
      isAway = true
      const vhost = yield* engine.get("/test")
      const results = yield* Effect.all([
        engine.add({ path: "/a" }),
        engine.remove("/test"),
        engine.regenerateToken("/test"),
        vhost.setChannelRules([{ pattern: "a" }])
      ].map((change: Effect.Effect<unknown, unknown>) => Effect.result(change)))
      for (const result of results) expect(Result.isFailure(result) && result.failure).toBeInstanceOf(InternalError)
      yield* TestClock.adjust("1 minute")
      expect((yield* engine.list).map(({ path }) => path)).toEqual(["/test"])
      expect([Redacted.value(vhost.token), vhost.channelRules()]).toEqual([token, []])
      isAway = false
      yield* engine.regenerateToken("/test")
      yield* engine.remove("/test")
      expect(yield* engine.list).toEqual([])
    }))
})
