/**
 * Channels with rules: which rule a channel has, and channels that are opened by who needs them.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Effect, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import type * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as Permission from "../../../src/server/domain/Permission.ts"
import * as Rules from "../../../src/server/engine/internal/rules.ts"
import { makeVhost } from "../../harness/browserSession.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Vhost from "../../harness/vhost.ts"
import { costly, int, pick } from "../../protocol/arbitraries.ts"

const patterns = ["a", "b", "ab?", ".*", "a.*", "x|b", ":user", ":user|a", "[ab]+", "[:]user"] as const

describe("The rule of a channel", () => {
  it.prop("is the first one whose pattern matches the whole name", [
    Arbitrary.array(pick(patterns), { maxLength: 8 }),
    pick(["a", "b", "ab", "abc", "xa", ":user"])
  ], ([list, name]) => {
    const rules = Vhost.rules(...list.map((pattern, index) => ({ pattern, maxSubscribers: index })))
    // The second time it is known.
    expect(Rules.ruleOf(rules, name)).toBe(Rules.ruleOf(rules, name))
    // What matches any name means channels.
    const first = list.findIndex((pattern) =>
      new RegExp(`^(?:${pattern})$`).test(name) && (name !== ":user" || pattern.includes(":user"))
    )
    expect(Rules.ruleOf(rules, name).maxSubscribers).toBe(first === -1 ? Infinity : first)
  })

  it("is known of a bounded number of names", () => {
    const rules = Vhost.rules({ pattern: "room.*", maxSubscribers: 1 })
    for (let n = 0; n < 5000; n++) expect(Rules.ruleOf(rules, `room-${n}`).maxSubscribers).toBe(1)
    Rules.ruleOf(rules, "x".repeat(10_000))
    expect(rules.known.size).toBeLessThanOrEqual(1000)
    expect([...rules.known.keys()].every(({ length }) => length <= 255)).toBe(true)
  })

  it("has the broker's own options where it says nothing", () => {
    const rules = Vhost.rules({ pattern: "a", history: true }, { pattern: "b", history: { count: 7, age: "1 hour" } })
    const standard = { count: 1000, size: 1_048_576, age: 300_000 }
    expect(Rules.ruleOf(rules, "a")).toEqual({
      pattern: "a",
      openOnDemand: false,
      history: standard,
      browsersBroadcast: false,
      presence: true,
      grace: 3000,
      maxSubscribers: Infinity,
      latest: false
    })
    expect(Rules.ruleOf(rules, "b").history).toEqual({ ...standard, count: 7, age: 3_600_000 })
    expect(Rules.ruleOf(rules, "c").history).toBeUndefined()
  })
})

const joe = Result.getOrThrow(Permission.make("joe", ".*"))

/** A vhost in which rooms are opened on demand, those with a name that ends in `h` with history. */
const makeWorld = (options: Vhost.Options = {}, rules: ReadonlyArray<BrokerConfig.ChannelRule> = []) => {
  let now = 0
  const clock: Clock.Clock = Object.assign(
    Object.create(Effect.runSync(Effect.service(Clock.Clock))) as Clock.Clock,
    { monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n }
  )
  const vhost = Vhost.make({
    rules: Vhost.rules(
      ...rules,
      { pattern: ".*room.*h", openOnDemand: true, history: { count: 2, age: "1 minute" } },
      { pattern: ".*room.*", openOnDemand: true }
    ),
    clock,
    ...options
  })
  const { channels } = vhost
  const browsers = new Map<string, FakeBrowser.FakeBrowser>()
  const browser = (sid: string) => {
    const known = browsers.get(sid) ?? { ...FakeBrowser.make(sid), version: 1 as const }
    browsers.set(sid, known)
    return known
  }
  return {
    ...vhost,
    browser,
    pass: (millis: number) => {
      now += millis
    },
    join: (sid: string, channel: string, options: object = {}) =>
      channels.subscribe(channel, browser(sid), { permission: joe, hidden: false, data: JsonText.empty, ...options }),
    leave: (sid: string, channel: string) => channels.unsubscribe(channel, browser(sid), JsonText.empty),
    say: (channel: string) => channels.broadcast(channel, "said", {}),
    open: Effect.map(channels.list, (list) => list.map(({ name }) => name))
  }
}

const subscribed = (browser: FakeBrowser.FakeBrowser): any =>
  browser.received().findLast((message: any) => ":subscribed" in message)![":subscribed" as never]

describe("A channel that is opened on demand", () => {
  it.effect("is there as long as it has subscribers", () =>
    Effect.gen(function*() {
      const { join, leave, open, state } = makeWorld()
      yield* join("a", "room-1")
      yield* join("b", "room-1")
      expect(yield* open).toEqual(["room-1"])
      yield* leave("a", "room-1")
      expect(yield* open).toEqual(["room-1"])
      yield* leave("b", "room-1")
      expect(yield* open).toEqual([])
      expect(state.onDemand).toBe(0)
    }))

  it.effect("is opened by a broadcast that is retained, until nothing is", () =>
    Effect.gen(function*() {
      const { browser, join, leave, open, pass, say, state } = makeWorld()
      yield* say("room-1")
      expect(yield* open).toEqual([])
      expect(state.counters.broadcasts).toBe(1)
      yield* say("room-h")
      expect(yield* open).toEqual(["room-h"])
      yield* join("a", "room-h", { rewind: 5 })
      expect(subscribed(browser("a"))).toMatchObject({ missed: 1 })
      yield* leave("a", "room-h")
      pass(60_000)
      expect(yield* open).toEqual(["room-h"])
      pass(1)
      expect(yield* open).toEqual([])
      expect(state.histories.total.size).toBe(0)
    }))

  it.effect("tells a browser that comes back what it has missed, closed and opened again or not", () =>
    Effect.gen(function*() {
      const { browser, join, leave, open, pass, say, state } = makeWorld()
      const { epoch } = state
      yield* join("a", "room-h")
      const { position } = subscribed(browser("a"))
      yield* leave("a", "room-h")
      expect(yield* open).toEqual([])
      yield* say("room-other-h")
      // Nothing was said here.
      yield* join("a", "room-h", { since: { epoch, position } })
      expect(subscribed(browser("a"))).toMatchObject({ recovered: true, missed: 0 })
      yield* leave("a", "room-h")
      yield* say("room-h")
      pass(60_001)
      expect(yield* open).toEqual([])
      yield* join("b", "room-h", { since: { epoch, position } })
      expect(subscribed(browser("b"))).toMatchObject({ recovered: false, reason: "dropped" })
      yield* join("b", "room-unknown-h", { since: { epoch, position: 0 } })
      expect(subscribed(browser("b"))).toMatchObject({ recovered: true, missed: 0 })
    }))

  it.effect("retains a broadcast that comes when all earlier ones are too old", () =>
    Effect.gen(function*() {
      const { browser, join, leave, open, pass, say, state } = makeWorld()
      yield* join("a", "room-h")
      yield* say("room-h")
      yield* leave("a", "room-h")
      const { head } = state
      pass(60_001)
      // Nobody has looked since then.
      yield* say("room-h")
      expect(yield* open).toEqual(["room-h"])
      yield* join("a", "room-h", { since: { epoch: state.epoch, position: head } })
      expect(subscribed(browser("a"))).toMatchObject({ recovered: true, missed: 1 })
      yield* leave("a", "room-h")
      pass(60_001)
      expect([yield* open, state.onDemand, state.histories.size]).toEqual([[], 0, 0])
    }))

  it.effect("tells of a gap if other rules applied meanwhile", () =>
    Effect.gen(function*() {
      const { browser, channels, join, leave, say, state } = makeWorld()
      const { rules } = state
      yield* join("a", "room-h")
      const { position } = subscribed(browser("a"))
      yield* leave("a", "room-h")
      yield* channels.setRules(Vhost.rules({ pattern: ".*", openOnDemand: true }))
      // Nobody is there, and nothing is retained.
      yield* say("room-h")
      yield* channels.setRules(rules)
      yield* join("a", "room-h", { since: { epoch: state.epoch, position } })
      expect(subscribed(browser("a"))).toMatchObject({ recovered: false, reason: "dropped" })
    }))

  it.effect("is closed when its last broadcast is too old, though nobody uses the vhost", () =>
    Effect.gen(function*() {
      const rule = { pattern: "room.*", openOnDemand: true, history: { age: "1 minute" } } as const
      const { vhost } = yield* makeVhost({ channelRules: [rule], heartbeat: { interval: "1 day" } })
      const count = () => vhost.channels.counters.channels
      const before = count()
      yield* vhost.channels.broadcast("room-1", "said", {})
      yield* TestClock.adjust("30 seconds")
      yield* vhost.channels.broadcast("room-2", "said", {})
      yield* TestClock.adjust("30 seconds")
      expect(count()).toBe(before + 2)
      yield* TestClock.adjust("2 seconds")
      expect(count()).toBe(before + 1)
      // Many at once.
      for (let n = 0; n < 9000; n++) yield* vhost.channels.broadcast(`room-${n}-x`, "said", {})
      yield* TestClock.adjust("30 seconds")
      expect(count()).toBe(before + 9000)
      yield* TestClock.adjust("32 seconds")
      expect(count()).toBe(before)
      // After a time without any.
      yield* TestClock.adjust("1 hour")
      yield* vhost.channels.broadcast("room-1", "said", {})
      yield* TestClock.adjust("62 seconds")
      expect(count()).toBe(before)
    }))

  it.effect("stays open once a backend has opened it, and says that it was closed by one", () =>
    Effect.gen(function*() {
      const { browser, channels, join, leave, open, state } = makeWorld()
      yield* join("a", "room-h")
      const { position } = subscribed(browser("a"))
      expect([yield* channels.open("room-h"), yield* channels.open("room-h")]).toEqual([true, false])
      yield* leave("a", "room-h")
      expect([yield* open, state.onDemand]).toEqual([["room-h"], 0])
      yield* channels.close("room-h")
      expect(yield* open).toEqual([])
      yield* join("a", "room-h", { since: { epoch: state.epoch, position } })
      expect(subscribed(browser("a"))).toMatchObject({ recovered: false, reason: "closed" })
    }))

  it.effect("needs a valid name, a rule, and a permission if it is private", () =>
    Effect.gen(function*() {
      const { join, open, say } = makeWorld()
      for (const name of ["other", "a room", ":room", ""]) {
        expect(yield* Effect.flip(join("a", name))).toMatchObject({ code: 454 })
        expect(yield* Effect.flip(say(name))).toMatchObject({ code: 454 })
      }
      expect(yield* Effect.flip(join("a", "private-room", { permission: undefined }))).toMatchObject({ code: 403 })
      expect(yield* open).toEqual([])
    }))

  it.effect("has a limit of its own, beside that of all channels", () =>
    Effect.gen(function*() {
      const { channels, join, leave, open, say } = makeWorld({ maxChannelsOnDemand: 2, maxChannels: 3 })
      yield* join("a", "room-1")
      yield* say("room-h")
      expect((yield* Effect.flip(join("a", "room-3"))).message).toContain("2 channels that were opened on demand")
      expect(yield* Effect.flip(say("room-3h"))).toMatchObject({ code: 597 })
      yield* join("b", "room-1")
      yield* channels.open("other")
      yield* channels.open("room-1")
      expect((yield* Effect.flip(join("a", "room-3"))).message).toContain("3 channels, the limit")
      yield* channels.close("other")
      yield* join("a", "room-3")
      yield* leave("a", "room-3")
      expect(yield* open).toEqual(["room-1", "room-h"])
    }))

  it.effect("emits its first subscriber and its last", () =>
    Effect.gen(function*() {
      const emitted: Array<string> = []
      const { join, leave } = makeWorld({ emit: ({ event }) => emitted.push(event) })
      yield* join("a", "room-1")
      yield* leave("a", "room-1")
      expect(emitted).toEqual([":lifecycle/channelOccupied", ":lifecycle/channelVacated"])
    }))

  it.effect.prop("comes and goes without a leak, and what its rule says is not more than that", [
    Arbitrary.array(
      Arbitrary.all({
        does: pick(["join", "join", "leave", "leave", "say", "open", "close", "pass", "rules"]),
        channel: pick(["room-1", "room-2", "room-h", "room-2h", "presence-room", "presence-room-h"]),
        sid: pick(["a", "b", "c"]),
        n: int(0, 2)
      }),
      { maxLength: 80 }
    )
  ], ([steps]) =>
    Effect.gen(function*() {
      const world = makeWorld({ maxChannelsOnDemand: 3 })
      const { browser, channels, state } = world
      const kept = new Set<string>()
      const ok = <A, E>(effect: Effect.Effect<A, E>) => Result.isSuccess(Effect.runSync(Effect.result(effect)))
      for (const { channel, does, n, sid } of steps) {
        if (does === "join") ok(world.join(sid, channel))
        else if (does === "leave") ok(world.leave(sid, channel))
        else if (does === "say") ok(world.say(channel))
        else if (does === "open" && n === 0) {
          if (ok(channels.open(channel))) kept.add(channel)
        } else if (does === "close" && n === 0) {
          if (ok(channels.close(channel))) kept.delete(channel)
        } else if (does === "pass") world.pass(n * 40_000)
        else if (does === "rules" && n === 0) {
          const rules = Vhost.rules({ pattern: "presence.*", openOnDemand: true, history: { age: 1000 } })
          yield* Effect.result(channels.setRules(rules))
        } else if (does === "rules" && n === 1) yield* Effect.result(channels.setRules(makeWorld().state.rules))
        const open = Effect.runSync(world.open)
        const used = Array.from(state.channels.values(), ({ value }) => value!).filter(
          ({ history, subscriptions }) => subscriptions.size > 0 || (history !== undefined && history.size > 0)
        )
        const expected = new Set([...kept, ...used.map(({ name }) => name)])
        expect(new Set(open)).toEqual(expected)
        expect(state.onDemand).toBe(open.filter((name) => !kept.has(name)).length)
        expect(state.onDemand).toBeLessThanOrEqual(3)
        expect(state.counters.channels).toBe(open.length)
        const retained = used.reduce((sum, { history }) => sum + (history?.size ?? 0), 0)
        expect([state.histories.size, state.histories.total.size]).toEqual([retained, retained])
      }
      for (const sid of ["a", "b", "c"]) yield* channels.leave(browser(sid))
      for (const name of kept) ok(channels.close(name))
      world.pass(100_000)
      expect(Effect.runSync(world.open)).toEqual([])
      expect([state.onDemand, state.subscriptions.channels.size, state.histories.size, state.channels.size]).toEqual([
        0,
        0,
        0,
        0
      ])
    }), costly(100))
})

describe("The patterns of a list", () => {
  const costly = "(x?){1,90}(x|xx|[a-z]x){1,60}[^y]*z?"
  it.effect("are refused if one name would take long to match with all of them", () =>
    Effect.gen(function*() {
      const { vhost } = yield* makeVhost()
      const some = Array.from({ length: 100 }, (_, n) => ({ pattern: `rooms/[a-z0-9-]+/no-${n}` }))
      yield* vhost.setChannelRules(some)
      const rules = Array.from({ length: 30 }, () => ({ pattern: costly }))
      const { message } = yield* Effect.flip(vhost.setChannelRules(rules))
      expect(message).toContain("more than 5000 instructions")
      // What applied before still does.
      expect(vhost.channelRules()).toHaveLength(100)
      yield* vhost.setChannelRules(rules.slice(0, Number(/channelRules\.(\d+)/.exec(message)![1])))
    }))
})

describe("Other rules", () => {
  it.effect("limit subscribers, and make a presence channel a private one", () =>
    Effect.gen(function*() {
      const { browser, channels, join } = makeWorld({}, [
        { pattern: "room-.*", maxSubscribers: 1 },
        { pattern: "presence-quiet", presence: false }
      ])
      yield* channels.open("room-1")
      yield* join("a", "room-1")
      expect(yield* Effect.flip(join("b", "room-1"))).toMatchObject({ code: 429 })
      yield* channels.open("presence-quiet")
      yield* join("a", "presence-quiet")
      expect(browser("a").received().slice(1)).toEqual([{ ":subscribed": { channel: "presence-quiet", uid: "joe" } }])
      expect(yield* channels.describe("presence-quiet")).toMatchObject({ kind: "private" })
    }))

  it.effect("name the events of which only the last broadcast matters", () =>
    Effect.gen(function*() {
      const { channels } = makeWorld({}, [{ pattern: "price.*", latest: true, openOnDemand: true }, {
        pattern: "latest-h",
        latest: true,
        openOnDemand: true,
        history: true
      }])
      const keys: Array<string | undefined> = []
      const sendUnsafe = (message: string, key?: string) => {
        if (!message.includes(":subscribed")) keys.push(key)
      }
      for (const version of [0, 1] as const) {
        const one = { ...FakeBrowser.make(`v${version}`), version, sendUnsafe }
        for (const channel of ["price", "price-2", "latest-h", "room-h"]) {
          yield* channels.subscribe(channel, one, { permission: joe, hidden: false, data: JsonText.empty })
        }
      }
      for (const channel of ["price", "price-2", "latest-h", "room-h"]) {
        yield* channels.broadcast(channel, "changed", {})
      }
      yield* channels.broadcast("price", "closed", {})
      // Both browsers, one after the other.
      const expected = ["price changed", "price-2 changed", "latest-h changed", undefined, "price closed"]
      expect(keys).toEqual(expected.flatMap((key) => [key, key]))
    }))

  it.effect("are matched in turns, and apply to channels that are opened meanwhile", () =>
    Effect.gen(function*() {
      const { channels, state } = makeWorld()
      for (let n = 0; n < 12_000; n++) yield* channels.open(`a-${n}`)
      const patterns = Array.from({ length: 20 }, (_, n) => ({ pattern: `never-${n}` }))
      const rules = Vhost.rules(...patterns, { pattern: "a-.*", maxSubscribers: 7 })
      let steps = 0
      const meanwhile = yield* Effect.forkChild(
        Effect.forever(Effect.andThen(channels.open("a-new"), Effect.sync(() => void steps++)))
      )
      yield* channels.setRules(rules)
      expect(steps).toBeGreaterThan(2)
      yield* Fiber.interrupt(meanwhile)
      const limits = new Set([...state.channels.values()].map(({ value }) => value!.rule.maxSubscribers))
      expect([[...limits], rules.learned.size, state.channels.has("a-new")]).toEqual([[7], 0, true])
    }))

  it.effect("are matched in turns, however long each pattern takes", () =>
    Effect.gen(function*() {
      const { channels } = makeWorld()
      yield* channels.open("x".repeat(200))
      const patterns = Array.from({ length: 5 }, (_, n) => ({ pattern: `(x?){1,90}(x|xx|[a-z]x){1,50}[^y]*z?-${n}` }))
      let turns = 0
      const count = () => {
        turns++
        immediate = setImmediate(count)
      }
      let immediate = setImmediate(count)
      yield* channels.setRules(Vhost.rules(...patterns))
      clearImmediate(immediate)
      expect(turns).toBeGreaterThan(2)
    }))

  it.effect("apply to open channels when they are set", () =>
    Effect.gen(function*() {
      const { browser, channels, join, say, state } = makeWorld()
      yield* join("a", "room-h")
      yield* say("room-h")
      yield* say("room-h")
      yield* channels.setRules(Vhost.rules({ pattern: ".*", history: { count: 1 } }))
      yield* channels.open("x")
      expect(yield* Effect.flip(join("a", "room-2"))).toMatchObject({ code: 454 })
      yield* join("b", "room-h", { rewind: 9 })
      expect(subscribed(browser("b"))).toMatchObject({ missed: 1 })
      yield* channels.setRules(Vhost.rules())
      yield* say("room-h")
      expect(browser("a").received().at(-1)).toEqual({ said: { channel: "room-h" } })
      expect(state.histories.total.size).toBe(0)
      expect(channels.ruleOf("room-h").history).toBeUndefined()
    }))
})
