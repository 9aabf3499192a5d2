import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Deferred, Effect, Exit, Fiber } from "effect"
import type { Browser } from "../../../src/server/domain/Browser.ts"
import * as BrowserSubscriptions from "../../../src/server/engine/internal/browserSubscriptions.ts"
import * as Changes from "../../../src/server/engine/internal/changes.ts"
import { decide } from "../../../src/server/engine/internal/decisions.ts"
import * as LocalLog from "../../../src/server/engine/internal/localLog.ts"
import type { VhostState } from "../../../src/server/engine/internal/vhostState.ts"
import type { Change, Log } from "../../../src/server/engine/Log.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { anyIntent, contentOf, inGrace, permit, rules, sids } from "../../harness/intents.ts"
import * as Vhost from "../../harness/vhost.ts"
import { costly, int } from "../../protocol/arbitraries.ts"

/** A clock that stands still. */
const clock: Clock.Clock = Object.assign(Object.create(Effect.runSync(Effect.service(Clock.Clock))), {
  monotonicTimeNanosUnsafe: () => 0n
})

/** A vhost with three connected browsers, two of them of the same user. `gone` is not connected. */
const makeWorld = (options?: Vhost.Options) => {
  const browsers = Object.fromEntries(
    sids.map((sid) => [sid, FakeBrowser.make(sid, undefined, sid === "c" ? 0 : 1)])
  ) as unknown as Record<
    typeof sids[number],
    FakeBrowser.FakeBrowser
  >
  return { ...makeState(browsers, options), browsers }
}

const makeState = (browsers: Record<typeof sids[number], Browser>, options?: Vhost.Options) => {
  const vhost = Vhost.make({
    clock,
    graceSize: 1500,
    maxChannels: 3,
    maxSubscriptions: 2,
    memberDataSize: 20,
    maxMessageSize: 100,
    rules: rules[0],
    ...options
  })
  for (const sid of ["a", "b", "c"] as const) vhost.browsers.enterUnsafe(browsers[sid])
  Effect.runSync(vhost.browsers.identify(browsers.a, "joe"))
  Effect.runSync(vhost.browsers.identify(browsers.b, "joe"))
  return vhost
}

/** What always holds. */
const expectConsistent = (state: VhostState) => {
  const channels = Array.from(state.channels.values(), ({ value }) => value!)
  const all = channels.flatMap(({ subscriptions }) => Array.from(subscriptions.entries(), ({ value }) => value!))
  expect(state.counters).toMatchObject({ channels: channels.length, subscriptions: all.length })
  expect(state.ordered.size).toBe(channels.length)
  const graces = channels.flatMap(inGrace)
  expect([state.graces.ends.size, state.graces.size]).toEqual([
    graces.length,
    graces.reduce((sum, { size }) => sum + size, 0)
  ])
  expect(state.graces.size).toBeLessThanOrEqual(1500)
  for (const channel of channels) {
    const { membersOf, subscriptions, visible } = channel
    const away = inGrace(channel).flatMap(({ member }) => member?.value ?? [])
    const own = Array.from(subscriptions.entries(), ({ value }) => value!)
    expect(visible.size).toBe(own.filter(({ hidden }) => !hidden).length + away.length)
    const uids = [...own, ...away].flatMap(({ member }) => member === undefined ? [] : [member.uid])
    expect(new Map(membersOf)).toEqual(
      new Map([...new Set(uids)].map((uid) => [uid, uids.filter((one) => one === uid).length]))
    )
  }
  for (const [browser, channels] of state.subscriptions.channels) {
    const own = all.filter((one) => one.browser === browser)
    expect([channels.length, BrowserSubscriptions.dataSizeOf(state.subscriptions, browser)]).toEqual([
      own.length,
      own.reduce((sum, { data }) => sum + (data.text === "{}" ? 0 : data.text.length), 0)
    ])
  }
  expect(state.subscriptions.channels.size).toBe(new Set(all.map(({ browser }) => browser)).size)
  expect([...state.subscriptions.dataSizes.keys()].every((browser) => state.subscriptions.channels.has(browser))).toBe(
    true
  )
}

const isChange = (decision: { readonly _tag: string }): decision is Change =>
  decision._tag !== "Rejected" && decision._tag !== "Unchanged"

describe("Log", () => {
  it.prop("decides without changing or sending anything, and the changes alone make the state", [
    Arbitrary.array(anyIntent, { maxLength: 60 })
  ], ([intents]) => {
    const { browsers, state } = makeWorld()
    const replica = makeState(browsers).state
    for (const [index, make] of intents.entries()) {
      const intent = make(browsers)
      const before = contentOf(state)
      const decision = decide(state, intent)
      expect(decide(state, intent)).toEqual(decision)
      expect(contentOf(state)).toEqual(before)
      for (const browser of Object.values(browsers)) expect(browser.received()).toEqual([])
      if (!isChange(decision)) continue
      Changes.apply(state, decision, index)
      Changes.apply(replica, decision, index)
      for (const browser of Object.values(browsers)) {
        const all = browser.received()
        expect(all.slice(0, all.length / 2)).toEqual(all.slice(all.length / 2))
      }
      expect(contentOf(replica)).toEqual(contentOf(state))
      expectConsistent(state)
    }
  }, costly(50, 60))

  it.prop("applies any change to any state", [
    Arbitrary.array(anyIntent, { maxLength: 40 }),
    Arbitrary.array(int(0, 39), { maxLength: 60 })
  ], ([intents, order]) => {
    const { browsers, state } = makeWorld()
    const changes: Array<Change> = []
    for (const make of intents) {
      const decision = decide(state, make(browsers))
      if (!isChange(decision)) continue
      changes.push(decision)
      Changes.apply(state, decision, changes.length)
    }
    const other = makeState(browsers).state
    for (const [position, index] of order.entries()) {
      const change = changes[index]
      if (change === undefined) continue
      Changes.apply(other, change, position)
      expect(other.head).toBe(position)
      expectConsistent(other)
    }
  }, costly(50, 60))

  it.prop("gives each change the next position, and none to what is rejected or changes nothing", [
    Arbitrary.array(anyIntent, { maxLength: 60 })
  ], ([intents]) => {
    const { browsers, state } = makeWorld()
    const log = LocalLog.make({ state })
    for (const make of intents) {
      const intent = make(browsers)
      const expected = decide(state, intent)
      const before = log.head()
      const exit = log.commit(intent)
      expect(log.head()).toBe(before + (isChange(expected) ? 1 : 0))
      if (expected._tag === "Rejected") expect(exit).toEqual(Exit.fail(expected.error))
      else expect(exit).toEqual(Exit.succeed(isChange(expected)))
    }
  }, costly(30, 60))

  it("begins after the channels that are restored", () => {
    const { channels, log } = Vhost.make({ opened: [{ name: "a" }, { name: "b" }] })
    expect(log.head()).toBe(2)
    expect(Exit.isExit(log.commit({ _tag: "OpenChannel", channel: "c" }))).toBe(true)
    expect(Effect.runSync(channels.listAfter("", 0)).items.map(({ cursor, value }) => [cursor, value.name])).toEqual([
      [1, "a"],
      [2, "b"],
      [3, "c"]
    ])
  })
})

/** A log that applies nothing before `release`, as one whose changes come from elsewhere. */
const makeLate = Effect.gen(function*() {
  const released = yield* Deferred.make<void>()
  const wrap = (log: LocalLog.LocalLog): Log => ({
    ...log,
    commit: (intent) => Effect.andThen(Deferred.await(released), Effect.suspend(() => log.commit(intent))),
    barrier: Deferred.await(released)
  })
  return { wrap, release: Deferred.succeed(released, undefined) }
})

describe("With a log that applies changes later", () => {
  it.effect("nothing is done before its change is applied, and then all is", () =>
    Effect.gen(function*() {
      const { release, wrap } = yield* makeLate
      const { browsers: [a], channels, registry, state } = yield* makeLateWorld(wrap)
      const options = { permission: permit("joe"), hidden: false, data: {} }
      const calls: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        channels.open("presence-a"),
        channels.subscribe("presence-a", a, options),
        channels.subscribe("presence-a", a, { ...options, id: 7 }),
        channels.broadcast("presence-a", "hello", {}, { from: a }),
        Effect.suspend(() =>
          channels.broadcastUnsafe({ _tag: "Broadcast", channel: "presence-a", event: "e", data: {} })
        ),
        registry.sendTo("a", "direct", {}),
        channels.unsubscribe("presence-a", a, {}, 8),
        channels.close("presence-a"),
        registry.disconnect("uid", "joe")
      ]
      const fibers = yield* Effect.forEach(calls, (call) => Effect.forkChild(call, { startImmediately: true }))
      expect([state.head, a.received(), fibers.map((fiber) => fiber.pollUnsafe())]).toEqual([
        0,
        [],
        calls.map(() => undefined)
      ])
      yield* release
      const results = yield* Effect.forEach(fibers, Fiber.join)
      expect([results[0], results[8]]).toEqual([true, 1])
      expect(a.received().map((message) => Object.keys(message as object)[0])).toEqual([
        ":subscribed",
        ":memberJoined",
        ":subscribed",
        "hello",
        "e",
        "direct",
        ":unsubscribed",
        ":closed"
      ])
      expect(a.closedWith()).toBe(4403)
    }))

  it.effect("a channel is not found only after all that was committed is applied", () =>
    Effect.gen(function*() {
      const { release, wrap } = yield* makeLate
      const { browsers: [a], channels } = yield* makeLateWorld(wrap)
      const opening = yield* Effect.forkChild(channels.open("room"), { startImmediately: true })
      const reads: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        channels.describe("room"),
        channels.has("room", a),
        channels.subscribersAfter("room", 0)
      ]
      const fibers = yield* Effect.forEach(reads, (read) => Effect.forkChild(read, { startImmediately: true }))
      const missing = yield* Effect.forkChild(Effect.flip(channels.describe("other")), { startImmediately: true })
      yield* release
      yield* Fiber.join(opening)
      expect(yield* Effect.forEach(fibers, Fiber.join)).toEqual([
        { name: "room", kind: "normal", subscribers: 0 },
        false,
        { items: [], next: undefined }
      ])
      expect(yield* Fiber.join(missing)).toMatchObject({ code: 454 })
    }))

  it.effect("a browser leaves all its channels, also those that are closed meanwhile", () =>
    Effect.gen(function*() {
      const { release, wrap } = yield* makeLate
      const { browsers: [a, b], channels, state } = yield* makeLateWorld(wrap)
      const direct = LocalLog.make({ state })
      for (const channel of ["room", "other"]) {
        direct.commit({ _tag: "OpenChannel", channel })
        for (const browser of [a, b]) {
          direct.commit({ _tag: "Join", channel, browser, permission: undefined, hidden: false, data: {} })
        }
      }
      const leaving = yield* Effect.forkChild(channels.leave(a), { startImmediately: true })
      direct.commit({ _tag: "CloseChannel", channel: "room" })
      yield* release
      yield* Fiber.join(leaving)
      expect(channels.counters).toMatchObject({ channels: 1, subscriptions: 1 })
      expect(yield* channels.has("other", b)).toBe(true)
    }))
})

const makeLateWorld = (wrap: NonNullable<Vhost.Options["wrap"]>) =>
  Effect.sync(() => {
    const { browsers: registry, channels, state } = Vhost.make({ wrap })
    const browsers = [FakeBrowser.make("a"), FakeBrowser.make("b")] as const
    browsers.forEach(registry.enterUnsafe)
    Effect.runSync(registry.identify(browsers[0], "joe"))
    return { browsers, channels, registry, state }
  })
