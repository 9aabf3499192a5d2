import { expect, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Latch } from "effect"
import type { RequestResult } from "../../../src/server/engine/EventQueue.ts"
import * as SharedDeadLetters from "../../../src/server/engine/internal/sharedDeadLetters.ts"
import * as SharedLifecycle from "../../../src/server/engine/internal/sharedLifecycle.ts"
import * as SharedEventQueue from "../../../src/server/engine/internal/sharedQueue.ts"
import * as Lobby from "../../../src/server/engine/Lobby.ts"
import { Call, type SharedQueue, SharedQueueError } from "../../../src/server/engine/SharedQueue.ts"
import { eventually } from "../../harness/eventually.ts"
import * as RedisQueue from "../../harness/redisQueue.ts"
import { describeWithRedis } from "../../harness/redisServer.ts"

type Redis = Effect.Success<typeof RedisQueue.make>

/** A node: its lobby, on the queue of a vhost that it shares. */
const makeNode = Effect.fnUntraced(function*(redis: Redis, wrap: (shared: SharedQueue) => SharedQueue = (one) => one) {
  const clock = yield* Clock.Clock
  const { queues, self } = yield* redis.node()
  yield* Effect.forkScoped(queues.listen)
  const shared = wrap(queues.queueOf("/test", RedisQueue.limits))
  let queue!: SharedEventQueue.SharedEventQueue
  const lobby = Lobby.makeWith({
    heartbeatInterval: Duration.seconds(2),
    missedHeartbeats: 3,
    maxMessageSize: 1_048_576,
    clock
  }, (given) => queue = SharedEventQueue.make(shared, given))
  const running = yield* Effect.forkScoped(queue.run)
  return {
    self,
    lobby,
    queue,
    ...SharedDeadLetters.make(shared, queue),
    /** It does nothing any more. */
    freeze: Fiber.interrupt(running)
  }
})

type Node = Effect.Success<ReturnType<typeof makeNode>>

interface Received {
  readonly id: string
  readonly json: string
  readonly attempt: number
}

/** A worker that acks everything, unless it `holds` it. */
const join = ({ lobby }: Node, id: string, prefetch: number, options: {
  readonly holds?: boolean
  readonly responds?: boolean
  readonly lifecycle?: boolean
  readonly onEvent?: () => void
} = {}) => {
  const received: Array<Received> = []
  const connection = {}
  const worker: Lobby.Worker = {
    id,
    connection,
    lifecycle: options.lifecycle === true,
    responses: options.responds === true,
    prefetch,
    maxAttempts: 2,
    deliverUnsafe: (json, _origin, settled, delivery) => {
      received.push({ id: delivery!.id, json, attempt: delivery!.attempt })
      settled(true)
      options.onEvent?.()
      if (options.holds === true) return
      if (options.responds === true) lobby.respondUnsafe(id, connection, delivery!.id, "ok", `"${json}"`)
      else lobby.ackUnsafe(id, connection, [delivery!.id])
    },
    heartbeatUnsafe: () => {},
    dismiss: Effect.void
  }
  return Effect.as(lobby.register(worker), received)
}

/** Waits until a node has received as many events. */
const receive = (count: number, ...some: ReadonlyArray<ReadonlyArray<Received>>) =>
  eventually(Effect.sync(() => some.flat().length), (length) => length >= count)

const texts = (count: number) => Array.from({ length: count }, (_, index) => String(index))

const sorted = (...some: ReadonlyArray<ReadonlyArray<Received>>) =>
  some.flat().map(({ json }) => json).toSorted((a, b) => Number(a) - Number(b))

describeWithRedis("lobbies that share a queue", () => {
  it.live("deliver each event once, to a worker of any node, and let no node starve", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, two, three] = [yield* makeNode(redis), yield* makeNode(redis), yield* makeNode(redis)]
      const [a, b] = [yield* join(two, "a", 4), yield* join(three, "b", 4)]
      yield* Effect.forEach(texts(600), (text) => one.lobby.enqueue(text), { concurrency: 10 })
      yield* receive(600, a, b)
      expect(sorted(a, b)).toEqual(texts(600))
      expect(Math.min(a.length, b.length)).toBeGreaterThan(60)
      expect(new Set([...a, ...b].map(({ attempt }) => attempt))).toEqual(new Set([1]))
      yield* eventually(
        Effect.map(one.queue.call(Call.Discard({ id: "none" })), () => one.queue.infoOf("events")),
        ({ queued, unacked }) => queued + unacked === 0
      )
    }).pipe(Effect.scoped))

  it.live("pass a response to the node of its sender", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, two] = [yield* makeNode(redis), yield* makeNode(redis)]
      yield* join(two, "a", 4, { responds: true })
      const ask = (event: string) =>
        Effect.gen(function*() {
          const result = yield* Deferred.make<RequestResult>()
          yield* one.lobby.request({
            event,
            json: event,
            timeout: 10_000,
            respondUnsafe: (response) => void Deferred.doneUnsafe(result, Effect.succeed(response))
          })
          return yield* Deferred.await(result)
        })
      yield* eventually(Effect.exit(ask("x")), Exit.isSuccess)
      const results = yield* Effect.forEach(texts(50), ask, { concurrency: "unbounded" })
      expect(results).toEqual(texts(50).map((text) => ({ _tag: "Responded", outcome: "ok", json: `"${text}"` })))
    }).pipe(Effect.scoped))

  it.live("return what a node has when its lease has ended, and ignore what it does then", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, two] = [yield* makeNode(redis), yield* makeNode(redis)]
      const held = yield* join(one, "a", 5, { holds: true })
      for (const text of texts(8)) yield* one.lobby.enqueue(text)
      yield* receive(5, held)
      yield* one.freeze
      yield* redis.endLease(one.self)
      yield* one.queue.leave
      const again = yield* join(two, "b", 100)
      yield* receive(8, again)
      // Those that nobody had are first, as the end of the lease has to be found.
      expect(again.map(({ attempt, json }) => [json, attempt])).toEqual([
        ...["5", "6", "7"].map((json) => [json, 1]),
        ...texts(5).map((json) => [json, 2])
      ])
    }).pipe(Effect.scoped))

  it.live("return what a node has when it leaves, which is no loss", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, two] = [yield* makeNode(redis), yield* makeNode(redis)]
      const held = yield* join(one, "a", 5, { holds: true })
      for (const text of texts(8)) yield* one.lobby.enqueue(text)
      yield* receive(5, held)
      yield* one.freeze
      yield* one.queue.leave
      const again = yield* join(two, "b", 100)
      yield* receive(8, again)
      expect(again.map(({ json }) => json)).toEqual(texts(8))
    }).pipe(Effect.scoped))

  it.live("lose and double nothing if answers are lost", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      let calls = 0
      const lossy = (shared: SharedQueue): SharedQueue => ({
        ...shared,
        // Every third turn fails before it is executed, or after.
        run: (turn) =>
          Effect.suspend(() => {
            const lost = Effect.fail(new SharedQueueError({ detail: "lost", isFenced: false }))
            const which = calls++ % 6
            return which === 0 ? lost : which === 3 ? Effect.andThen(shared.run(turn), lost) : shared.run(turn)
          })
      })
      const [one, two] = [yield* makeNode(redis, lossy), yield* makeNode(redis, lossy)]
      const [a, b] = [yield* join(one, "a", 3), yield* join(two, "b", 3)]
      yield* Effect.forEach(texts(100), (text) => one.lobby.enqueue(text), { concurrency: 20 })
      yield* receive(100, a, b)
      expect(sorted(a, b)).toEqual(texts(100))
      expect(new Set([...a, ...b].map(({ attempt }) => attempt))).toEqual(new Set([1]))
    }).pipe(Effect.scoped))

  it.live("fail an enqueue that gets no answer, and say whether the event may be queued", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const isOpen = Latch.makeUnsafe(true)
      const isUnderWay = Latch.makeUnsafe(false)
      const one = yield* makeNode(redis, (shared) => ({
        ...shared,
        run: (turn) =>
          Effect.suspend(() => {
            if (isOpen.isOpen()) return shared.run(turn)
            if (turn.calls.length > 0) isUnderWay.openUnsafe()
            return Effect.fail(new SharedQueueError({ detail: "away", isFenced: false }))
          })
      }))
      yield* one.lobby.enqueue("0")
      isOpen.closeUnsafe()
      const errors = yield* Effect.forEach(texts(2), (text) =>
        Effect.andThen(text === "0" ? Effect.void : isUnderWay.await, Effect.flip(one.lobby.enqueue(text))), {
        concurrency: "unbounded"
      })
      expect(errors.map(({ message }) =>
        message
      )).toEqual([
        expect.stringContaining("may be queued"),
        expect.stringContaining("is not queued")
      ])
      isOpen.openUnsafe()
      const received = yield* join(one, "a", 9)
      yield* receive(2, received)
      expect(sorted(received)).toEqual(["0", "0"])
    }).pipe(Effect.scoped))

  it.live("emit each lifecycle event once, whoever emits it", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, two] = [yield* makeNode(redis), yield* makeNode(redis)]
      const [first, second] = [SharedLifecycle.make(one.queue, 100), SharedLifecycle.make(two.queue, 100)]
      const events = (from: number, to: number) =>
        texts(to + 1).slice(from).map((text) => ({
          number: Number(text),
          event: { event: `:lifecycle/${text}`, data: text === "3" ? { large: "x".repeat(100) } : {} }
        }))
      const received = yield* join(two, "a", 100, { lifecycle: true })
      yield* two.queue.call(Call.Discard({ id: "none" }))
      yield* Effect.all([first.emit("e", events(1, 4)), second.emit("e", events(1, 5))], { concurrency: 2 })
      yield* second.emit("e", events(2, 6))
      expect([yield* first.emitted("e"), yield* first.emitted("f"), yield* second.emitted("e")]).toEqual([6, 0, 6])
      yield* first.emit("f", events(1, 1))
      yield* receive(6, received)
      const texted = (...names: ReadonlyArray<number>) => names.map((name) => `{":lifecycle/${name}":{}}`)
      expect(received.map(({ json }) => json)).toEqual(texted(1, 2, 4, 5, 6, 1))
    }).pipe(Effect.scoped))

  it.live("replay a dead letter once, whoever asks", () =>
    Effect.gen(function*() {
      const redis = yield* RedisQueue.make
      const [one, two] = [yield* makeNode(redis), yield* makeNode(redis)]
      for (const text of texts(3)) {
        yield* one.deadLetters.add({ id: `l${text}`, json: text, origin: "{}", attempts: 3, reason: `it "failed"` })
      }
      expect(yield* two.deadLetters.list).toMatchObject(
        texts(3).map((text) => ({ id: `l${text}`, json: text, origin: "{}", attempts: 3, reason: `it "failed"` }))
      )
      const replayed = yield* Effect.all([one.replay.replay("l1"), two.replay.replay("l1")], { concurrency: 2 })
      expect(replayed.toSorted((one, other) => Number(one) - Number(other))).toEqual([false, true])
      expect(yield* two.deadLetters.take("l0")).toMatchObject({ id: "l0" })
      expect(yield* one.deadLetters.take("l0")).toBeUndefined()
      expect([...yield* one.replay.deadLettersAfter(1)].map(({ cursor, value }) => [cursor, value.id])).toEqual([
        [3, "l2"]
      ])
      expect(yield* two.replay.replayAll).toEqual({ replayed: 1, left: 0 })
      const received = yield* join(two, "a", 9)
      yield* receive(2, received)
      expect(received.map(({ attempt, json }) => [json, attempt])).toEqual([["1", 1], ["2", 1]])
      expect(two.deadLetters.counters.count).toBe(0)
    }).pipe(Effect.scoped))
})
