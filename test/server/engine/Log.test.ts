import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Deferred, Effect, Exit, Fiber, Result } from "effect"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import type { Browser } from "../../../src/server/domain/Browser.ts"
import * as Permission from "../../../src/server/domain/Permission.ts"
import * as Changes from "../../../src/server/engine/internal/changes.ts"
import type { Channel } from "../../../src/server/engine/internal/channel.ts"
import { decide } from "../../../src/server/engine/internal/decisions.ts"
import * as LocalLog from "../../../src/server/engine/internal/localLog.ts"
import type { VhostState } from "../../../src/server/engine/internal/vhostState.ts"
import type { Change, Intent, Log } from "../../../src/server/engine/Log.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Vhost from "../../harness/vhost.ts"
import { int, pick } from "../../protocol/arbitraries.ts"

const permit = (uid: string, pattern = ".*") => Result.getOrThrow(Permission.make(uid, pattern))
const permissions = [undefined, permit("joe"), permit("ann", ".*a")]
const names = ["room", "private-a", "presence-a", "presence-b", "bad name"] as const
const sids = ["a", "b", "c", "gone"] as const

/** Some channels are opened on demand, with history or without. */
const rules = [
  Vhost.rules({ pattern: "presence-b|bad.*", openOnDemand: true, history: { count: 2 } }, {
    pattern: ".*-a",
    openOnDemand: true
  }),
  Vhost.rules({ pattern: "presence-.*", openOnDemand: true }, { pattern: "room", maxSubscribers: 1, history: true })
] as const

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
  vhost.browsers.identifyUnsafe(browsers.a, "joe")
  vhost.browsers.identifyUnsafe(browsers.b, "joe")
  return vhost
}

const datas = [{}, { n: 1 }, { text: "x".repeat(15) }, { text: "x".repeat(500) }].map(JsonText.fromObject)

type MakeIntent = (browsers: Record<string, Browser>) => Intent

/** Joining is more frequent than the rest, so that there is somebody on the channels. */
const anyIntent: Arbitrary.Arbitrary<MakeIntent> = Arbitrary.map(
  Arbitrary.all({
    tag: pick(
      [
        "OpenChannel",
        "OpenChannel",
        "CloseChannel",
        "Broadcast",
        "SendTo",
        "Disconnect",
        "Join",
        "Join",
        "Join",
        "Update",
        "Leave",
        "Leave",
        "EndGrace",
        "SetRules"
      ]
    ),
    channel: pick(names),
    sid: pick(sids),
    other: pick(sids),
    uid: pick(["joe", "nobody"]),
    permission: pick(permissions),
    hidden: Arbitrary.map(int(0, 3), (n) => n === 0),
    isRequested: pick([true, false]),
    data: pick(datas)
  }),
  ({ channel, data, hidden, isRequested, other, permission, sid, tag, uid }): MakeIntent => (browsers) => {
    const browser = browsers[sid]!
    switch (tag) {
      case "OpenChannel":
      case "CloseChannel":
        return { _tag: tag, channel }
      case "Broadcast":
        return { _tag: tag, channel, event: "e", data, from: isRequested ? browser : undefined, exceptSid: other }
      case "SendTo":
        return { _tag: tag, sid, event: "e", data }
      case "Disconnect":
        return hidden ? { _tag: tag, by: "uid", who: uid } : { _tag: tag, by: "sid", who: sid }
      case "Join":
        return { _tag: tag, channel, browser, permission, hidden, data, id: isRequested ? 1 : undefined }
      case "Update":
        return { _tag: tag, channel, browser, data }
      case "EndGrace":
        return { _tag: tag, channel, ...hidden ? { uid: undefined, sid: undefined } : { uid, sid } }
      case "SetRules":
        return { _tag: tag, rules: rules[hidden ? 1 : 0] }
      case "Leave":
        return {
          _tag: tag,
          channel,
          browser,
          farewell: data,
          request: isRequested ? { id: 1 } : undefined,
          mayReturn: !isRequested
        }
    }
  }
)

const inGrace = ({ graces }: Channel) => [...graces?.values() ?? []].flat().map(({ item }) => item)

/** All that can be read of a state. */
const contentOf = (
  { channels, counters, departed, graces, head, histories, onDemand, ordered, rules, subscriptions }: VhostState
) => ({
  head,
  graces: [graces.size, graces.ends.size],
  onDemand,
  rules,
  retained: histories.size,
  departed: [departed.floor, ...departed.beginnings.entries],
  counters: { ...counters },
  ordered: ordered.entries.flatMap(({ cursor, value }) => value === undefined ? [] : [[cursor, value.name]]),
  channels: Array.from(channels.values(), ({ cursor, value }) => ({
    cursor,
    name: value!.name,
    rule: value!.rule,
    isOnDemand: value!.isOnDemand,
    history: value!.history && [value!.history.opened, value!.history.floor, value!.history.size],
    subscriptions: Array.from(value!.subscriptions.values(), ({ cursor, value }) => [cursor, value]),
    visible: value!.visible.entries.flatMap(({ cursor, value }) => value === undefined ? [] : [[cursor, value]]),
    membersOf: [...value!.membersOf],
    graces: inGrace(value!).map(({ member, size, uid, until }) => [uid, member?.value, size, until])
  })),
  browsers: Array.from(subscriptions, ([browser, { channels, dataSize }]) => [
    browser.sid,
    [...channels].map(({ name }) => name),
    dataSize
  ])
})

/** What always holds. */
const expectConsistent = (state: VhostState) => {
  const channels = Array.from(state.channels.values(), ({ value }) => value!)
  const all = channels.flatMap(({ subscriptions }) => Array.from(subscriptions.values(), ({ value }) => value!))
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
    const own = Array.from(subscriptions.values(), ({ value }) => value!)
    expect(visible.size).toBe(own.filter(({ hidden }) => !hidden).length + away.length)
    const uids = [...own, ...away].flatMap(({ member }) => member === undefined ? [] : [member.uid])
    expect(new Map(membersOf)).toEqual(
      new Map([...new Set(uids)].map((uid) => [uid, uids.filter((one) => one === uid).length]))
    )
  }
  for (const [browser, { channels, dataSize }] of state.subscriptions) {
    const own = all.filter((one) => one.browser === browser)
    expect([channels.size, dataSize]).toEqual([
      own.length,
      own.reduce((sum, { data }) => sum + (data.text === "{}" ? 0 : data.text.length), 0)
    ])
  }
  expect([...state.subscriptions.keys()].length).toBe(new Set(all.map(({ browser }) => browser)).size)
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
  }, { arbitrary: { runs: 100, size: 60 } })

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
  }, { arbitrary: { runs: 100, size: 60 } })

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
  }, { arbitrary: { runs: 50, size: 60 } })

  it("begins after the channels that are restored", () => {
    const { channels, log } = Vhost.make({ opened: [{ name: "a" }, { name: "b" }] })
    expect(log.head()).toBe(2)
    expect(Exit.isExit(log.commit({ _tag: "OpenChannel", channel: "c" }))).toBe(true)
    expect(channels.listAfter("", 0).items.map(({ cursor, value }) => [cursor, value.name])).toEqual([
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
    registry.identifyUnsafe(browsers[0], "joe")
    return { browsers, channels, registry, state }
  })
