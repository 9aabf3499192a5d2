/**
 * What a backend does over real sockets. What each command does in detail is tested without them.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import {
  ackingWorker,
  allHandled,
  connectBrowser,
  delivery,
  enqueue,
  event,
  lobby,
  numbersReceived,
  requestOver,
  tcp,
  transports,
  worker,
  zmq
} from "../../../harness/backends.ts"
import { eventually } from "../../../harness/eventually.ts"
import { TestBroker } from "../../../harness/TestBroker.ts"
import { withBroker } from "../../../harness/withBroker.ts"

describe("BackendEndpoint", () => {
  describe.each(transports)("over $name", ({ connect }) => {
    it.effect("executes a Client's requests, and delivers events to a Worker that acks", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const request = requestOver(connect)
        const browser = yield* connectBrowser
        expect(yield* request("OC", "fresh")).toEqual(["OK"])
        const [, token] = yield* request("AT", "joe", ".*")
        yield* browser.send({ auth: { token } })
        yield* browser.send({ subscribe: { channel: "fresh" } })
        yield* browser.nextOf(":subscribed")
        expect(yield* request("BC", "fresh", "hello", `{"what":"zażółć 🚀"}`)).toEqual(["OK"])
        expect(yield* browser.next).toEqual({ hello: { what: "zażółć 🚀", channel: "fresh" } })
        expect(yield* request("BC", "nope", "hello", "{}")).toEqual(["ER", "454"])
        const self = yield* ackingWorker(connect, 2)
        yield* browser.send({ trigger: { event: "e" } })
        const [, json, id, attempt, origin] = yield* self.next
        expect([json, attempt]).toEqual([JSON.stringify({ e: { sid: browser.sid } }), "1"])
        expect(JSON.parse(origin!)).toEqual({ sid: browser.sid, uid: "joe" })
        yield* self.send("NK", id!, "")
        expect(yield* self.next).toEqual(["TR", json, id, "2", origin])
        yield* self.send("AK", id!)
        yield* eventually(Effect.sync(() => vhost.lobby.counters.acknowledged), (count) => count === 1)
        yield* enqueue(event(1))
        yield* delivery(self, event(1), 1)
        yield* self.send("QT")
        yield* eventually(lobby, ({ workers }) => workers.length === 0)
        expect(vhost.lobby.counters).toMatchObject({ queued: 1, redelivered: 2 })
      }).pipe(withBroker()))

    it.effect("delivers many events in order, none twice and none lost", () =>
      Effect.gen(function*() {
        const [a, b] = [yield* worker(connect), yield* worker(connect)]
        const count = 2000
        for (let n = 0; n < count; n++) yield* enqueue(event(n))
        const [byA, byB] = [yield* numbersReceived(a), yield* numbersReceived(b)]
        yield* eventually(Effect.sync(() => byA.length + byB.length), (received) => received === count)
        const sorted = (numbers: ReadonlyArray<number>) => numbers.toSorted((x, y) => x - y)
        // Neither receives much more than the other.
        for (const received of [byA, byB]) {
          expect(received).toEqual(sorted(received))
          expect(received.length).toBeGreaterThan(count / 3)
        }
        expect(sorted([...byA, ...byB])).toEqual(Array.from({ length: count }, (_, n) => n))
      }).pipe(withBroker()))
  })

  it.effect("shares events between workers of both transports", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* worker(zmq), yield* worker(tcp)]
      yield* Effect.forEach([a, b], allHandled)
      for (let n = 0; n < 6; n++) yield* enqueue(event(n))
      for (let n = 0; n < 6; n++) expect(yield* (n % 2 === 0 ? a : b).next).toEqual(["TR", event(n)])
      // Two endpoints tick one lobby, but no worker receives more heartbeats.
      for (let n = 0; n < 3; n++) {
        yield* TestClock.adjust("500 millis")
        for (const self of [a, b]) {
          expect(yield* self.next).toEqual(["HB"])
          yield* self.send("HB")
          expect(yield* self.next).toEqual(["HB"])
        }
      }
      yield* enqueue(event(6))
      expect(yield* a.next).toEqual(["TR", event(6)])
    }).pipe(withBroker()))
})
