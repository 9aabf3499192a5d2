import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Call, type Turn } from "../../../src/server/engine/SharedQueue.ts"
import * as RedisQueue from "../../harness/redisQueue.ts"
import { describeWithRedis } from "../../harness/redisServer.ts"

const none = { workers: 0, credits: 0, idle: 0 }

const event = Call.Enqueue({
  lane: "events",
  json: `{"said":{}}`,
  origin: undefined,
  size: 12,
  delay: 0,
  dedupeKey: undefined,
  timeLeft: undefined,
  replyTo: undefined
})

const turn = (number: number): Turn => ({
  number,
  settled: [],
  calls: [event],
  capacity: { events: none, requests: none, lifecycle: none },
  responsesSeen: 0,
  takesResponses: false,
  isPoll: false
})

describeWithRedis("The queue of a vhost that is removed", () => {
  it.live("goes with the last node that leaves it, and fences nobody until then", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, other, dead] = [yield* redis.node(), yield* redis.node(), yield* redis.node()]
      const queueOf = ({ queues }: typeof one) => queues.queueOf("/a#1", RedisQueue.limits)
      for (const node of [one, other, dead]) yield* queueOf(node).run(turn(1))
      yield* redis.endLease(dead.self)
      yield* queueOf(one).end(one.self, false)
      yield* one.queues.remove("/a#1")
      // It has not learned of it yet.
      expect((yield* queueOf(other).run(turn(2))).answers).toEqual(["Queued"])
      yield* queueOf(other).end(other.self, false)
      yield* other.queues.remove("/a#1")
      expect(yield* redis.keysOf("/a#1")).toEqual([])
    }))

  it.live("expires if a node has left it to others that never come", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, other] = [yield* redis.node(), yield* redis.node()]
      yield* one.queues.queueOf("/a#1", RedisQueue.limits).run(turn(1))
      yield* other.queues.queueOf("/a#1", RedisQueue.limits).run(turn(1))
      yield* one.queues.remove("/a#1")
      const keys = (yield* redis.connection.send("KEYS", "*{/a#1}*")) as ReadonlyArray<string>
      expect(keys).not.toEqual([])
      for (const key of keys) expect(yield* redis.connection.send("PTTL", key)).toBeGreaterThan(0)
    }))
})
