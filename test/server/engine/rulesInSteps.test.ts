/**
 * The patterns of many rules are compiled one at a time, since each may take long, and nobody waits for all of them.
 */
import { describe, expect, it, vi } from "@effect/vitest"
import { Clock, Effect, Scope } from "effect"
import { RE2JS } from "re2js"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as Fields from "../../../src/server/engine/internal/fields.ts"
import * as Limits from "../../../src/server/engine/internal/limits.ts"
import * as Operations from "../../../src/server/engine/internal/operations.ts"
import * as Replica from "../../../src/server/engine/internal/replica.ts"
import * as Rules from "../../../src/server/engine/internal/rules.ts"
import * as RulesText from "../../../src/server/engine/internal/rulesText.ts"
import * as Snapshot from "../../../src/server/engine/internal/snapshot.ts"
import * as SnapshotReader from "../../../src/server/engine/internal/snapshotReader.ts"
import { makeVhost } from "../../harness/browserSession.ts"
import * as Vhost from "../../harness/vhost.ts"

const limits = Limits.fromConfig(Effect.runSync(BrokerConfig.make()))

const many = (name: string) =>
  Array.from({ length: 8 }, (_, n) => ({ pattern: `${name}-${n}|:user`, openOnDemand: true }))

/** Counts what is compiled; each takes `millis` longer. */
const compiling = (millis = 0) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const compile = RE2JS.compile.bind(RE2JS)
      return vi.spyOn(RE2JS, "compile").mockImplementation((...args) => {
        const until = performance.now() + millis
        while (performance.now() < until);
        return compile(...args)
      })
    }),
    (spy) => Effect.sync(() => spy.mockRestore())
  )

/** How many patterns are compiled, and the most in a turn of the event loop. */
const inTurns = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const compiled = yield* compiling(6)
  const counts: Array<number> = []
  const count = () => {
    counts.push(compiled.mock.calls.length)
    immediate = setImmediate(count)
  }
  let immediate = setImmediate(count)
  const value = yield* Effect.ensuring(effect, Effect.sync(() => clearImmediate(immediate)))
  counts.push(compiled.mock.calls.length)
  const most = Math.max(...counts.map((count, turn) => count - (counts[turn - 1] ?? 0)))
  return { value, all: counts.at(-1), most }
}, Effect.scoped)

describe("The patterns of rules", () => {
  it.live("of the options and of a vhost are compiled once, and in turns", () =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const { value: { vhost }, ...first } = yield* inTurns(
        Scope.provide(makeVhost({ channelRules: many("a") }), scope)
      )
      expect([first.all, first.most <= 2]).toEqual([8, true])
      const second = yield* inTurns(vhost.setChannelRules(many("b")))
      expect([second.all, second.most <= 2]).toEqual([8, true])
      expect(vhost.channels.ruleOf("b-7").openOnDemand).toBe(true)
      const invalid = vhost.setChannelRules([...many("c"), { pattern: "(" }])
      expect((yield* inTurns(Effect.flip(invalid))).value.message).toContain("channelRules.8.pattern")
      expect(vhost.channels.ruleOf("c-7").openOnDemand).toBe(false)
    }))

  it.effect("that another node has set are compiled and matched in a step each", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const replica = Replica.make("n1", new Map(), { ...limits, epoch: "e", rules: Rules.original(false), clock })
      const operations = [
        { _tag: "EnterNode", limits } as const,
        ...["x", "y", "a-7"].map((channel) => ({ _tag: "OpenChannel", channel }) as const),
        { _tag: "SetRules", rules: Vhost.rules(...many("a")) } as const
      ]
      const entry = Replica.entryOf(1, operations.map(Operations.write))
      const compiled = yield* compiling()
      let long = 0
      for (const isLong of Replica.apply(replica, { offset: 1, time: 0, node: "n1", entry }, () => {})) {
        if (isLong === true) long++
        expect(compiled.mock.calls.length).toBeLessThanOrEqual(long)
      }
      // To compile each, and to match each with each channel.
      expect([compiled.mock.calls.length, long]).toEqual([8, 8 + 3 * 8])
      expect(Array.from(replica.state.channels.values(), ({ value }) => value!.rule.openOnDemand)).toEqual([
        false,
        false,
        true
      ])
      expect(replica.state.rules.learned.size).toBe(0)

      // The same from a snapshot.
      const steps = Snapshot.collect(replica)
      let step = steps.next()
      while (step.done !== true) step = steps.next()
      const parts = [[...step.value].join("")]
      compiled.mockClear()
      const other = Replica.make("n2", new Map(), { ...limits, epoch: "e", rules: Rules.original(false), clock })
      let count = 0
      for (const _ of SnapshotReader.restore(other, { epoch: "e", offset: 1, parts })) {
        expect(compiled.mock.calls.length).toBeLessThanOrEqual(++count)
      }
      expect(compiled.mock.calls.length).toBe(8)
      expect(other.state.inboxes.rule.pattern).toBe("a-0|:user")
    }))

  it("that do not compile where they are read match nothing", () => {
    const text = RulesText.write(Vhost.rules({ pattern: "a(b)" })).replace("a(b)", "a(b(")
    const rules = RulesText.read(Fields.reader(text))
    for (const _ of Rules.prepare(rules, [])) { /* Each is a step. */ }
    expect(Rules.ruleOf(rules, "ab").pattern).toBeUndefined()
  })
})
