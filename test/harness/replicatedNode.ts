/**
 * Nodes that follow one log, in memory.
 */
import { Clock, Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import type { Event } from "../../src/protocol/Trigger.ts"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import * as Permission from "../../src/server/domain/Permission.ts"
import * as Browsers from "../../src/server/engine/Browsers.ts"
import * as Channels from "../../src/server/engine/Channels.ts"
import * as Limits from "../../src/server/engine/internal/limits.ts"
import * as Operations from "../../src/server/engine/internal/operations.ts"
import * as Replica from "../../src/server/engine/internal/replica.ts"
import * as ReplicatedLog from "../../src/server/engine/internal/replicatedLog.ts"
import * as Snapshot from "../../src/server/engine/internal/snapshot.ts"
import * as FakeBrowser from "./FakeBrowser.ts"
import { contentOf } from "./intents.ts"
import * as SharedLog from "./sharedLog.ts"
import * as Vhost from "./vhost.ts"

const limits = Limits.fromConfig(Effect.runSync(BrokerConfig.make()))

const permission = (uid: string) => Result.getOrThrow(Permission.make(uid, ".*"))

const rules = Vhost.rules({ pattern: "history-.*", openOnDemand: true, history: { count: 3 } })

type Shared = ReturnType<typeof SharedLog.make>

/** A node of a cluster. */
export const makeNode = Effect.fnUntraced(function*(
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

export type Node = Effect.Success<ReturnType<typeof makeNode>>

export const join = (node: Node, channel: string, browser: FakeBrowser.FakeBrowser, uid = "joe") =>
  node.channels.subscribe(channel, browser, { permission: permission(uid), hidden: false, data: {} })

/** All nodes have applied all. */
export const settled = (...nodes: ReadonlyArray<Node>) =>
  Effect.forEach(nodes, ({ log }) => log.barrier, { discard: true })

export const contentsOf = (...nodes: ReadonlyArray<Node>) =>
  nodes.map(({ state }) => {
    const { counters: _, ...content } = contentOf(state)
    return { ...content, epoch: state.epoch, uids: [...state.browsers.all()].map((one) => state.browsers.uidOf(one)) }
  })

/** What is appended now is in the log. */
export const turns = Effect.repeat(Effect.yieldNow, { times: 10 })

export const seconds = Effect.repeat(Effect.andThen(turns, TestClock.adjust("1 second")), { times: 3 })

export const events = (received: ReadonlyArray<unknown>) => received.map((message) => Object.keys(message as object)[0])

export const two = Effect.gen(function*() {
  const shared = SharedLog.make()
  return { shared, first: yield* makeNode(shared, "00000001"), second: yield* makeNode(shared, "00000002") }
})

/** Whenever somebody looks at it, 5 ms have passed: each step is a turn. */
export const hasty = Effect.clockWith((clock) =>
  Effect.sync(() => {
    let nanos = 0n
    return Object.assign(Object.create(clock), { monotonicTimeNanosUnsafe: () => nanos += 5_000_000n }) as Clock.Clock
  })
)

/** The parts of a snapshot with so many channels. */
export const snapshotOf = (count: number): ReadonlyArray<string> => {
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
