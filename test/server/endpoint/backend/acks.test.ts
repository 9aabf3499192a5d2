import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { maxAcknowledged } from "../../../../src/protocol/Command.ts"
import {
  ackingWorker,
  type Backend,
  connect,
  connectBrowser,
  Endpoint,
  enqueue,
  lobby,
  request,
  withEndpoint,
  worker
} from "../../../harness/backendEndpoint.ts"
import { delivery, event } from "../../../harness/backends.ts"
import { identity } from "../../../harness/identity.ts"

describe("BackendEndpoint, a Worker that acks", () => {
  it.effect("holds as many events as its prefetch, each with an id, until it acks, nacks or releases them", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      const self = yield* ackingWorker(2)
      for (const n of [1, 2, 3, 4]) yield* enqueue(event(n))
      const [one, two] = [yield* delivery(self, event(1), 1), yield* delivery(self, event(2), 1)]
      expect((yield* lobby).queued).toBe(2)
      yield* self.send("AK", one, two)
      const three = yield* delivery(self, event(3), 1)
      const four = yield* delivery(self, event(4), 1)
      expect(new Set([one, two, three, four]).size).toBe(4)
      // Released, it is redelivered; after its second failure it is not.
      yield* self.send("NK", three, "")
      expect(yield* delivery(self, event(3), 2)).toBe(three)
      yield* self.send("NK", four, "Error: zażółć")
      yield* TestClock.adjust("200 millis")
      expect(yield* delivery(self, event(4), 2)).toBe(four)
      yield* self.send("NK", four, "Error: again")
      yield* self.send("AK", three)
      expect(vhost.lobby.counters.unacknowledged).toBe(0)
      expect(vhost.lobby.counters).toMatchObject({ acknowledged: 3, redelivered: 2, queued: 0 })
      expect(yield* vhost.deadLetters.list).toMatchObject([
        { id: four, json: event(4), attempts: 2, reason: "Error: again" }
      ])
    }).pipe(withEndpoint()))

  it.effect("may ack fifty events in one message", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      const self = yield* ackingWorker(maxAcknowledged)
      const ids: Array<string> = []
      for (let n = 0; n <= maxAcknowledged; n++) yield* enqueue(event(n))
      for (let n = 0; n < maxAcknowledged; n++) ids.push(yield* delivery(self, event(n), 1))
      yield* self.send("AK", ...ids)
      yield* delivery(self, event(maxAcknowledged), 1)
      expect(vhost.lobby.counters).toMatchObject({ acknowledged: maxAcknowledged, unacknowledged: 1 })
    }).pipe(withEndpoint()))

  it.effect("receives the origin of an event behind its id and attempt", () =>
    Effect.gen(function*() {
      const self = yield* ackingWorker(2)
      const browser = yield* connectBrowser
      const [_, accessToken] = yield* request("AT", "joe", ".*")
      yield* browser.send({ auth: { token: accessToken } })
      yield* browser.send({ trigger: { event: "e" } })
      const [word, json, id, attempt, origin, ...more] = yield* self.next
      expect([word, json, attempt, more]).toEqual(["TR", JSON.stringify({ e: { sid: browser.sid } }), "1", []])
      expect(JSON.parse(origin!)).toEqual({ sid: browser.sid, uid: "joe" })
      yield* self.send("NK", id!, "it failed")
      yield* TestClock.adjust("200 millis")
      expect(yield* self.next).toEqual(["TR", json, id, "2", origin])
    }).pipe(withEndpoint()))

  it.effect("may set its prefetch to 0 or another number while it is connected", () =>
    Effect.gen(function*() {
      const self = yield* ackingWorker(0)
      for (const n of [1, 2, 3]) yield* enqueue(event(n))
      yield* self.send("HB")
      expect(yield* self.next).toEqual(["HB"])
      // The other options may be absent.
      yield* self.send("RD", "ack", "1")
      expect(yield* self.next).toEqual(["HB"])
      const one = yield* delivery(self, event(1), 1)
      yield* self.send("RD", "ack", "0", "{}")
      expect(yield* self.next).toEqual(["HB"])
      yield* self.send("AK", one)
      yield* self.send("HB")
      expect(yield* self.next).toEqual(["HB"])
      expect((yield* lobby).queued).toBe(2)
    }).pipe(withEndpoint()))

  it.effect.each<["leaves" | "expires"]>([["leaves"], ["expires"]])(
    "and %s has its unacked events redelivered, whatever the next worker supports",
    ([how]) =>
      Effect.gen(function*() {
        const { vhost } = yield* Endpoint
        const self = yield* ackingWorker(3)
        for (const n of [1, 2, 3, 4]) yield* enqueue(event(n))
        const ids = [
          yield* delivery(self, event(1), 1),
          yield* delivery(self, event(2), 1),
          yield* delivery(self, event(3), 1)
        ]
        const go = (self: Backend) => how === "leaves" ? self.send("QT") : TestClock.adjust("2 seconds")
        yield* self.send("AK", ids[1]!)
        yield* delivery(self, event(4), 1)
        yield* go(self)
        expect((yield* lobby).queued).toBe(3)
        const next = yield* ackingWorker(1)
        expect(yield* delivery(next, event(1), 2)).toBe(ids[0])
        yield* next.send("NK", ids[0]!, "")
        expect(yield* delivery(next, event(1), 3)).toBe(ids[0])
        yield* go(next)
        const plain = yield* connect(identity("dlr"))
        yield* plain.send("RD", "{}")
        expect(yield* plain.next).toEqual(["HB"])
        yield* plain.send("HB")
        expect(yield* plain.next).toEqual(["TR", event(1)])
        expect(yield* plain.next).toEqual(["TR", event(3)])
        expect(yield* plain.next).toEqual(["TR", event(4)])
        yield* go(plain)
        // What a worker received that does not ack is handled.
        expect(vhost.lobby.counters).toMatchObject({ queued: 0, unacknowledged: 0, acknowledged: 1 })
        const bare = yield* worker()
        yield* enqueue(event(5))
        expect(yield* bare.next).toEqual(["TR", event(5)])
      }).pipe(withEndpoint())
  )

  it.effect("is ignored if it is unknown", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      const self = yield* ackingWorker(1)
      yield* enqueue(event(1))
      const one = yield* delivery(self, event(1), 1)
      const other = yield* connect(identity("dlr"))
      yield* other.send("AK", one)
      yield* other.send("NK", one, "it failed")
      yield* other.send("HB")
      expect(yield* other.next).toEqual(["QT"])
      expect(vhost.lobby.counters).toMatchObject({ acknowledged: 0, redelivered: 0, unacknowledged: 1 })
    }).pipe(withEndpoint()))
})
