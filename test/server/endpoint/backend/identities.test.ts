import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { ackingWorker, Endpoint, enqueue, lobby, withEndpoint, worker } from "../../../harness/backendEndpoint.ts"
import { delivery, event } from "../../../harness/backends.ts"
import { identity } from "../../../harness/identity.ts"

/** Two workers of one identity, both ready. */
const twice = Effect.gen(function*() {
  const who = identity("dlr")
  const [old, fresh] = [yield* worker(who), yield* worker(who)]
  return { old, fresh }
})

describe("BackendEndpoint, two connections of one identity", () => {
  it.effect("send events to the later one, which stays when the earlier one ends", () =>
    Effect.gen(function*() {
      const { fresh, old } = yield* twice
      yield* enqueue(event(1))
      expect(yield* fresh.next).toEqual(["TR", event(1)])
      yield* old.lose
      yield* enqueue(event(2))
      expect(yield* fresh.next).toEqual(["TR", event(2)])
      expect((yield* lobby).workers.length).toBe(1)
    }).pipe(withEndpoint()))

  it.effect("redeliver the unacked events of the earlier one to the later one, which alone can ack them", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      const who = identity("dlr")
      const old = yield* ackingWorker(2, who)
      yield* enqueue(event(1))
      const one = yield* delivery(old, event(1), 1)
      const fresh = yield* ackingWorker(2, who)
      expect(yield* delivery(fresh, event(1), 2)).toBe(one)
      yield* old.send("AK", one)
      yield* old.send("NK", one, "it failed")
      yield* old.send("HB")
      expect(yield* old.next).toEqual(["QT"])
      expect(vhost.lobby.counters).toMatchObject({ acknowledged: 0, unacknowledged: 1, redelivered: 1 })
      yield* fresh.send("AK", one)
      expect(vhost.lobby.counters.acknowledged).toBe(1)
    }).pipe(withEndpoint()))

  it.effect("answer a heartbeat of the earlier one with QT", () =>
    Effect.gen(function*() {
      const { old } = yield* twice
      yield* old.send("HB")
      expect(yield* old.next).toEqual(["QT"])
    }).pipe(withEndpoint()))

  it.effect("end the earlier one alone when that sends QT", () =>
    Effect.gen(function*() {
      const { fresh, old } = yield* twice
      yield* old.send("QT")
      expect([old.isClosed(), fresh.isClosed()]).toEqual([true, false])
      expect((yield* lobby).workers.length).toBe(1)
      yield* enqueue(event(1))
      expect(yield* fresh.next).toEqual(["TR", event(1)])
    }).pipe(withEndpoint()))
})
