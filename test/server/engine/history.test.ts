/**
 * What channels with history retain: the last broadcasts within all limits, and from which position on they are complete.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as History from "../../../src/server/engine/internal/history.ts"
import * as Retained from "../../../src/server/engine/internal/retained.ts"
import { costly, int } from "../../protocol/arbitraries.ts"

const limits = { historyVhostSize: 6000 }
const owner = { name: "room", isOnDemand: false }
const channelLimits = [
  { count: 5, size: 3000, age: 100 },
  { count: 4, size: 2500, age: 40 },
  { count: 3, size: 2500, age: 100 },
  { count: 6, size: 3000, age: 40 },
  { count: 4, size: 3000, age: 100 }
]
const totalLimit = 9000

/** What a broadcast takes, for texts of ASCII. */
const sizeOf = ({ exceptSid = "", message }: History.Broadcast) => 352 + 2 * (message.length + exceptSid.length)

interface Broadcast extends History.Broadcast {
  readonly at: number
  readonly channel: number
}

/** The model: two vhosts with five channels each, and lists of what they retain. */
const makeModel = () => {
  const limitsOf = [0, 1].map(() => channelLimits)
  const retained: [Array<Broadcast>, Array<Broadcast>] = [[], []]
  const floors = [0, 1].map(() => channelLimits.map(() => 0))
  const sizeIn = (list: ReadonlyArray<Broadcast>) => list.reduce((sum, one) => sum + sizeOf(one), 0)
  const drop = (vhost: number, broadcast: Broadcast | undefined) => {
    retained[vhost] = retained[vhost]!.filter((one) => one !== broadcast)
    floors[vhost]![broadcast!.channel] = broadcast!.position
  }
  const expire = (vhost: number, now: number) => {
    for (const one of retained[vhost]!) if (one.at < now - limitsOf[vhost]![one.channel]!.age) drop(vhost, one)
  }
  const trim = (vhost: number, index: number) => {
    const own = () => retained[vhost]!.filter(({ channel }) => channel === index)
    const { count, size } = limitsOf[vhost]![index]!
    while (own().length > count || sizeIn(own()) > size) drop(vhost, own()[0])
  }
  const limit = (vhost: number, own: typeof channelLimits, now: number) => {
    limitsOf[vhost] = own
    expire(vhost, now)
    for (const index of own.keys()) trim(vhost, index)
  }
  const append = (vhost: number, broadcast: Broadcast) => {
    expire(vhost, broadcast.at)
    retained[vhost]!.push(broadcast)
    trim(vhost, broadcast.channel)
    while (sizeIn(retained[vhost]!) > limits.historyVhostSize) drop(vhost, retained[vhost]![0])
    while (sizeIn(retained.flat()) > totalLimit) {
      const largest = sizeIn(retained[1]) > sizeIn(retained[0]) ? 1 : 0
      drop(largest, retained[largest][0])
    }
  }
  const close = (vhost: number, channel: number) => {
    for (const one of retained[vhost]!.filter((one) => one.channel === channel)) drop(vhost, one)
  }
  return { retained, floors, limitsOf, append, close, limit, sizeIn }
}

const positionsAfter = (history: History.History, position: number) => {
  const positions: Array<number> = []
  History.visitAfter(history, position, (entry) => positions.push(entry.position) > 0)
  return positions
}

const entriesOf = ({ retained }: History.History) =>
  Array.from({ length: retained.count }, (_, nth) => Retained.entryOf(retained, nth))

const step = Arbitrary.all({
  vhost: int(0, 1),
  channel: int(0, 4),
  length: Arbitrary.map(int(0, 9), (n) => n === 9 ? 2000 : n * 100),
  excepts: Arbitrary.map(int(0, 2), (n) => n === 0),
  passes: Arbitrary.map(int(0, 9), (n) => n > 7 ? 60 : n),
  rare: Arbitrary.map(int(0, 30), (n) => n === 0 ? "close" : n === 1 ? "limit" : undefined)
})

describe("History", () => {
  it.prop("retains what a model retains, within all limits", [Arbitrary.array(step, { maxLength: 120 })], ([steps]) => {
    let now = 0
    const total = History.makeTotal(totalLimit)
    const vhosts = [0, 1].map(() => History.make(limits, total, () => now))
    const histories = vhosts.map(() => channelLimits.map((own) => History.open(owner, own, 0)))
    const model = makeModel()
    for (const [index, { channel, excepts, length, passes, rare, vhost }] of steps.entries()) {
      now += passes
      const position = index + 1
      const history = histories[vhost]![channel]!
      if (rare === "limit") {
        // Those of the channels change places.
        const own = [...channelLimits.slice(channel), ...channelLimits.slice(0, channel)]
        History.limit(vhosts[vhost]!, new Map(histories[vhost]!.map((history, index) => [history, own[index]!])))
        model.limit(vhost, own, now)
      } else if (rare === "close") {
        History.close(vhosts[vhost]!, history)
        model.close(vhost, channel)
      } else {
        const message = "x".repeat(length)
        const exceptSid = excepts ? `sid-${position}` : undefined
        History.append(vhosts[vhost]!, history, { position, message, exceptSid })
        model.append(vhost, { position, message, exceptSid, at: now, channel })
      }
      for (const [vhost, list] of model.retained.entries()) {
        expect(vhosts[vhost]!.size).toBe(model.sizeIn(list))
        for (const [channel, history] of histories[vhost]!.entries()) {
          const own = list.filter((one) => one.channel === channel)
          expect(entriesOf(history)).toEqual(own.map(({ channel: _, ...one }) => ({ ...one, size: sizeOf(one) })))
          expect(history.floor).toBe(model.floors[vhost]![channel])
          expect(history.size).toBe(model.sizeIn(own))
          const after = own[1]?.position ?? 0
          expect(positionsAfter(history, after)).toEqual(own.slice(own.length > 1 ? 2 : 0).map((one) => one.position))
          for (const count of [0, 1, 3, 10]) {
            const last = count === 0 ? [] : own.slice(-count).map((one) => one.position)
            expect(positionsAfter(history, History.positionBefore(history, count))).toEqual(last)
          }
          // What was dropped is no longer in memory, nor are places for it.
          expect(history.retained.messages.length).toBeLessThanOrEqual(4 * own.length)
          expect(history.retained.exceptSids?.size).toBe(own.filter(({ exceptSid }) => exceptSid).length || undefined)
          expect(history.retained.messages.filter((message) => message !== undefined).length).toBe(own.length)
        }
        const due = Math.min(...list.map(({ at, channel }) => at + model.limitsOf[vhost]![channel]!.age))
        const nextDue = History.nextDue(vhosts[vhost]!)
        if (due === Infinity) expect(nextDue).toBe(undefined)
        else expect(nextDue).toBeLessThanOrEqual(Math.ceil(due / 1000) * 1000 + 1)
      }
      expect(total.size).toBe(model.sizeIn(model.retained.flat()))
    }
    for (const vhost of vhosts) History.release(vhost)
    expect([total.size, total.vhosts.size]).toEqual([0, 0])
  }, costly(20, 120))

  it("counts two bytes for a code unit of a text", () => {
    const total = History.makeTotal(Infinity)
    const vhost = History.make(limits, total, () => 0)
    History.append(vhost, History.open(owner, channelLimits[0], 0), {
      position: 1,
      message: "語".repeat(100),
      exceptSid: undefined
    })
    expect(total.size).toBe(352 + 200)
  })

  it("takes no more places the more broadcasts pass through it", () => {
    const vhost = History.make(limits, History.makeTotal(Infinity), () => 0)
    const history = History.open(owner, channelLimits[0]!, 0)
    for (let position = 1; position <= 100; position++) {
      History.append(vhost, history, { position, message: "x", exceptSid: undefined })
      if (position > 5) expect(history.retained.messages.length).toBe(8)
    }
  })
})
