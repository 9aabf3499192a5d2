import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Vhosts } from "../../../../src/server/index.ts"
import { enqueue, event, lobby, numbersReceived, tcp, worker, zmq } from "../../../harness/backends.ts"
import * as BrokerSide from "../../../harness/brokerSide.ts"
import { eventually, turn } from "../../../harness/eventually.ts"
import { identity } from "../../../harness/identity.ts"
import * as RawZmq from "../../../harness/RawZmq.ts"
import { TestBroker } from "../../../harness/TestBroker.ts"
import { withBroker } from "../../../harness/withBroker.ts"

/** A worker over TCP that has stopped reading, and the broker's end of its connection. */
const deafWorker = Effect.gen(function*() {
  const { of } = yield* BrokerSide.watch
  const self = yield* tcp(identity("dlr"))
  yield* self.send("RD")
  yield* self.next
  yield* self.send("HB")
  self.connection.socket.pause()
  return { self, kept: of(self.connection.socket) }
})

describe("BackendEndpoint, a worker that does not read", { timeout: 120_000 }, () => {
  it.effect("and has gone over ZeroMQ receives nothing more, before it has expired", () =>
    Effect.gen(function*() {
      const stays = yield* worker(zmq)
      yield* Effect.scoped(worker(zmq))
      expect((yield* lobby).workers.length).toBe(2)
      const received = yield* numbersReceived(stays)
      // The broker takes a moment to notice. Every second event sent until then is lost, since the worker did not ack.
      let n = 0
      yield* eventually(
        Effect.andThen(Effect.suspend(() => enqueue(event(n++))), turn),
        () => received.some((number, index) => index > 0 && number === received[index - 1]! + 1)
      )
      for (let later = 1000; later < 1010; later++) yield* enqueue(event(later))
      yield* eventually(Effect.sync(() => received.at(-1)), (last) => last === 1009)
      expect(received.slice(-10)).toEqual(Array.from({ length: 10 }, (_, index) => 1000 + index))
      expect((yield* lobby).queued).toBe(0)
    }).pipe(withBroker()))

  it.effect("over ZeroMQ receives nothing more when its outbound queue is full", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const deaf = yield* RawZmq.deafDealer(broker.backendPort, identity("dlr"))
      yield* deaf.send("", "RD")
      yield* deaf.send("", "HB")
      yield* eventually(lobby, ({ workers }) => workers.length === 1)
      const received = yield* numbersReceived(yield* worker(zmq))
      const text = "x".repeat(2000)
      const count = 12_000
      for (let n = 0; n < count; n++) {
        yield* enqueue(`{"e":{"n":${n},"text":"${text}"}}`)
        if (n % 100 === 0) yield* turn
      }
      yield* eventually(Effect.sync(() => received.length), () => received.at(-1) === count - 1)
      // From some point on it receives all of them: what the other had no room for was not lost.
      const first = received.findIndex((n, index) => n + received.length - index === count)
      expect(received.length - first).toBeGreaterThan(1000)
    }).pipe(withBroker({ backends: { outboxSize: 1_048_576 } })))

  it.effect("over TCP costs no more than its outbound queue, and delays nobody", () =>
    Effect.gen(function*() {
      const { kept, self: deaf } = yield* deafWorker
      const received = yield* numbersReceived(yield* worker(tcp))
      const text = "x".repeat(500_000)
      for (let n = 0; n < 80; n++) {
        yield* enqueue(`{"e":{"n":${n},"text":"${text}"}}`)
        expect(kept.writableLength).toBeLessThan(4 * 1_048_576 + text.length + 100)
        yield* turn
      }
      // At first it is sent every second event, in the end none.
      yield* eventually(Effect.sync(() => received.at(-1)), (last) => last === 79)
      expect(received.slice(-20)).toEqual(Array.from({ length: 20 }, (_, index) => 60 + index))
      expect((yield* lobby).queued).toBe(0)
      // What is left in its outbound queue is sent to the other when the connection ends.
      const before = received.length
      deaf.connection.socket.resetAndDestroy()
      yield* eventually(lobby, ({ workers }) => workers.length === 1)
      yield* enqueue(event(80))
      yield* eventually(Effect.sync(() => received.at(-1)), (last) => last === 80)
      expect(received.length - before).toBeGreaterThan(4 * 1_048_576 / text.length)
      expect(new Set(received).size).toBe(received.length)
    }).pipe(withBroker({ backends: { outboxSize: 4 * 1_048_576 } })))

  it.effect("for a while receives what was sent to it before it was dismissed", () =>
    Effect.gen(function*() {
      const vhosts = yield* Vhosts.Vhosts
      const { kept, self: slow } = yield* deafWorker
      const text = "x".repeat(500_000)
      const json = (n: number) => `{"e":{"n":${n},"text":"${text}"}}`
      let sent = 0
      for (; sent < 40 && kept.writableLength < 2_000_000; sent++) {
        yield* enqueue(json(sent))
        yield* turn
      }
      expect(kept.writableLength).toBeGreaterThan(1_000_000)
      // The broker waits a second, which a busy machine may need for itself.
      const letGo = BrokerSide.holdOpen(kept)
      yield* vhosts.remove("/test")
      slow.connection.socket.resume()
      for (let n = 0; n < sent; n++) expect((yield* slow.next)[1] === json(n)).toBe(true)
      expect(yield* slow.connection.rest).toBe("QT\n\n\r\n\r\n")
      letGo()
    }).pipe(withBroker()))

  it.effect("and expires is cut off, and its events are redelivered", () =>
    Effect.gen(function*() {
      const { kept } = yield* deafWorker
      const text = "x".repeat(500_000)
      for (let n = 0; n < 40 && kept.writableLength < 2_000_000; n++) {
        yield* enqueue(`{"e":{"n":${n},"text":"${text}"}}`)
        yield* turn
      }
      const waiting = Math.floor(kept.writableLength / text.length)
      expect(waiting).toBeGreaterThan(1)
      yield* TestClock.adjust("2 seconds")
      expect((yield* lobby).workers).toEqual([])
      // The broker waits by a real clock until it is sure that the worker does not read.
      yield* eventually(
        Effect.andThen(TestClock.adjust("100 millis"), Effect.sync(() => kept.destroyed)),
        (destroyed) => destroyed
      )
      yield* eventually(lobby, (info) => info.queued >= waiting)
    }).pipe(withBroker()))
})
