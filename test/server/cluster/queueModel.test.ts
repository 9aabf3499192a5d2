import { expect, it } from "@effect/vitest"
import { Arbitrary, Duration, Effect } from "effect"
import { byteLength } from "../../../src/protocol/Frame.ts"
import { textOf } from "../../../src/server/cluster/internal/queue/codec.ts"
import { type Lane, Outcome } from "../../../src/server/engine/EventQueue.ts"
import { Call, type SharedQueue, type Turn, type TurnResult } from "../../../src/server/engine/SharedQueue.ts"
import * as Model from "../../harness/queueModel.ts"
import * as RedisQueue from "../../harness/redisQueue.ts"
import { describeWithRedis } from "../../harness/redisServer.ts"
import { costly, int, oneOf, pick } from "../../protocol/arbitraries.ts"

type Wish =
  | {
    readonly enqueue: Lane
    readonly size: number
    readonly delay: number
    readonly key: number
    readonly left: number
  }
  | { readonly cancel: number; readonly lane: Lane }
  | { readonly settle: number; readonly outcome: Outcome; readonly isSized: boolean }

type Step =
  | {
    readonly does: "turn"
    readonly node: number
    readonly wishes: ReadonlyArray<Wish>
    readonly credits: readonly [events: number, requests: number, lifecycle: number]
    readonly idle: number
    readonly isRepeated: boolean
    readonly takesResponses: boolean
  }
  | { readonly does: "wait"; readonly millis: number }
  | { readonly does: "endLease"; readonly node: number; readonly by: number }
  | { readonly does: "leave"; readonly node: number }

const outcomes: ReadonlyArray<Outcome> = [
  Outcome.Acked(),
  Outcome.Acked(),
  Outcome.Responded({ outcome: "ok", json: "1" }),
  Outcome.Nacked({ reason: "it failed", maxAttempts: 1 }),
  Outcome.Nacked({ reason: "it failed", maxAttempts: 3 }),
  Outcome.Released(),
  Outcome.Unsent(),
  Outcome.Lost({ isCounted: true }),
  Outcome.Lost({ isCounted: false })
]

const lane = pick<Lane>(["events", "events", "requests", "lifecycle"])

const wish: Arbitrary.Arbitrary<Wish> = oneOf<Wish>(
  Arbitrary.all({
    enqueue: lane,
    size: pick([1, 1, 400]),
    delay: pick([0, 0, 0, 50]),
    key: int(0, 6),
    left: pick([20, 200])
  }),
  Arbitrary.all({
    enqueue: lane,
    size: pick([1, 1, 400]),
    delay: pick([0, 0, 0, 50]),
    key: int(0, 6),
    left: pick([20, 200])
  }),
  Arbitrary.all({ cancel: int(1, 6), lane }),
  Arbitrary.all({ settle: int(0, 20), outcome: pick(outcomes), isSized: pick([true, true, false]) })
)

const node = int(0, 2)

const turn: Arbitrary.Arbitrary<Step> = Arbitrary.map(
  Arbitrary.all({
    node,
    wishes: Arbitrary.array(wish, { maxLength: 5 }),
    credits: Arbitrary.all([pick([0, 0, 1, 3, 20]), int(0, 4), int(0, 4)]),
    idle: pick([0, 0, 1, 2]),
    isRepeated: pick([true, false, false]),
    takesResponses: pick([true, true, false])
  }),
  (turn) => ({ does: "turn", ...turn })
)

const step = oneOf<Step>(
  turn,
  turn,
  turn,
  turn,
  Arbitrary.map(pick([1, 20, 60, 500]), (millis) => ({ does: "wait", millis })),
  Arbitrary.map(Arbitrary.all({ node, by: node }), (end) => ({ does: "endLease", ...end })),
  Arbitrary.map(node, (node) => ({ does: "leave", node }))
)

const bounds: Model.Bounds = { capacity: 12, size: 2000, maxDeliveries: 3, backoff: 40, retention: 100 }

interface Node {
  readonly queue: SharedQueue
  number: number
  responsesSeen: number
  /** The sizes of events that it was given. */
  readonly sizes: Map<number, number>
}

const capacityOf = (
  [events, requests, lifecycle]: readonly [number, number, number],
  idle = 0
): Turn["capacity"] => {
  const of = (credits: number) => ({ workers: credits > 0 ? 1 : 0, credits, idle: Math.min(idle, credits) })
  return { events: of(events), requests: of(Math.min(events, requests)), lifecycle: of(Math.min(events, lifecycle)) }
}

describeWithRedis("the queue that nodes share", () => {
  it.live(
    "equals a model, whatever three nodes do in whatever order, and whoever loses its lease",
    () =>
      Effect.gen(function*() {
        const redis = yield* RedisQueue.make
        let runs = 0
        const checked = yield* Arbitrary.checkEffect(
          Arbitrary.array(step, { minLength: 1, maxLength: 100 }),
          (steps) => Effect.as(Effect.catchDefect(check(redis, `/v${runs++}`, steps), Effect.fail), true),
          { ...costly(60, 100).arbitrary, maxShrinks: 500, replay: process.env["REPLAY"] }
        )
        if (checked._tag === "Falsified") expect.fail(explain({ ...checked, initialInput: undefined }))
        expect(checked._tag).toBe("Passed")
      }).pipe(Effect.scoped),
    costly(60).timeout
  )

  it.live("gives the oldest first if a delay has ended and others wait", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const enqueued = (delay: number): Wish => ({ enqueue: "events", size: 1, delay, key: 0, left: 20 })
      const turn = { does: "turn", idle: 0, isRepeated: false, takesResponses: true } as const
      yield* check(redis, "/", [
        { ...turn, node: 0, wishes: [enqueued(50), enqueued(50)], credits: [20, 0, 0] },
        { does: "wait", millis: 60 },
        { ...turn, node: 1, wishes: [enqueued(0)], credits: [3, 0, 0] }
      ])
    }).pipe(Effect.scoped))

  it.live("leaves a node that waits its share of what another enqueues", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const queueOf = Effect.map(redis.node(), ({ queues }) => queues.queueOf("/", RedisQueue.limits))
      const [one, other] = [yield* queueOf, yield* queueOf]
      const turn = (queue: SharedQueue, number: number, wish?: Wish) => {
        const calls = wish !== undefined && "enqueue" in wish ? [enqueueOf(wish, 1), enqueueOf(wish, 2)] : []
        const capacity = capacityOf([4, 0, 0], 1)
        const what = { number, settled: [], calls, capacity, responsesSeen: 0, takesResponses: false, isPoll: false }
        return Effect.map(queue.run(what), ({ claimed }) => claimed.length)
      }
      expect(yield* turn(other, 1)).toBe(0)
      expect(yield* turn(one, 1, { enqueue: "events", size: 1, delay: 0, key: 0, left: 20 })).toBe(1)
      expect(yield* turn(other, 2)).toBe(1)
    }).pipe(Effect.scoped))
})

const explain = (checked: object): string =>
  JSON.stringify(checked, (_, value) => value instanceof Error ? `${value.message}\n${value.stack}` : value, 1)
    .replaceAll("\\n", "\n").slice(0, 12_000)

type Redis = Effect.Success<typeof RedisQueue.make>

const check = Effect.fnUntraced(function*(redis: Redis, vhost: string, steps: ReadonlyArray<Step>) {
  let time = 1_000_000
  let created = 0
  const limits = {
    ...RedisQueue.limits,
    queueCapacity: bounds.capacity,
    queueSize: bounds.size,
    maxDeliveries: bounds.maxDeliveries,
    redeliveryBackoff: Duration.millis(bounds.backoff),
    lifecycleRetention: Duration.millis(bounds.retention),
    deadLetterCapacity: 10_000,
    deadLetterSize: 1_000_000
  }
  const now = () => time
  const model = Model.make(bounds, now)
  const begin = Effect.map(redis.node(now), ({ queues }): Node => ({
    queue: queues.queueOf(vhost, limits),
    number: 0,
    responsesSeen: 0,
    sizes: new Map()
  }))
  const nodes = [yield* begin, yield* begin, yield* begin]

  const run = Effect.fnUntraced(function*(node: Node, more: Partial<Turn>, isRepeated = false) {
    const turn: Turn = {
      number: ++node.number,
      settled: [],
      calls: [],
      capacity: capacityOf([0, 0, 0]),
      responsesSeen: node.responsesSeen,
      takesResponses: true,
      isPoll: false,
      ...more
    }
    const result: TurnResult = yield* node.queue.run(turn)
    node.responsesSeen = result.responses.length
    for (const { number, size } of result.claimed) if (size !== undefined) node.sizes.set(number, size)
    const calls = turn.calls.map((call) =>
      call._tag !== "Enqueue" ? call : {
        ...call,
        // What it takes in Redis.
        size: byteLength(textOf(node.queue.self, call)) + (call.lane === "requests" ? 512 : 0)
      }
    )
    model.run(node.queue.self, { ...turn, calls }, result)
    if (isRepeated) expect(yield* node.queue.run(turn)).toEqual(result)
  })
  const replace = Effect.fnUntraced(function*(index: number, by: number, isCounted: boolean) {
    const old = nodes[index]!
    if (isCounted) yield* redis.endLease(old.queue.self)
    nodes[index] = yield* begin
    yield* nodes[by]!.queue.end(old.queue.self, isCounted)
    model.end(old.queue.self, isCounted)
    // Nothing that it does counts.
    const held = model.all.map(({ number }) => number)
    const late = yield* Effect.exit(old.queue.run({
      number: old.number + 1,
      settled: [{ numbers: held, outcome: Outcome.Acked() }],
      calls: [],
      capacity: capacityOf([9, 9, 9]),
      responsesSeen: 0,
      takesResponses: true,
      isPoll: false
    }))
    expect(late._tag).toBe("Failure")
  })
  for (const step of steps) {
    switch (step.does) {
      case "turn": {
        const node = nodes[step.node]!
        const settled: Array<Turn["settled"][number]> = []
        const calls: Array<Call> = []
        const all = model.all.filter(({ place }) => typeof place === "object")
        for (const wish of step.wishes) {
          if ("settle" in wish) {
            const one = all[wish.settle % Math.max(1, all.length)]
            if (one === undefined) continue
            const isHeld = model.heldBy(node.queue.self).includes(one) &&
              !settled.some(({ numbers }) => numbers[0] === one.number)
            const size = isHeld && wish.isSized ? node.sizes.get(one.number) : undefined
            settled.push({
              numbers: [one.number],
              outcome: wish.outcome,
              sizes: size === undefined ? undefined : [size]
            })
          } else if ("cancel" in wish) {
            calls.push(Call.Cancel({ lane: wish.lane, dedupeKey: String(wish.cancel) }))
          } else calls.push(enqueueOf(wish, created++))
        }
        const { takesResponses } = step
        yield* run(
          node,
          { settled, calls, capacity: capacityOf(step.credits, step.idle), takesResponses },
          step.isRepeated
        )
        break
      }
      case "wait":
        time += step.millis
        break
      case "endLease":
        yield* replace(step.node, step.by, true)
        break
      case "leave": {
        const old = nodes[step.node]!
        yield* old.queue.end(old.queue.self, false)
        model.end(old.queue.self, false)
        nodes[step.node] = yield* begin
      }
    }
  }
  yield* drain(nodes, model, (millis) => time += millis, run, replace)
  expect((yield* redis.usedKeysOf(vhost)).filter((key) => !/^:(nodes|letters|order|times|mail:.*)$/.test(key)))
    .toEqual(
      []
    )
})

const enqueueOf = (
  { delay, enqueue, key, left, size }: Extract<Wish, { readonly enqueue: Lane }>,
  created: number
): Call =>
  Call.Enqueue({
    lane: enqueue,
    json: `${created}`.padEnd(size, "."),
    origin: created % 3 === 0 ? `o${created}` : undefined,
    size,
    delay,
    dedupeKey: key === 0 ? undefined : String(key),
    timeLeft: enqueue === "requests" ? left : undefined,
    replyTo: enqueue === "requests" ? `r${created}` : undefined
  })

// In the end everything is in exactly one place, and nothing is left in Redis.
const drain = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Node>,
  model: ReturnType<typeof Model.make>,
  wait: (millis: number) => void,
  run: (node: Node, more: Partial<Turn>) => Effect.Effect<void, unknown>,
  replace: (index: number, by: number, isCounted: boolean) => Effect.Effect<void, unknown>
) {
  yield* replace(1, 0, true)
  yield* replace(2, 0, true)
  const [last] = nodes
  const { queue, sizes } = last!
  for (let round = 0; round < 10; round++) {
    wait(10_000)
    const settled = model.heldBy(queue.self).map(({ number }) => {
      const size = sizes.get(number)
      return { numbers: [number], outcome: Outcome.Acked(), sizes: size === undefined ? undefined : [size] }
    })
    yield* run(last!, { settled, capacity: capacityOf([99, 99, 99]) })
  }
  const { acked, cancelled, dropped, expired } = model.fates
  expect(model.all.filter(({ place }) => place !== "gone")).toEqual([])
  expect(acked + cancelled + dropped + expired).toBeLessThanOrEqual(model.all.length)
  expect((yield* queue.deadLettersAfter(0)).map(({ letter }) => [letter.json, letter.attempts]))
    .toEqual(model.letters.slice(0, 100))
})
