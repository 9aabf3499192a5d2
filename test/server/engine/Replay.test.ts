import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { InternalError } from "../../../src/protocol/KosmonautError.ts"
import * as Lifecycle from "../../../src/protocol/Lifecycle.ts"
import type * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import type { Worker } from "../../../src/server/engine/Lobby.ts"
import * as Vhosts from "../../../src/server/engine/Vhosts.ts"
import { settings } from "../../harness/engine.ts"

/** A vhost with so many dead letters, whose ids are their numbers. */
const vhostWith = Effect.fnUntraced(function*(letters: number, options?: BrokerConfig.Options) {
  const vhosts = yield* Effect.provide(Vhosts.make, settings(options))
  const vhost = yield* vhosts.add({ path: "/test" })
  const add = (...ids: ReadonlyArray<number>) =>
    Effect.forEach(
      ids,
      (n) =>
        vhost.deadLetters.add({
          id: String(n),
          json: `{"e":{"n":${n}}}`,
          origin: `{"uid":"u${n}"}`,
          attempts: 1,
          reason: "no"
        }),
      { discard: true }
    )
  yield* add(...Array.from({ length: letters }, (_, n) => n))
  return { vhost, add, ids: Effect.map(vhost.deadLetters.list, (letters) => letters.map(({ id }) => id)) }
})

/** A worker that takes everything, and what it got. */
const worker = () => {
  const got: Array<string> = []
  const worker: Worker = {
    id: "worker",
    connection: {},
    lifecycle: false,
    prefetch: undefined,
    maxAttempts: 1,
    deliverUnsafe: (json, origin, settled) => {
      got.push(`${json} ${origin}`)
      settled(true)
    },
    heartbeatUnsafe: () => {},
    dismiss: Effect.void
  }
  return { worker, got }
}

/** It does not ack, and is given events after its first heartbeat. */
const join = (vhost: Vhosts.Vhost, worker: Worker) =>
  Effect.andThen(vhost.lobby.register(worker), vhost.lobby.heartbeat(worker.id))

const event = (n: number) => `{"e":{"n":${n}}} {"uid":"u${n}"}`

describe("Replay", () => {
  it.effect("enqueues all dead letters unchanged, the oldest first", () =>
    Effect.gen(function*() {
      const { ids, vhost } = yield* vhostWith(20)
      const { got, worker: everything } = worker()
      yield* join(vhost, everything)
      expect(yield* vhost.replayAll).toEqual({ replayed: 20, left: 0 })
      expect(got).toEqual(Array.from({ length: 20 }, (_, n) => event(n)))
      expect(yield* ids).toEqual([])
      expect(yield* vhost.replayAll).toEqual({ replayed: 0, left: 0 })
    }))

  it.effect("stops if the queue is full, and leaves the rest unchanged", () =>
    Effect.gen(function*() {
      const { ids, vhost } = yield* vhostWith(5, { queue: { capacity: 3 } })
      const before = yield* vhost.deadLetters.list
      expect(yield* vhost.replayAll).toEqual({ replayed: 3, left: 2 })
      expect(yield* vhost.deadLetters.list).toEqual(before.slice(3))
      expect(yield* vhost.replayAll).toEqual({ replayed: 0, left: 2 })
      expect(yield* Effect.flip(vhost.replay("4"))).toBeInstanceOf(InternalError)
      expect(yield* ids).toEqual(["3", "4"])
      const { got, worker: everything } = worker()
      yield* join(vhost, everything)
      expect(yield* vhost.replayAll).toEqual({ replayed: 2, left: 0 })
      expect(got).toEqual([0, 1, 2, 3, 4].map(event))
    }))

  it.effect("delivers lifecycle events to workers that take them, and leaves them dead letters without one", () =>
    Effect.gen(function*() {
      const { add, ids, vhost } = yield* vhostWith(1)
      const { data, event: name } = Lifecycle.channelOccupied("room")
      const json = JSON.stringify({ [name]: data })
      yield* vhost.deadLetters.add({ id: "l", json, origin: undefined, attempts: 1, reason: "no" })
      yield* add(1)
      const ordinary = worker()
      yield* join(vhost, ordinary.worker)
      expect(yield* Effect.flip(vhost.replay("l"))).toBeInstanceOf(InternalError)
      expect(yield* vhost.replayAll).toEqual({ replayed: 2, left: 1 })
      expect(ordinary.got).toEqual([0, 1].map(event))
      expect(yield* ids).toEqual(["l"])
      const taking = worker()
      yield* join(vhost, { ...taking.worker, id: "taking", lifecycle: true })
      expect(yield* vhost.replayAll).toEqual({ replayed: 1, left: 0 })
      expect([ordinary.got.length, taking.got]).toEqual([2, [`${json} undefined`]])
    }))

  it.effect("enqueues each dead letter once, also if others replay and discard meanwhile", () =>
    Effect.gen(function*() {
      const count = 5000
      const { vhost } = yield* vhostWith(count, { deadLetters: { capacity: count } })
      const { got, worker: everything } = worker()
      yield* join(vhost, everything)
      const discarding = yield* Effect.forkChild(Effect.map(vhost.deadLetters.takeAll, ({ length }) => length))
      const one = yield* Effect.forkChild(vhost.replay("4999"))
      const all = yield* Effect.forkChild(vhost.replayAll)
      const { left, replayed } = yield* vhost.replayAll
      const others = yield* Effect.all([Fiber.join(discarding), Fiber.join(one), Fiber.join(all)])
      expect([replayed, left]).toEqual([count, 0])
      expect(others).toEqual([0, false, { replayed: 0, left: 0 }])
      expect(got.length).toBe(count)
    }))

  it.effect("lists dead letters from a cursor on while others are added and removed", () =>
    Effect.gen(function*() {
      const { add, vhost } = yield* vhostWith(6, { deadLetters: { capacity: 6 } })
      const after = (cursor: number) =>
        Effect.map(vhost.deadLettersAfter(cursor), (letters) =>
          Array.from(letters, ({ cursor, value }) => [value.id, cursor] as const))
      const all = yield* after(0)
      expect(all.map(([id]) =>
        id
      )).toEqual(["0", "1", "2", "3", "4", "5"])
      const cursor = all[2]![1]
      // What was read goes, so does what comes next; and the oldest is dropped for what is new.
      for (const id of ["1", "2", "3"]) yield* vhost.deadLetters.take(id)
      yield* add(6, 7, 8, 9)
      expect((yield* after(cursor)).map(([id]) => id)).toEqual(["4", "5", "6", "7", "8", "9"])
      const [last] = (yield* after(cursor)).slice(-1)
      expect(yield* after(last![1])).toEqual([])
      yield* add(10)
      expect((yield* after(last![1])).map(([id]) => id)).toEqual(["10"])
    }))
})
