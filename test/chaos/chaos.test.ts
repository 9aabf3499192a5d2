import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as RedisServer from "../harness/redisServer.ts"
import { run } from "./chaos.ts"
import {
  type Broadcast,
  check,
  checkBroadcasts,
  checkListeners,
  checkTransitions,
  type Listener,
  type Subscription,
  type Transition,
  waits
} from "./checker.ts"

describe("the checker of events", () => {
  const first = { n: 1, id: "a", attempt: 1, at: 10 }
  const second = { n: 2, id: "b", attempt: 1, at: 20 }
  const confirmed = new Map([1, 2].map((n) => [n, n]))
  const nothing = {
    triggered: confirmed,
    confirmed: new Map<number, number>(),
    refused: new Set([9]),
    unknown: new Set([7, 8]),
    handlings: [],
    letters: new Set<number>(),
    restarts: []
  }
  const good = { duplicates: { redelivered: 0, restarted: 0 }, losses: [], wrongs: [] }

  it.each([
    ["nothing happened", {}, {}],
    ["all is handled once", { confirmed, handlings: [second, first] }, {}],
    ["one is lost", { confirmed, handlings: [second] }, { losses: [1] }],
    ["one is a dead letter", { confirmed, handlings: [second], letters: new Set([1]) }, {}],
    ["one of which nobody knows is handled", { handlings: [{ ...first, n: 7 }], letters: new Set([8]) }, {}],
    ["one is handled again and again", {
      confirmed,
      handlings: [{ ...first, attempt: 3 }, first, second, { ...first, attempt: 2 }]
    }, { duplicates: { redelivered: 2, restarted: 0 } }],
    [
      "an attempt is handled twice",
      { confirmed, handlings: [first, second, { ...first, at: 30 }], restarts: [0, 31] },
      {
        duplicates: { redelivered: 1, restarted: 0 },
        wrongs: ["attempt 1 of 1 was handled twice"]
      }
    ],
    ["the broker has forgotten an attempt", {
      confirmed,
      handlings: [{ ...first, at: 30 }, first, second],
      restarts: [20]
    }, { duplicates: { redelivered: 0, restarted: 1 } }],
    ["a refused one is handled", { handlings: [{ ...first, n: 9 }] }, { wrongs: ["9 was handled, but refused"] }],
    ["a refused one is a dead letter", { letters: new Set([9]) }, { wrongs: ["9 is a dead letter, but refused"] }],
    ["one is handled that never was", { handlings: [first] }, { wrongs: ["1 was handled, but never triggered"] }],
    ["one has two names", { confirmed, handlings: [first, { ...first, id: "c", attempt: 2 }, second] }, {
      duplicates: { redelivered: 1, restarted: 0 },
      wrongs: ["1 has two names, a and c"]
    }],
    ["two have one name", { confirmed, handlings: [first, { ...second, id: "a" }] }, { wrongs: ["1 and 2 are both a"] }]
  ])("says it where %s", (_, history, verdict) => {
    assert.deepStrictEqual(check({ ...nothing, ...history }), { ...good, ...verdict })
  })

  it.each([
    ["nothing was handled", [], { idle: 0, event: 0 }],
    ["each is handled at once", [[1, 1], [50, 50]], { idle: 0, event: 0 }],
    ["one waits for another that is handled", [[1, 10], [2, 30]], { idle: 20, event: 28 }],
    ["nothing waits in a pause", [[1, 3], [90, 94]], { idle: 4, event: 4 }],
    ["one waits while others do not", [[1, 100], [40, 50], [60, 61]], { idle: 49, event: 99 }]
  ])("knows the longest waits where %s", (_, events, longest) => {
    const handlings = events.map(([, at], n) => ({ n, attempt: 1, at: at! }))
    const again = handlings.map((handling) => ({ ...handling, attempt: 2, at: handling.at + 1000 }))
    const history = { ...nothing, confirmed: new Map(events.map(([from], n) => [n, from!])) }
    assert.deepStrictEqual(waits({ ...history, handlings }), longest)
    // What has been handled does not wait.
    assert.deepStrictEqual(waits({ ...history, handlings: [...again, ...handlings] }), longest)
  })
})

describe("the checker of broadcasts", () => {
  const sent = (n: number, times: Partial<Broadcast> = {}, sender = "a"): Broadcast => (
    { sender, n, channel: "red", begun: n * 10, answered: n * 10 + 5, ...times }
  )
  const unanswered = { answered: undefined }
  const one = sent(1)
  const two = sent(2)
  const three = sent(3)
  const browser = (received: ReadonlyArray<Broadcast>, times: Partial<Subscription> = {}): Subscription => (
    { name: "browser", channels: ["red", "blue"], asked: 1, subscribed: 2, synced: 100, received, ...times }
  )

  it.each([
    ["all is received", [one, two, three], browser([one, two, three]), []],
    ["one is not received", [one, two, three], browser([one, three]), ["browser did not receive a 2"]],
    ["one is received twice", [one, two], browser([one, two, one]), ["browser received a 1 twice"]],
    ["the order is wrong", [one, two], browser([two, one]), ["browser received a 1 after 2"]],
    ["senders are not in order", [one, sent(2, {}, "b")], browser([sent(2, {}, "b"), one]), []],
    ["it did not wait for the answer", [sent(1, { answered: 99 })], browser([], { synced: 98 }), []],
    ["it waited for the answer", [sent(1, { answered: 99 })], browser([], { synced: 99 }), [
      "browser did not receive a 1"
    ]],
    ["it came while it was sent", [one], browser([], { asked: 9, subscribed: 11 }), []],
    ["it came while it was sent, and received it", [one], browser([one], { asked: 9, subscribed: 11 }), []],
    ["it came later", [one], browser([one], { asked: 16, subscribed: 17 }), [
      "browser received a 1 from before it came"
    ]],
    ["it is not on the channel", [one], browser([], { channels: ["blue"] }), []],
    ["it receives another channel", [one], browser([one], { channels: ["blue"] }), [
      "browser received a 1 and is not on red"
    ]],
    ["the channel is another", [one], browser([{ ...one, channel: "blue" }]), [
      "browser received a 1 on blue, but it was for red"
    ]],
    ["one was never sent", [one], browser([one, two]), ["browser received a 2, which was never sent"]],
    ["one was refused", [sent(1, { ...unanswered, refused: true })], browser([one]), [
      "browser received a 1, which was refused"
    ]],
    ["one was not answered", [sent(1, unanswered), two], browser([two]), []],
    ["one that was not answered comes late", [sent(1, unanswered), two], browser([two, one]), []],
    [
      "others are in a wrong order around one that was not answered",
      [sent(1, unanswered), two, three],
      browser([
        three,
        one,
        two
      ]),
      ["browser received a 2 after 3"]
    ],
    ["one that was not answered comes twice", [sent(1, unanswered)], browser([one, one]), [
      "browser received a 1 twice"
    ]],
    ["one comes after one that was not answered", [one, sent(2, unanswered)], browser([two, one]), [
      "browser received a 1 after 2"
    ]]
  ])("says it where %s", (_, broadcasts, subscription, wrongs) => {
    // Another one that receives all says nothing of this one.
    const other = browser(broadcasts.filter(({ refused }) => refused !== true), { name: "another" })
    assert.deepStrictEqual(checkBroadcasts(broadcasts, [other, subscription]), wrongs)
  })
})

describe("the checker of lifecycle events", () => {
  const event = (
    lifecycle: string,
    data: Transition["data"],
    id = `${lifecycle} ${data.sid ?? data.uid}`
  ): Transition => (
    { lifecycle: `:lifecycle/${lifecycle}`, id, data }
  )
  const [ann, joe] = [{ channel: "room", uid: "ann" }, { channel: "room", uid: "joe" }]
  const good = [
    event("browserConnected", { sid: "1" }),
    event("browserConnected", { sid: "2" }),
    event("channelOccupied", { channel: "room" }),
    event("memberJoined", ann),
    event("memberJoined", joe),
    event("browserDisconnected", { sid: "2" }),
    event("memberLeft", joe)
  ]
  const rest = { sids: ["1"], channel: "room", members: ["ann"] }

  it.each<[string, ReadonlyArray<Transition>, ReadonlyArray<string>]>([
    ["each was emitted once", good, []],
    ["one is delivered twice", [...good, good[3]!], []],
    ["another channel is occupied", [...good, event("channelOccupied", { channel: "other" }, "x")], []],
    ["one is emitted twice", [...good, event("memberJoined", ann, "x")], [
      "ann was memberJoined 2 times, memberLeft 0 times, and is there"
    ]],
    ["one is missing", good.slice(0, -1), ["joe was memberJoined 1 times, memberLeft 0 times, and is gone"]],
    ["a connection begins again", [
      ...good,
      event("browserConnected", { sid: "2" }, "x"),
      event("browserDisconnected", { sid: "2" }, "y")
    ], ["2 was browserConnected 2 times, browserDisconnected 2 times, and is gone"]],
    ["nobody has said that one is there", good.slice(1), [
      "1 was browserConnected 0 times, browserDisconnected 0 times, and is there"
    ]]
  ])("says it where %s", (_, transitions, wrongs) => {
    assert.deepStrictEqual(checkTransitions(transitions, rest), wrongs)
  })
})

describe("the checker of what the library's browsers hear", () => {
  const sent = (n: number, times: Partial<Broadcast> = {}, sender = "a"): Broadcast => (
    { sender, n, channel: "kept", begun: n * 10, answered: n * 10 + 5, ...times }
  )
  const [one, two, three] = [sent(1), sent(2), sent(3)]
  const gap = { gap: "epoch" }
  const all = [one, two, three]

  it.each<[string, ReadonlyArray<Broadcast>, Listener["heard"], ReadonlyArray<string>, number?]>([
    ["all is heard", all, all, []],
    ["one is missing", all, [one, three], ["ann did not hear a 2, and was not told"]],
    ["a gap is where one is missing", all, [one, gap, three], []],
    ["a gap is elsewhere", all, [one, three, gap], ["ann did not hear a 2, and was not told"]],
    ["the last are missing", all, [one], [
      "ann did not hear a 2, and was not told",
      "ann did not hear a 3, and was not told"
    ]],
    ["a gap is at the end", all, [one, gap], []],
    ["the gap is that of another sender, too", [...all, sent(1, {}, "b")], [one, gap, three], []],
    ["one was begun before it came", all, [two, three], [], 15],
    ["one was not answered", [one, sent(2, { answered: undefined }), three], [one, three], []],
    ["one is heard twice", all, [...all, one], ["ann heard a 1 twice"]],
    ["one is heard twice, with a gap between", all, [one, gap, ...all], ["ann heard a 1 twice"]],
    ["the order is wrong", all, [two, one, three], ["ann heard a 1 after 2"]],
    ["one was refused", [one, sent(2, { answered: undefined, refused: true })], [one, two], [
      "ann heard a 2, which was refused"
    ]],
    ["one was never sent", [one], [one, two], ["ann heard a 2, which was never sent"]]
  ])("says it where %s", (_, broadcasts, heard, wrongs, since = 0) => {
    assert.deepStrictEqual(checkListeners(broadcasts, [{ name: "ann", since, heard }]), wrongs)
  })
})

const isShort = process.env["LONG_TESTS"] === undefined

/** What goes wrong does it during messages all the same. `npm run chaos` sends more of them. */
const pause = 40

const skips = (skip: (note: string) => void) => Effect.sync(() => skip("it takes half a minute: run npm run test-long"))

describe("chaos: whatever happens to workers, to the broker and to the network", () => {
  it.live(
    "every event that was confirmed is handled, and every broadcast received",
    ({ skip }) =>
      Effect.gen(function*() {
        if (isShort) return yield* skips(skip)
        const report = yield* run({ duration: 0, seed: 1, pause })
        console.log(report)
        assert.deepInclude(report, { losses: [], wrongs: [] })
        assert.isAbove(report.redelivered, 0)
        assert.isAbove(report.broadcasts.received, 0)
        assert.isAbove(report.broadcasts.heard, 0)
      }),
    120_000
  )
})

RedisServer.describeWithRedis("chaos: whatever happens to nodes, to their Redis and to the network between", () => {
  it.live(
    "every event is handled, every broadcast received, all know who is there, and say it once",
    ({ skip }) =>
      Effect.gen(function*() {
        if (isShort) return yield* skips(skip)
        const deeds = ["nodeFrozen", "workerKilled", "nodeKilled", "redisKilled", "redisCut", "browserCut"]
        const report = yield* run({ duration: 0, seed: 1, pause, nodes: 3, deeds })
        console.log(report)
        assert.deepInclude(report, { losses: [], wrongs: [] })
        for (const count of [report.broadcasts.received, report.broadcasts.heard, report.transitions]) {
          assert.isAbove(count, 0)
        }
      }),
    120_000
  )
})
