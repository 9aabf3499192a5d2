/**
 * What every log does: that of a single broker, and those of two nodes that share one, in memory and in Redis.
 */
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, type Scope } from "effect"
import type { Event } from "../../../src/protocol/Trigger.ts"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as Limits from "../../../src/server/engine/internal/limits.ts"
import * as ReplicatedLog from "../../../src/server/engine/internal/replicatedLog.ts"
import type { VhostState } from "../../../src/server/engine/internal/vhostState.ts"
import type { Intent, Log } from "../../../src/server/engine/Log.ts"
import type * as Shared from "../../../src/server/engine/SharedLog.ts"
import { eventually } from "../../harness/eventually.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { contentOf, permit } from "../../harness/intents.ts"
import { redisNode } from "../../harness/redisNode.ts"
import { isInstalled, start } from "../../harness/redisServer.ts"
import * as SharedLog from "../../harness/sharedLog.ts"
import * as Vhost from "../../harness/vhost.ts"

/** A log under test, that of one node if there are several. */
interface Made {
  readonly log: Log
  readonly state: VhostState
}

/** Makes logs that are one: the second is that of another node, if there are several. */
type Makes = (emit: (event: Event) => void) => Effect.Effect<readonly [Made, Made], never, Scope.Scope>

const rules = Vhost.rules(
  { pattern: "history-.*", openOnDemand: true, history: { count: 3 } },
  { pattern: "presence-.*", grace: "50 millis" }
)

const limits = { ...Limits.fromConfig(Effect.runSync(BrokerConfig.make())), maxMessageSize: 1000, maxChannels: 100 }

const makeLocal: Makes = (emit) =>
  Effect.sync(() => {
    const made = Vhost.make({ ...limits, rules, emit })
    return [made, made]
  })

const replicated = Effect.fnUntraced(function*(shared: Shared.SharedLog, emit: (event: Event) => void) {
  const clock = yield* Clock.Clock
  return yield* Effect.orDie(ReplicatedLog.make({ ...limits, rules, clock, shared, emit }))
})

const makeInMemory: Makes = Effect.fnUntraced(function*(emit) {
  const shared = SharedLog.make()
  const clock = yield* Clock.Clock
  // Time passes with what is appended.
  const nodeOf = (name: string): Shared.SharedLog => {
    const node = shared.nodeOf(name)
    const append = (entry: string) =>
      Effect.suspend(() => {
        shared.setTime(Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n))
        return node.append(entry)
      })
    return { ...node, append }
  }
  return [yield* replicated(nodeOf("00000001"), emit), yield* replicated(nodeOf("00000002"), emit)]
})

const makeInRedis: Makes = Effect.fnUntraced(function*(emit) {
  const server = yield* start()
  const node = Effect.gen(function*() {
    const { logOf } = yield* Effect.orDie(redisNode(server, { lease: 60_000 }))
    return yield* replicated(logOf("/test"), emit)
  })
  return [yield* node, yield* node]
})

const kinds: ReadonlyArray<readonly [string, Makes]> = [
  ["of a single broker", makeLocal],
  ["of several nodes, in memory", makeInMemory],
  ...isInstalled ? [["of several nodes, in Redis", makeInRedis] as const] : []
]
if (!isInstalled) process.stderr.write(`Skipped the log in Redis: redis-server was not found on the PATH.\n`)

let count = 0

/** Connects a browser of a user. */
const connect = Effect.fnUntraced(function*({ log }: Made, uid = "joe") {
  const browser = FakeBrowser.make(`browser-${++count}`, undefined, 1)
  log.enter(browser)
  yield* log.identify(browser, uid, undefined)
  return browser
})

const join = (channel: string, browser: FakeBrowser.FakeBrowser, uid = "joe"): Intent<"Join"> => ({
  _tag: "Join",
  channel,
  browser,
  permission: permit(uid),
  hidden: false,
  data: {}
})

const broadcast = (channel: string, n: unknown): Intent<"Broadcast"> => ({
  _tag: "Broadcast",
  channel,
  event: "said",
  data: { n } as { readonly n: number }
})

/** The numbers that a browser has heard. */
const heard = (browser: FakeBrowser.FakeBrowser) =>
  browser.received().flatMap((message) => {
    const { said } = message as { readonly said?: { readonly n: number } }
    return said === undefined ? [] : [said.n]
  })

const contentsOf = ({ state }: Made) => {
  const { counters: _, ...content } = contentOf(state)
  return content
}

describe.each(kinds)("the log %s", (_, makes) => {
  /** Two logs that are one, and the lifecycle events of both. */
  const make = Effect.gen(function*() {
    const events: Array<string> = []
    const [one, other] = yield* makes(({ data, event }) => {
      const { channel, uid = channel ?? "" } = data as { readonly channel?: string; readonly uid?: string }
      events.push(`${event.slice(":lifecycle/".length)} ${uid}`)
    })
    const settled = Effect.andThen(one.log.barrier, other.log.barrier)
    return { one, other, events, settled }
  })

  it.live("gives each change the next position, and none to what is rejected or changes nothing", () =>
    Effect.gen(function*() {
      const { one, other, settled } = yield* make
      yield* settled
      const begin = one.log.head()
      const open = { _tag: "OpenChannel", channel: "room" } as const
      expect([yield* one.log.commit(open), yield* other.log.commit(open)]).toEqual([true, false])
      expect(yield* Effect.flip(one.log.commit(broadcast("none", 1)))).toMatchObject({ code: 454 })
      yield* other.log.commit(broadcast("room", 1))
      yield* settled
      expect([one.log.head(), other.log.head()]).toEqual([begin + 2, begin + 2])
      expect(one.log.epoch()).toBe(other.log.epoch())
    }))

  it.live("rejects where it is committed, with the error of the decision", () =>
    Effect.gen(function*() {
      const { one, other } = yield* make
      const browser = yield* connect(one)
      yield* one.log.commit({ _tag: "OpenChannel", channel: "room" })
      yield* one.log.commit(join("room", browser))
      for (const { log } of [one, other]) {
        yield* log.barrier
        const errorOf = (intent: Intent) => Effect.map(Effect.flip(log.commit(intent)), ({ _tag }) => _tag)
        expect([
          yield* errorOf({ _tag: "OpenChannel", channel: "bad name" }),
          yield* errorOf({ _tag: "CloseChannel", channel: "none" }),
          yield* errorOf({ _tag: "SendTo", sid: "nobody", event: "e", data: {} }),
          // Too large for a browser, wherever that is.
          yield* errorOf(broadcast("room", "x".repeat(2000))),
          yield* errorOf({ _tag: "SendTo", sid: browser.sid, event: "e", data: { text: "x".repeat(2000) } }),
          yield* errorOf({ _tag: "SendToUser", uid: "joe", event: "e", data: { text: "x".repeat(2000) } })
        ]).toEqual([
          "InvalidChannelNameError",
          "ChannelNotFoundError",
          "BrowserNotFoundError",
          "BadRequestError",
          "BadRequestError",
          "BadRequestError"
        ])
      }
      expect(heard(browser)).toEqual([])
    }))

  it.live("is applied when a commit has ended, and everywhere after a barrier", () =>
    Effect.gen(function*() {
      const { one, other } = yield* make
      const browser = yield* connect(one)
      yield* one.log.commit({ _tag: "OpenChannel", channel: "room" })
      yield* one.log.commit(join("room", browser))
      expect(one.state.channels.get("room")?.value?.subscriptions.has(browser)).toBe(true)
      yield* other.log.barrier
      expect(other.state.channels.get("room")?.value?.subscriptions.size).toBe(1)
      expect(contentsOf(other)).toEqual(contentsOf(one))
    }))

  it.live("delivers what is committed anywhere to each subscriber once, in one order", () =>
    Effect.gen(function*() {
      const { one, other, settled } = yield* make
      const browsers = [yield* connect(one), yield* connect(other, "ann")] as const
      yield* one.log.commit({ _tag: "OpenChannel", channel: "room" })
      yield* one.log.commit(join("room", browsers[0]))
      yield* other.log.barrier
      yield* other.log.commit(join("room", browsers[1], "ann"))
      yield* settled
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, n) => n),
        (n) => (n % 3 === 0 ? other : one).log.commit(broadcast("room", n)),
        { concurrency: "unbounded" }
      )
      yield* settled
      const [mine, theirs] = browsers.map(heard)
      expect(mine!.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, n) => n))
      expect(theirs).toEqual(mine)
      // What a node has committed keeps its order.
      const ofOther = mine!.filter((n) => n % 3 === 0)
      expect(ofOther).toEqual(ofOther.toSorted((a, b) => a - b))
      // Each node counts what it has delivered itself.
      const expected = one === other ? 400 : 200
      expect([one, other].map(({ state }) => state.counters.deliveries)).toEqual([expected, expected])
    }))

  it.live("retains the last broadcasts of a channel with history, and lists them in parts", () =>
    Effect.gen(function*() {
      const { one, other } = yield* make
      for (const n of [1, 2, 3, 4]) yield* one.log.commit(broadcast("history-a", n))
      yield* other.log.barrier
      const read = (after: number, limit = 9) => other.log.history("history-a", { after, limit, maxSize: 10_000 })
      const all = yield* read(0)
      expect(all.entries.map(({ message }) => JSON.parse(message) as unknown)).toEqual(
        [2, 3, 4].map((n) => ({ said: { n, channel: "history-a" } }))
      )
      expect([all.more, all.floor]).toEqual([false, all.entries[0]!.position - 1])
      const part = yield* read(0, 2)
      expect([part.entries, part.more]).toEqual([all.entries.slice(0, 2), true])
      expect((yield* read(all.entries[1]!.position)).entries).toEqual(all.entries.slice(2))
      expect(yield* Effect.flip(other.log.history("none", { after: 0, limit: 9, maxSize: 1 }))).toMatchObject({
        code: 454
      })
    }))

  it.live("emits each lifecycle event once, in order, and has members until their grace is over", () =>
    Effect.gen(function*() {
      const { events, one, other, settled } = yield* make
      const browsers = [yield* connect(one), yield* connect(other, "ann")] as const
      yield* one.log.commit({ _tag: "OpenChannel", channel: "presence-a" })
      yield* one.log.commit(join("presence-a", browsers[0]))
      yield* other.log.barrier
      yield* other.log.commit(join("presence-a", browsers[1], "ann"))
      yield* settled
      yield* one.log.leave(browsers[0], true)
      yield* settled
      expect(other.state.channels.get("presence-a")?.value?.visible.size).toBe(2)
      browsers[1].received()
      const sweep = Effect.andThen(Effect.andThen(one.log.sweep, other.log.sweep), settled)
      const messages = yield* eventually(
        Effect.map(sweep, () => browsers[1].received()),
        (received) => received.length > 0
      )
      expect(messages).toMatchObject([{ ":memberLeft": { uid: "joe" } }])
      yield* other.log.leave(browsers[1], false)
      yield* settled
      expect(events).toEqual([
        "browserConnected ",
        "browserConnected ",
        "channelOccupied presence-a",
        "memberJoined joe",
        "memberJoined ann",
        "browserDisconnected joe",
        "memberLeft joe",
        "memberLeft ann",
        "channelVacated presence-a",
        "browserDisconnected ann"
      ])
    }))

  it.live("sends to a user and to a browser, and disconnects, wherever they are", () =>
    Effect.gen(function*() {
      const { one, other, settled } = yield* make
      const [a, b] = [yield* connect(one), yield* connect(other)]
      yield* settled
      yield* one.log.commit({ _tag: "SendToUser", uid: "joe", event: "news", data: {} })
      yield* other.log.commit({ _tag: "SendTo", sid: a.sid, event: "direct", data: {} })
      yield* one.log.commit({ _tag: "Disconnect", by: "sid", who: b.sid })
      yield* settled
      expect([a.closedWith(), b.closedWith()]).toEqual([undefined, 4403])
      expect([a, b].map((browser) => browser.received().map((message) => Object.keys(message as object)[0]))).toEqual([
        ["direct"],
        [":closed"]
      ])
    }))
})
