import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Effect } from "effect"
import type { Event } from "../../../src/protocol/Trigger.ts"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as History from "../../../src/server/engine/internal/history.ts"
import * as Limits from "../../../src/server/engine/internal/limits.ts"
import * as Operations from "../../../src/server/engine/internal/operations.ts"
import * as Replica from "../../../src/server/engine/internal/replica.ts"
import * as Retained from "../../../src/server/engine/internal/retained.ts"
import * as Rules from "../../../src/server/engine/internal/rules.ts"
import * as Snapshot from "../../../src/server/engine/internal/snapshot.ts"
import * as SnapshotReader from "../../../src/server/engine/internal/snapshotReader.ts"
import type { VhostState } from "../../../src/server/engine/internal/vhostState.ts"
import type { LogEntry } from "../../../src/server/engine/SharedLog.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { anyIntent, contentOf, type MakeIntent, permit, sids } from "../../harness/intents.ts"
import { withStoppedClock } from "../../harness/stoppedClock.ts"
import * as Vhost from "../../harness/vhost.ts"
import { costly, int, oneOf, pick } from "../../protocol/arbitraries.ts"

const limits = {
  ...Limits.fromConfig(Effect.runSync(BrokerConfig.make())),
  graceSize: 1500,
  maxChannels: 3,
  maxSubscriptions: 2,
  memberDataSize: 20,
  maxMessageSize: 100
}

const rules = Vhost.rules(
  { pattern: "presence-b|bad.*", openOnDemand: true, history: { count: 2 } },
  { pattern: ".*-a", openOnDemand: true },
  { pattern: ":user", history: { count: 2 } }
)

const clock = Effect.runSync(Effect.service(Clock.Clock))

/** Two nodes have browsers, the third one only watches. */
const nodes = ["00000001", "00000002", "00000003"] as const
const nodeOf = { a: nodes[0], b: nodes[0], c: nodes[1], gone: nodes[1] }
type Sid = keyof typeof nodeOf
const uidOf = { a: "joe", b: "joe", c: "ann", gone: "ann" }

type Step =
  | { readonly _tag: "Commit"; readonly make: MakeIntent; readonly node: number; readonly identifies?: Sid }
  | { readonly _tag: "Enter"; readonly sid: Sid; readonly uid: string | undefined }
  | { readonly _tag: "Leave"; readonly sid: Sid; readonly mayReturn: boolean }
  | { readonly _tag: "EndNode"; readonly node: number }
  | { readonly _tag: "Pass"; readonly millis: number }

const commit = Arbitrary.map(
  Arbitrary.all({ make: anyIntent, node: int(0, 1) }),
  (commit): Step => ({ _tag: "Commit", ...commit })
)

/** What is sent to users, and who reads it. */
const inbox = Arbitrary.map(
  Arbitrary.all({ sid: pick(sids), uid: pick(["joe", "ann"]), node: int(0, 1), does: pick(["send", "join", "leave"]) }),
  ({ does, node, sid, uid }): Step => ({
    _tag: "Commit",
    node,
    // A browser subscribes to the inbox of its user.
    ...does === "join" && { identifies: sid },
    make: (browsers) =>
      does === "send"
        ? { _tag: "SendToUser", uid, event: "e", data: {} }
        : does === "join"
        ? {
          _tag: "Join",
          channel: ":user",
          browser: browsers[sid]!,
          permission: permit(uidOf[sid]),
          hidden: false,
          data: {}
        }
        : { _tag: "Leave", channel: ":user", browser: browsers[sid]!, farewell: {}, request: undefined }
  })
)

const anyStep: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  inbox,
  commit,
  commit,
  commit,
  commit,
  Arbitrary.map(
    Arbitrary.all({ sid: pick(sids), isUser: pick([true, false]) }),
    ({ isUser, sid }): Step => ({ _tag: "Enter", sid, uid: isUser ? uidOf[sid] : undefined })
  ),
  Arbitrary.map(
    Arbitrary.all({ sid: pick(sids), mayReturn: pick([true, false]) }),
    (leave): Step => ({ _tag: "Leave", ...leave })
  ),
  Arbitrary.map(Arbitrary.all({ node: int(0, 1) }), ({ node }): Step => ({ _tag: "EndNode", node })),
  Arbitrary.map(int(1, 2_000_000), (millis): Step => ({ _tag: "Pass", millis }))
)

const stepsOf = (step: Step): ReadonlyArray<Step> =>
  step._tag === "Commit" && step.identifies !== undefined
    ? [{ _tag: "Enter", sid: step.identifies, uid: uidOf[step.identifies] }, step]
    : [step]

const makeBrowsers = () =>
  Object.fromEntries(sids.map((sid) => [sid, FakeBrowser.make(sid, undefined, sid === "c" ? 0 : 1)])) as Record<
    Sid,
    FakeBrowser.FakeBrowser
  >

/** A single broker that does the same. */
const makeReference = () => {
  const browsers = makeBrowsers()
  const events: Array<Event> = []
  let now = 0
  const { log, state } = Vhost.make({ ...limits, clock, now: () => now, emit: (event) => void events.push(event) })
  const connected = new Set<Sid>()
  const ended = new Set<number>()
  const leave = (sid: Sid, mayReturn: boolean) => {
    // It leaves in turns, which a busy machine would end.
    if (connected.delete(sid)) Effect.runSync(withStoppedClock(() => log.leave(browsers[sid], mayReturn)))
  }
  return {
    browsers,
    events,
    state,
    perform: (step: Step) => {
      History.expire(state.histories)
      switch (step._tag) {
        case "Commit": {
          const intent = step.make(browsers)
          if (ended.has(step.node)) return
          if (intent._tag === "Join" && !connected.has(intent.browser.sid as Sid)) return
          Effect.runSync(Effect.ignore(log.commit(intent)))
          return
        }
        case "Enter":
          if (ended.has(nodes.indexOf(nodeOf[step.sid]))) return
          if (!connected.has(step.sid)) log.enter(browsers[step.sid])
          connected.add(step.sid)
          if (step.uid !== undefined) Effect.runSync(log.identify(browsers[step.sid], step.uid, undefined))
          return
        case "Leave":
          if (ended.has(nodes.indexOf(nodeOf[step.sid]))) return
          return leave(step.sid, step.mayReturn)
        case "EndNode":
          ended.add(step.node)
          for (const sid of [...connected]) if (nodeOf[sid] === nodes[step.node]) leave(sid, true)
          return
        case "Pass":
          now += step.millis
      }
    }
  }
}

/** What of a state does not depend on how it came about. */
const settledOf = (state: VhostState) => {
  const { browsers, channels, counters: { channels: open, subscriptions }, ...content } = contentOf(state)
  return {
    ...content,
    counters: { open, subscriptions },
    browsers: browsers.toSorted(([one], [other]) => one < other ? -1 : 1),
    channels: channels.map(({ membersOf, ...channel }) => ({ ...channel, membersOf: new Map(membersOf) })),
    inboxes: [
      state.inboxes.floor,
      new Map(
        Array.from(
          state.inboxes.attended,
          ([uid, inbox]) => [uid, [inbox.subscriptions.size, historyOf(inbox.history)]]
        )
      ),
      Array.from(state.inboxes.unattended.entries, ([uid, history]) => [uid, historyOf(history)])
    ],
    users: Array.from(state.browsers.users(), ([{ sid }, user]) => [sid, user])
  }
}

const historyOf = (history: History.History | undefined) =>
  history && {
    floor: history.floor,
    opened: history.opened,
    entries: Array.from({ length: history.retained.count }, (_, nth) => Retained.entryOf(history.retained, nth))
  }

const makeReplica = (self: string) => {
  const browsers = makeBrowsers()
  // A browser that has left may enter again in this test, with the same name.
  const own = new Map(Object.entries(browsers))
  own.delete = () => false
  const replica = Replica.make(self, own, { ...limits, epoch: "epoch", rules: Rules.original(false), clock })
  const outcomes: Array<Replica.Outcome> = []
  const apply = (entry: LogEntry) => {
    const steps = Replica.apply(replica, entry, (_, __, outcome) => outcomes.push(outcome))
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    expect(step.value).toBe(true)
  }
  return { apply, browsers, outcomes, replica }
}

/** The entries of these steps; several operations of a node in a row may be one entry. */
const entriesOf = (steps: ReadonlyArray<Step>, isJoined: boolean) => {
  const browsers = makeBrowsers()
  const entries: Array<LogEntry> = []
  let time = 0
  let waiting: { readonly node: string; readonly operations: Array<string> } | undefined
  const flush = () => {
    if (waiting === undefined) return
    const entry = Replica.entryOf(entries.length, waiting.operations)
    entries.push({ offset: entries.length + 1, time, node: waiting.node, entry })
    waiting = undefined
  }
  const append = (node: string, operation: Operations.Operation) => {
    if (!isJoined || waiting?.node !== node) flush()
    waiting ??= { node, operations: [] }
    waiting.operations.push(Operations.write(operation))
  }
  for (const node of nodes) append(node, { _tag: "EnterNode", limits })
  append(nodes[0], { _tag: "SetRules", rules })
  for (const step of steps) {
    switch (step._tag) {
      case "Commit":
        append(nodes[step.node]!, step.make(browsers))
        break
      case "Enter":
        append(nodeOf[step.sid], { _tag: "EnterBrowser", sid: step.sid, version: browsers[step.sid].version })
        if (step.uid === undefined) break
        append(nodeOf[step.sid], { _tag: "Identify", browser: browsers[step.sid], uid: step.uid, info: undefined })
        break
      case "Leave":
        append(nodeOf[step.sid], { _tag: "LeaveBrowser", browser: browsers[step.sid], mayReturn: step.mayReturn })
        break
      case "EndNode":
        flush()
        entries.push({ offset: entries.length + 1, time, node: nodes[step.node]!, entry: undefined })
        break
      case "Pass":
        flush()
        time += step.millis
    }
  }
  // Time passes only with an entry.
  append(nodes[2], { _tag: "Tick" })
  flush()
  return entries
}

/** Restores a replica from the parts of a snapshot. */
const restored = (replica: Replica.Replica, offset: number, parts: ReadonlyArray<string>): boolean => {
  const steps = SnapshotReader.restore(replica, { epoch: "epoch", offset, parts })
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}

describe("replicas", () => {
  it("are collected in small steps", () => {
    const { apply, replica } = makeReplica(nodes[2])
    const count = 20_000
    const operations: Array<Operations.Operation> = [{ _tag: "EnterNode", limits }, {
      _tag: "OpenChannel",
      channel: "room"
    }]
    for (let n = 0; n < count; n++) {
      const browser = FakeBrowser.make(`${n}`, undefined, 1)
      operations.push(
        { _tag: "EnterBrowser", sid: browser.sid, version: 1 },
        { _tag: "Join", channel: "room", browser, permission: undefined, hidden: false, data: {} }
      )
    }
    apply({ offset: 1, time: 0, node: nodes[0], entry: Replica.entryOf(1, operations.map(Operations.write)) })
    const steps = Snapshot.collect(replica)
    let number = 1
    let step = steps.next()
    for (; step.done !== true; number++) step = steps.next()
    // Browsers, and subscriptions.
    expect(number).toBeGreaterThan(2 * count / 1000)
    expect([...step.value].length).toBeGreaterThan(2 * count)
  })

  it.prop("of the same entries are equal, and as a single broker that did the same", [
    Arbitrary.array(anyStep, { maxLength: 80 })
  ], ([generated]) => {
    const steps = generated.flatMap(stepsOf)
    const reference = makeReference()
    reference.perform({ _tag: "Commit", node: 0, make: () => ({ _tag: "SetRules", rules }) })
    steps.forEach(reference.perform)
    History.expire(reference.state.histories)
    for (const isJoined of [true, false]) {
      const entries = entriesOf(steps, isJoined)
      const replicas = nodes.map(makeReplica)
      for (const { apply } of replicas) entries.forEach(apply)
      const expected = settledOf(reference.state)
      for (const { replica } of replicas) {
        expect(settledOf(replica.state)).toEqual(expected)
        expect(replica.pending.map(({ event }) => event)).toEqual(reference.events)
      }
      for (const sid of sids) {
        const { browsers } = replicas[nodes.indexOf(nodeOf[sid])]!
        if (isJoined) expect([sid, browsers[sid].received()]).toEqual([sid, reference.browsers[sid].received()])
        expect(browsers[sid].closedWith()).toBe(reference.browsers[sid].closedWith())
      }
      expect(replicas[2]!.browsers.a.received()).toEqual([])
    }
  }, costly(50, 80))

  it.prop("that begin with a snapshot are equal to one that has applied all entries", [
    Arbitrary.array(anyStep, { maxLength: 80 }),
    int(0, 90)
  ], ([generated, at]) => {
    const entries = entriesOf(generated.flatMap(stepsOf), true)
    const whole = makeReplica(nodes[2])
    entries.slice(0, at).forEach(whole.apply)
    const steps = Snapshot.collect(whole.replica)
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    const records = step.value
    const { lifecycle, nodes: living, offset, time } = whole.replica
    const head = [lifecycle, [...living], offset, time]
    const before = settledOf(whole.replica.state)
    // It is written while more is applied.
    entries.slice(at).forEach(whole.apply)
    const late = makeReplica("0000000f")
    expect(restored(late.replica, offset, [...records])).toBe(true)
    expect(settledOf(late.replica.state)).toEqual(before)
    expect([late.replica.lifecycle, [...late.replica.nodes], late.replica.offset, late.replica.time]).toEqual(head)
    entries.slice(at).forEach(late.apply)
    expect(settledOf(late.replica.state)).toEqual(settledOf(whole.replica.state))
    expect(late.replica.pending).toEqual(whole.replica.pending)
  }, costly(60, 80))
  it("refuse a snapshot with a record that they do not know, or that ends too early", () => {
    const whole = makeReplica(nodes[2])
    entriesOf([{ _tag: "Enter", sid: "a", uid: "joe" }], true).forEach(whole.apply)
    const steps = Snapshot.collect(whole.replica)
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    const parts = [...step.value]
    const outcomes = [parts, [...parts, "?"], [...parts, "constructor"], [
      ...parts.slice(0, -1),
      parts.at(-1)!.slice(0, -1)
    ]]
      .map((parts) => {
        const { replica } = makeReplica("0000000f")
        return [restored(replica, 7, parts), replica.offset]
      })
    expect(outcomes).toEqual([[true, 7], [false, 0], [false, 0], [false, 0]])
  })

  it("restore a large snapshot in many small steps", () => {
    const whole = makeReplica(nodes[2])
    const text = Array.from(
      { length: 10_000 },
      (_, index) => Operations.write({ _tag: "EnterBrowser", sid: `many-${index}`, version: 1 })
    )
    entriesOf([], true).forEach(whole.apply)
    whole.apply({ offset: 100, time: 1, node: nodes[0], entry: Replica.entryOf(1000, text) })
    const collected = Snapshot.collect(whole.replica)
    let step = collected.next()
    while (step.done !== true) step = collected.next()
    const { replica } = makeReplica("0000000f")
    const counts = [0]
    for (
      const _ of SnapshotReader.restore(replica, { epoch: "epoch", offset: 100, parts: [[...step.value].join("")] })
    ) {
      counts.push([...replica.state.browsers.all()].length)
    }
    const added = counts.slice(1).map((count, index) => count - counts[index]!)
    expect([[...replica.state.browsers.all()].length, Math.max(...added)]).toEqual([10_000, 200])
  })
})
