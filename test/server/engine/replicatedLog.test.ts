import { describe, expect, it, vi } from "@effect/vitest"
import { Clock, Effect, Fiber, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import type { Event } from "../../../src/protocol/Trigger.ts"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as Permission from "../../../src/server/domain/Permission.ts"
import * as Browsers from "../../../src/server/engine/Browsers.ts"
import * as Channels from "../../../src/server/engine/Channels.ts"
import { decide } from "../../../src/server/engine/internal/decisions.ts"
import * as Limits from "../../../src/server/engine/internal/limits.ts"
import * as Operations from "../../../src/server/engine/internal/operations.ts"
import { RemoteBrowser } from "../../../src/server/engine/internal/remoteBrowser.ts"
import * as Replica from "../../../src/server/engine/internal/replica.ts"
import * as ReplicatedLog from "../../../src/server/engine/internal/replicatedLog.ts"
import * as Snapshot from "../../../src/server/engine/internal/snapshot.ts"
import type { Intent } from "../../../src/server/engine/Log.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { contentOf } from "../../harness/intents.ts"
import * as SharedLog from "../../harness/sharedLog.ts"
import * as Vhost from "../../harness/vhost.ts"

const limits = Limits.fromConfig(Effect.runSync(BrokerConfig.make()))

const permission = (uid: string) => Result.getOrThrow(Permission.make(uid, ".*"))

const rules = Vhost.rules({ pattern: "history-.*", openOnDemand: true, history: { count: 3 } })

type Shared = ReturnType<typeof SharedLog.make>

/** A node of a cluster. */
const makeNode = Effect.fnUntraced(function*(
  shared: Shared,
  name: string,
  options: Partial<ReplicatedLog.Options> & { readonly batch?: number } = {}
) {
  const emitted: Array<Event> = []
  const { log, state } = yield* ReplicatedLog.make({
    ...limits,
    rules,
    clock: yield* Clock.Clock,
    shared: shared.nodeOf(name, options.batch),
    lifecycle: shared.lifecycle,
    emit: (event) => void emitted.push(event),
    ...options
  })
  const channels = Channels.make(state, log)
  const browsers = Browsers.make(state, log)
  let count = 0
  /** Connects a browser of a user. */
  const connect = Effect.fnUntraced(function*(uid?: string, version: 0 | 1 = 1) {
    const browser = FakeBrowser.make(`${name}-${++count}`, undefined, version)
    browsers.enterUnsafe(browser)
    if (uid !== undefined) yield* browsers.identify(browser, uid)
    return browser
  })
  return { browsers, channels, connect, emitted, log, state }
})

type Node = Effect.Success<ReturnType<typeof makeNode>>

const join = (node: Node, channel: string, browser: FakeBrowser.FakeBrowser, uid = "joe") =>
  node.channels.subscribe(channel, browser, { permission: permission(uid), hidden: false, data: {} })

/** All nodes have applied all. */
const settled = (...nodes: ReadonlyArray<Node>) => Effect.forEach(nodes, ({ log }) => log.barrier, { discard: true })

const contentsOf = (...nodes: ReadonlyArray<Node>) =>
  nodes.map(({ state }) => {
    const { counters: _, ...content } = contentOf(state)
    return { ...content, epoch: state.epoch, uids: [...state.browsers.all()].map((one) => state.browsers.uidOf(one)) }
  })

/** What is appended now is in the log. */
const turns = Effect.repeat(Effect.yieldNow, { times: 10 })

const seconds = Effect.repeat(Effect.andThen(turns, TestClock.adjust("1 second")), { times: 3 })

const events = (received: ReadonlyArray<unknown>) => received.map((message) => Object.keys(message as object)[0])

const two = Effect.gen(function*() {
  const shared = SharedLog.make()
  return { shared, first: yield* makeNode(shared, "00000001"), second: yield* makeNode(shared, "00000002") }
})

/** Whenever somebody looks at it, 5 ms have passed: each step is a turn. */
const hasty = Effect.clockWith((clock) =>
  Effect.sync(() => {
    let nanos = 0n
    return Object.assign(Object.create(clock), { monotonicTimeNanosUnsafe: () => nanos += 5_000_000n }) as Clock.Clock
  })
)

/** The parts of a snapshot with so many channels. */
const snapshotOf = (count: number): ReadonlyArray<string> => {
  const clock = Effect.runSync(Effect.service(Clock.Clock))
  const replica = Replica.make("0000000a", new Map(), { ...limits, clock, rules, epoch: "" })
  const operations = Array.from(
    { length: count },
    (_, index) => Operations.write({ _tag: "OpenChannel", channel: `room-${index}` })
  )
  const entry = Replica.entryOf(1, [Operations.write({ _tag: "EnterNode", limits }), ...operations])
  for (const _ of Replica.apply(replica, { offset: 9, time: 0, node: "0000000a", entry }, () => {}));
  const steps = Snapshot.collect(replica)
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return [...step.value]
}

describe("a log of several nodes", () => {
  it.effect("delivers a broadcast of any node once to the browsers of each, in the same order", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      const [a, b] = [yield* first.connect("joe"), yield* second.connect("ann")]
      yield* first.channels.open("room")
      yield* join(first, "room", a)
      yield* join(second, "room", b, "ann")
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, n) => n),
        (n) => (n % 2 === 0 ? first : second).channels.broadcast("room", "said", { n }),
        { concurrency: "unbounded" }
      )
      yield* settled(first, second)
      const heard = a.received().filter((message) => Object.hasOwn(message as object, "said"))
      expect(heard).toHaveLength(20)
      expect(b.received().filter((message) => Object.hasOwn(message as object, "said"))).toEqual(heard)
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("sends nothing to browsers of other nodes, and writes no message that only they receive", () =>
    Effect.gen(function*() {
      const sent = vi.spyOn(RemoteBrowser.prototype, "sendUnsafe")
      const { first, second } = yield* two
      const a = yield* first.connect("joe")
      yield* first.channels.open("room")
      yield* join(first, "room", a)
      yield* settled(second)
      const intents: ReadonlyArray<Intent> = [
        { _tag: "Broadcast", channel: "room", event: "said", data: JsonText.empty },
        { _tag: "SendTo", sid: a.sid, event: "direct", data: JsonText.empty },
        { _tag: "SendToUser", uid: "joe", event: "news", data: JsonText.empty }
      ]
      for (const intent of intents) yield* second.log.commit(intent)
      yield* settled(first)
      expect(intents.map((intent) => decide(first.state, intent)._tag)).toEqual(["Broadcast", "Sent", "SentToUser"])
      expect(intents.map((intent) => decide(second.state, intent)._tag)).toEqual([
        "BroadcastToNobody",
        "SentElsewhere",
        "SentElsewhere"
      ])
      expect(events(a.received())).toEqual([":subscribed", "said", "direct"])
      expect(sent).not.toHaveBeenCalled()
      sent.mockRestore()
      expect([first, second].map(({ channels }) => channels.counters.deliveries)).toEqual([1, 0])
    }))

  it.effect("appends what is committed in one turn as one entry", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const before = shared.entries().length
      yield* Effect.forEach(["a", "b", "c"], first.channels.open, { concurrency: "unbounded" })
      expect(shared.entries().length).toBe(before + 1)
    }))

  it.effect("rejects at the node that has committed, with the error of the decision", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      expect(yield* Effect.flip(first.channels.broadcast("none", "e", {}))).toMatchObject({ code: 454 })
      expect(yield* Effect.flip(second.channels.open("bad name"))).toMatchObject({ code: 451 })
      expect(yield* Effect.flip(second.browsers.sendTo("nobody", "e", {}))).toMatchObject({
        _tag: "BrowserNotFoundError"
      })
    }))

  it.effect("reads, sends and disconnects from any node", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      const a = yield* first.connect("joe")
      yield* first.channels.open("presence-room")
      yield* join(first, "presence-room", a)
      expect(yield* second.channels.describe("presence-room")).toMatchObject({ subscribers: 1 })
      expect((yield* second.channels.subscribersAfter("presence-room", 0)).items).toHaveLength(1)
      a.received()
      yield* second.browsers.sendTo(a.sid, "direct", {})
      expect(yield* second.browsers.sendToUser("joe", "news", {})).toBe(0)
      expect(yield* second.browsers.subscribe("joe", "presence-room")).toBe(0)
      expect(yield* second.browsers.unsubscribe("joe", "presence-room")).toBe(1)
      expect(yield* second.browsers.disconnect("uid", "joe")).toBe(1)
      yield* settled(first)
      expect(events(a.received())).toEqual(["direct", ":unsubscribed", ":closed"])
      expect(a.closedWith()).toBe(4403)
    }))

  it.effect("finds a channel only after all that was committed before is applied", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.hold()
      yield* Effect.forkChild(first.channels.open("room"))
      yield* turns
      expect(shared.entries().at(-1)).toMatchObject({ node: "00000001" })
      const found = yield* Effect.forkChild(second.channels.describe("room"), { startImmediately: true })
      yield* Effect.yieldNow
      expect(found.pollUnsafe()).toBeUndefined()
      shared.release()
      expect(yield* Fiber.join(found)).toMatchObject({ name: "room" })
    }))

  it.effect("finds all that one entry has opened, though it is applied in turns", () =>
    Effect.gen(function*() {
      const shared = SharedLog.make()
      const first = yield* makeNode(shared, "00000001", { clock: yield* hasty })
      const second = yield* makeNode(shared, "00000002")
      yield* Effect.forEach(Array.from({ length: 200 }), (_, n) => second.channels.open(`room-${n}`), {
        concurrency: "unbounded"
      })
      expect(first.state.channels.size).toBeLessThan(200)
      yield* first.log.barrier
      expect(first.state.channels.size).toBe(200)
    }))

  it.effect("has the limits and rules of the node that has entered last", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const third = yield* makeNode(shared, "00000003", { maxChannels: 1, rules: Vhost.rules() })
      yield* settled(first)
      yield* first.channels.open("a")
      expect(yield* Effect.flip(first.channels.open("b"))).toMatchObject({ code: 597 })
      expect(yield* Effect.flip(first.channels.broadcast("history-a", "e", {}))).toMatchObject({ code: 454 })
      yield* settled(first, third)
      expect(contentsOf(first)).toEqual(contentsOf(third))
    }))

  it.effect("lets the browsers of a node whose lease has ended leave as if each was lost, and emits each event once", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const [a, b] = [yield* first.connect("joe"), yield* second.connect("ann")]
      yield* first.channels.open("presence-room")
      yield* join(first, "presence-room", a)
      yield* join(second, "presence-room", b, "ann")
      b.received()
      shared.endLease("00000001")
      yield* settled(second)
      expect(b.received()).toEqual([])
      expect(second.browsers.count()).toBe(1)
      const due = second.log.nextDue()!
      yield* TestClock.adjust("3 seconds")
      shared.setTime(3000)
      expect(due).toBe(3000)
      yield* second.log.sweep
      expect(events(b.received())).toEqual([":memberLeft"])
      expect(yield* Effect.flip(first.channels.open("late"))).toMatchObject({ code: 597 })
      yield* turns
      expect(shared.emitted().map(({ event }) => event)).toEqual([
        ":lifecycle/browserConnected",
        ":lifecycle/browserConnected",
        ":lifecycle/channelOccupied",
        ":lifecycle/memberJoined",
        ":lifecycle/memberJoined",
        ":lifecycle/browserDisconnected",
        ":lifecycle/memberLeft"
      ])
    }))

  it.effect("ends at once all that waits at a node whose lease is lost", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const browser = yield* first.connect("joe")
      shared.endLease("00000001")
      // No time passes.
      yield* first.browsers.leave(browser, true)
      expect(yield* Effect.flip(first.channels.open("late"))).toMatchObject({
        detail: expect.stringContaining("this node ends")
      })
    }))

  it.effect("lets a browser leave after a second if its entry does not arrive", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const browser = yield* first.connect("joe")
      shared.hold()
      const leaving = yield* Effect.forkChild(first.browsers.leave(browser, true))
      yield* turns
      yield* TestClock.adjust("1 second")
      expect(leaving.pollUnsafe()).toBeDefined()
      shared.release()
      yield* settled(second)
      expect(second.browsers.count()).toBe(0)
    }))

  it.effect("loses and doubles no lifecycle event if the node that emits them ends", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      yield* first.connect("joe")
      yield* turns
      shared.failEmits(Infinity)
      yield* first.connect("joe")
      yield* second.connect("joe")
      yield* settled(first, second)
      shared.endLease("00000001")
      shared.failEmits(1)
      yield* settled(second)
      yield* TestClock.adjust("1 second")
      expect(shared.emitted().map(({ data }) => data["sid"])).toEqual([
        "00000001-1",
        "00000001-2",
        "00000002-1",
        "00000001-1",
        "00000001-2"
      ])
    }))

  it.effect("says whether something that could not be appended may be done, and appends what must be again", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.failNext("lost", "doubtful", "lost", "doubtful")
      expect(yield* Effect.flip(first.channels.open("a"))).toMatchObject({
        code: 597,
        detail: expect.stringContaining("nothing was done")
      })
      shared.hold()
      expect(yield* Effect.flip(first.channels.open("b"))).toMatchObject({
        code: 597,
        detail: expect.stringContaining("may have been done")
      })
      shared.release()
      const a = yield* Effect.forkChild(first.connect("joe"), { startImmediately: true })
      yield* seconds
      const browser = yield* Fiber.join(a)
      yield* settled(first, second)
      expect(second.channels.counters.channels).toBe(1)
      expect(second.state.browsers.find("uid", "joe").map(({ sid }) => sid)).toEqual([browser.sid])
      const left = yield* Effect.forkChild(first.browsers.leave(browser, false))
      yield* seconds
      yield* Fiber.join(left)
      yield* settled(second)
      expect(second.browsers.count()).toBe(0)
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("connects and disconnects a browser once if nobody knows whether its entry is there, and it is", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.failNext("doubtful", "lost", "doubtful")
      shared.hold()
      const browser = FakeBrowser.make("00000001-1", undefined, 1)
      first.browsers.enterUnsafe(browser)
      const opened = yield* Effect.forkChild(Effect.flip(first.channels.open("a")), { startImmediately: true })
      const left = yield* Effect.forkChild(first.browsers.leave(browser, false), { startImmediately: true })
      yield* seconds
      yield* Fiber.join(left)
      expect(yield* Fiber.join(opened)).toMatchObject({ detail: expect.stringContaining("may have been done") })
      shared.release()
      yield* first.channels.open("b")
      yield* settled(first, second)
      expect(shared.emitted().map(({ event }) => event)).toEqual([
        ":lifecycle/browserConnected",
        ":lifecycle/browserDisconnected"
      ])
      expect((yield* second.channels.list).map(({ name }) => name)).toEqual(["a", "b"])
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("does later what must be, and nothing that failed and waits for it", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.failNext("lost", "lost", "lost")
      yield* first.connect()
      const opened = yield* Effect.forkChild(Effect.flip(first.channels.open("a")), { startImmediately: true })
      yield* turns
      const waiting = yield* Effect.forkChild(Effect.flip(first.channels.open("b")), { startImmediately: true })
      yield* seconds
      for (const fiber of [opened, waiting]) {
        expect(yield* Fiber.join(fiber)).toMatchObject({ detail: expect.stringContaining("nothing was done") })
      }
      yield* settled(first, second)
      expect(yield* second.channels.list).toEqual([])
      expect(second.browsers.count()).toBe(1)
    }))

  it.effect("appends nothing of what was interrupted before, and all else", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      const opening = yield* Effect.forEach(["a", "b", "c"], (name) =>
        Effect.forkChild(first.channels.open(name), { startImmediately: true }))
      yield* Fiber.interrupt(opening[1]!)
      yield* Fiber.join(opening[0]!)
      yield* Fiber.join(opening[2]!)
      yield* settled(second)
      expect((yield* second.channels.list).map(({ name }) =>
        name
      )).toEqual(["a", "c"])
    }))

  it.effect("fails what is not applied in time, and what waits when the node ends", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      shared.hold()
      const opening = yield* Effect.forkChild(Effect.flip(first.channels.open("a")), { startImmediately: true })
      yield* turns
      const found = yield* Effect.forkChild(Effect.flip(first.channels.describe("b")), { startImmediately: true })
      yield* TestClock.adjust("13 seconds")
      expect(yield* Fiber.join(opening)).toMatchObject({
        code: 597,
        detail: expect.stringContaining("may have been done")
      })
      expect(yield* Fiber.join(found)).toMatchObject({ code: 597 })
      const scope = yield* Scope.make()
      shared.release()
      const third = yield* Effect.provideService(makeNode(shared, "00000003"), Scope.Scope, scope)
      shared.hold()
      const last = yield* Effect.forkChild(Effect.flip(third.channels.open("c")), { startImmediately: true })
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      expect(yield* Fiber.join(last)).toMatchObject({ code: 597 })
    }))

  it.effect("begins with the last snapshot and what follows, and is equal then", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const a = yield* first.connect("joe")
      yield* first.channels.open("presence-room")
      yield* join(first, "presence-room", a)
      const b = yield* second.connect("ann")
      yield* join(second, "presence-room", b, "ann")
      // Its place in the list is before that of the other.
      yield* first.browsers.leave(a, true)
      yield* second.browsers.sendToUser("joe", "news", {})
      const data = { text: "x".repeat(60_000) }
      yield* Effect.forEach(
        Array.from({ length: 150 }),
        () => first.channels.broadcast("history-a", "said", data),
        { concurrency: 10 }
      )
      yield* turns
      const { offset, parts } = shared.snapshot()
      expect(offset).toBeGreaterThan(0)
      expect(parts.length).toBeGreaterThan(0)
      shared.trim(offset)
      yield* second.channels.broadcast("presence-room", "later", {})
      const third = yield* makeNode(shared, "00000003", { batch: 1 })
      yield* settled(first, second, third)
      expect(contentsOf(third)).toEqual(contentsOf(first))
      expect((yield* third.channels.history("history-a", { after: 0, limit: 9, maxSize: 1e6 })).entries).toHaveLength(3)
    }))

  it.effect("collects a snapshot in turns, at one position", () =>
    Effect.gen(function*() {
      const shared = SharedLog.make()
      const first = yield* makeNode(shared, "00000001", { clock: yield* hasty, batch: 1 })
      const second = yield* makeNode(shared, "00000002")
      yield* first.channels.open("room")
      yield* settled(second)
      const together = { concurrency: "unbounded" } as const
      const users = Array.from({ length: 3000 }, (_, n) => `user-${n}`)
      const browsers = yield* Effect.forEach(users, (uid) => second.connect(uid), together)
      yield* Effect.forEach(browsers, (browser, n) => join(second, "room", browser, users[n]), together)
      // They leave while it is collected.
      const data = { text: "x".repeat(60_000) }
      const fill = Effect.forEach(
        Array.from({ length: 150 }),
        () => second.channels.broadcast("history-a", "said", data),
        { concurrency: 10 }
      )
      const leave = Effect.forEach(browsers.slice(0, 500), (browser) => second.browsers.leave(browser, false))
      yield* Effect.all([fill, leave], { concurrency: 2 })
      yield* settled(first)
      yield* Effect.repeat(turns, { until: () => shared.snapshot().offset > 0 })
      shared.trim(shared.snapshot().offset)
      const third = yield* makeNode(shared, "00000003")
      yield* settled(first, second, third)
      expect(contentsOf(third)).toEqual(contentsOf(first))
    }))

  it.effect("begins anew if its position is lost: its browsers come back", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const [a, b] = [yield* first.connect("joe"), yield* second.connect("ann")]
      yield* first.channels.open("room")
      yield* join(first, "room", a)
      yield* settled(first, second)
      shared.lose()
      yield* turns
      yield* settled(first, second)
      yield* turns
      yield* settled(first, second)
      expect([a.closedWith(), b.closedWith()]).toEqual([1012, 1012])
      expect(first.log.epoch()).not.toBe("epoch-1")
      expect([first.browsers.count(), yield* first.channels.describe("room")]).toEqual([
        0,
        { name: "room", kind: "normal", subscribers: 0 }
      ])
      const again = yield* second.connect("ann")
      yield* join(second, "room", again, "ann")
      yield* first.channels.broadcast("room", "said", {})
      yield* settled(second)
      expect(events(again.received())).toEqual([":subscribed", "said"])
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("gives up its lease if it cannot read what was appended, and does not stay deaf", () =>
    Effect.gen(function*() {
      const { shared } = yield* two
      shared.appendFor("00000001", Replica.entryOf(9, ["?"]))
      yield* turns
      const why = expect.stringContaining("The entry 4 of the log is of another version of the broker")
      expect(shared.givenUp()).toEqual([["00000001", why], ["00000002", why]])
    }))

  it.effect("does not begin with a snapshot that it cannot read, and gives up its lease if it must", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const why = "the snapshot at the entry 9 of the log is of another version of the broker"
      yield* settled(first)
      shared.lose({ offset: 9, parts: ["V"] })
      yield* turns
      yield* turns
      expect(shared.givenUp()).toEqual([
        ["00000001", expect.stringContaining(why)],
        ["00000002", expect.stringContaining(why)]
      ])
      const error = yield* Effect.flip(makeNode(shared, "00000003"))
      expect(error.message).toContain(why)
    }))

  it.effect("begins anew in turns, and closes the browsers that come meanwhile", () =>
    Effect.gen(function*() {
      const shared = SharedLog.make()
      const first = yield* makeNode(shared, "00000001", { clock: yield* hasty })
      const second = yield* makeNode(shared, "00000002")
      shared.lose({ offset: 9, parts: snapshotOf(2000) })
      yield* Effect.repeat(Effect.yieldNow, { until: () => first.state.channels.size > 0 })
      const during = yield* first.connect()
      expect(first.state.channels.size).toBeLessThan(2000)
      yield* Effect.repeat(turns, { until: () => first.state.channels.size === 2000 })
      yield* settled(first, second)
      yield* turns
      expect([during.closedWith(), first.browsers.count()]).toEqual([1012, 0])
      const after = yield* first.connect("joe")
      yield* settled(first, second)
      expect([after.closedWith(), second.browsers.count()]).toEqual([undefined, 1])
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("refuses more than can wait", () =>
    Effect.gen(function*() {
      const { first } = yield* two
      const data = { text: "x".repeat(200_000) }
      const sent = yield* Effect.forEach(
        Array.from({ length: 100 }),
        () => Effect.exit(first.browsers.sendToUser("joe", "e", data)),
        { concurrency: "unbounded" }
      )
      expect(sent.filter(({ _tag }) => _tag === "Failure").length).toBeGreaterThan(10)
      expect(sent.filter(({ _tag }) => _tag === "Success").length).toBeGreaterThan(50)
    }))
})
