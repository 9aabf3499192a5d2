import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { ackingWorker, delivery, enqueue, event, lobby, stillServes, tcp, worker } from "../../../harness/backends.ts"
import { eventually } from "../../../harness/eventually.ts"
import { identity } from "../../../harness/identity.ts"
import * as RawTcp from "../../../harness/RawTcp.ts"
import { TestBroker } from "../../../harness/TestBroker.ts"
import { withBroker } from "../../../harness/withBroker.ts"

describe("BackendEndpoint over TCP", () => {
  const connection = TestBroker.use(({ broker }) => RawTcp.connect(broker.tcpPort))

  it.effect("closes a Client's connection after one response, and executes nothing behind it", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const client = yield* connection
      const who = identity("req")
      yield* client.send(
        RawTcp.message(who, "", "OC", "first") + RawTcp.message(who, "", "OC", "second") +
          RawTcp.message("OC", "third")
      )
      expect(yield* client.rest).toBe("OK\n\n\r\n\r\n")
      expect((yield* vhost.channels.list).map(({ name }) => name)).not.toContain("second")
      expect((yield* vhost.channels.list).map(({ name }) => name)).not.toContain("third")
    }).pipe(withBroker()))

  it.effect("reads messages however their bytes are cut", () =>
    Effect.gen(function*() {
      const client = yield* connection
      for (const byte of Buffer.from(RawTcp.message(identity("req"), "", "BC", "room", "ż🚀", `{"a":"ż🚀"}`))) {
        yield* client.send(Buffer.from([byte]))
      }
      expect(yield* client.rest).toBe("OK\n\n\r\n\r\n")
    }).pipe(withBroker()))

  it.effect("accepts a worker's identity once or with every message", () =>
    Effect.gen(function*() {
      const self = yield* connection
      const who = identity("dlr")
      yield* self.send(RawTcp.message(who, "", "RD"))
      yield* self.next
      // The first heartbeat is not answered.
      yield* self.send(RawTcp.message("HB"))
      for (const message of [RawTcp.message("HB"), RawTcp.message(who, "", "HB"), RawTcp.message("HB", "")]) {
        yield* self.send(message)
        expect(yield* self.next).toBe("HB\n\n\r\n\r\n")
      }
    }).pipe(withBroker()))

  it.effect.each<[string, string]>([
    ["no identity", RawTcp.message("OC", "room")],
    ["an identity and nothing else", RawTcp.message(identity("req"), "")],
    ["an identity without the empty frame", RawTcp.message(identity("req"), "OC", "room")],
    ["nothing at all", "\r\n\r\n"],
    ["only empty frames", RawTcp.message("", "", "", "")],
    ["only line breaks", "\n".repeat(100) + "\r\n\r\n"],
    ["another protocol", "GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n"]
  ])("responds with an error and closes for %s", ([_, message]) =>
    Effect.gen(function*() {
      const client = yield* connection
      yield* client.send(message)
      expect(yield* client.rest).toMatch(/^ER\n40[02]\n\r\n\r\n$/)
      yield* stillServes
    }).pipe(withBroker()))

  it.effect("survives random bytes", () =>
    Effect.gen(function*() {
      const other = yield* worker(tcp)
      for (let n = 0; n < 30; n++) {
        const junk = yield* connection
        // By this first byte the peer would speak ZeroMQ.
        const bytes = randomBytes(50 * n).map((byte, index) => index === 0 && byte === 0xff ? 0 : byte)
        yield* junk.send(Buffer.concat([bytes, Buffer.from(n % 2 === 0 ? "\n\r\n\r\n" : "")]))
        junk.socket.end()
        expect(yield* junk.rest).toMatch(/^(ER\n40[02]\n\r\n\r\n)?$/)
      }
      yield* enqueue(event(1))
      expect(yield* other.next).toEqual(["TR", event(1)])
      yield* stillServes
    }).pipe(withBroker()))

  it.effect("reads a message at the limit; beyond it the response is ER 400, or 402 without an identity", () =>
    Effect.gen(function*() {
      const other = yield* worker(tcp)
      const sized = (size: number) => {
        const empty = RawTcp.message(identity("req"), "", "BC", "room", "e", "").length
        return RawTcp.message(identity("req"), "", "BC", "room", "e", "x".repeat(size - empty))
      }
      const fits = yield* connection
      yield* fits.send(sized(2000))
      expect(yield* fits.rest).toBe("OK\n\n\r\n\r\n")
      const unidentified = ["x".repeat(2001), "\n".repeat(2001)]
      for (
        const [message, code] of [
          [sized(2001), 400],
          ...unidentified.map((text) => [text, 402] as const)
        ] as const
      ) {
        const large = yield* connection
        yield* large.send(message)
        expect(yield* large.rest).toBe(`ER\n${code}\n\r\n\r\n`)
      }
      yield* enqueue(event(1))
      expect(yield* other.next).toEqual(["TR", event(1)])
      yield* stillServes
    }).pipe(withBroker({ maxMessageSize: 2000 })))

  it.effect("cuts off a flood without end", () =>
    Effect.gen(function*() {
      const flood = yield* connection
      let written = 0
      const megabyte = Buffer.alloc(1_048_576, "x")
      for (; written < 64 && flood.socket.writable; written++) yield* flood.send(megabyte)
      yield* flood.ended
      expect(written).toBeLessThan(64)
      yield* stillServes
    }).pipe(withBroker({ maxMessageSize: 2000 })))

  it.effect("responds with ER 400 to a worker beyond the limit, and closes it", () =>
    Effect.gen(function*() {
      const self = yield* tcp(identity("dlr"))
      yield* self.send("RD")
      expect(yield* self.next).toEqual(["HB"])
      yield* self.send("x".repeat(3000))
      expect(yield* self.next).toEqual(["ER", "400"])
      yield* self.connection.ended
      yield* eventually(lobby, ({ workers }) => workers.length === 0)
    }).pipe(withBroker({ maxMessageSize: 2000 })))

  it.effect.each<[string, string]>([
    ["its identity", identity("req").slice(0, 20)],
    ["its command", `${identity("req")}\n\nO`],
    ["its end", `${identity("req")}\n\nOC\nnever\n\r\n\r`]
  ])(
    "executes nothing for a peer that leaves in the middle of %s",
    ([_, bytes]) =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const [ends, cuts] = [yield* connection, yield* connection]
        yield* ends.send(bytes)
        ends.socket.end()
        expect(yield* ends.rest).toMatch(/^(ER\n(400|598)\n\r\n\r\n)?$/)
        yield* cuts.send(bytes)
        cuts.socket.resetAndDestroy()
        yield* stillServes
        expect((yield* vhost.channels.list).map(({ name }) => name)).not.toContain("never")
      }).pipe(withBroker())
  )

  it.effect("closes a peer that sends nothing, or nothing whole, after five seconds", () =>
    Effect.gen(function*() {
      const [silent, slow] = [yield* connection, yield* connection]
      yield* slow.send(`${identity("req")}\n\n`)
      // Connections are accepted in their order: when a later one gets its response, these are the broker's.
      yield* stillServes
      yield* TestClock.adjust("4 seconds")
      yield* slow.send("OC\n")
      yield* stillServes
      yield* TestClock.adjust("999 millis")
      yield* stillServes
      expect([yield* silent.hasEnded, yield* slow.hasEnded]).toEqual([false, false])
      yield* TestClock.adjust("1 millis")
      expect([yield* silent.rest, yield* slow.rest]).toEqual(["", ""])
    }).pipe(withBroker()))

  it.effect("removes a worker at once when its connection ends", () =>
    Effect.gen(function*() {
      for (const how of ["end", "reset"]) {
        const self = yield* tcp(identity("dlr"))
        yield* self.send("RD")
        yield* self.next
        expect((yield* lobby).workers.length).toBe(1)
        if (how === "end") self.connection.socket.end()
        else self.connection.socket.resetAndDestroy()
        // The clock stands still: it cannot have expired.
        yield* eventually(lobby, ({ workers }) => workers.length === 0)
      }
      yield* enqueue(event(1))
      const next = yield* worker(tcp)
      expect(yield* next.next).toEqual(["TR", event(1)])
    }).pipe(withBroker()))

  it.effect.each<["end" | "reset" | "nonsense"]>([["end"], ["reset"], ["nonsense"]])(
    "redelivers the events of a worker at once when its connection is lost: %s",
    ([how]) =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const self = yield* tcp(identity("dlr"))
        yield* self.send("RD", "ack", "2", "{}")
        yield* self.next
        for (const n of [1, 2, 3]) yield* enqueue(event(n))
        const ids = [yield* delivery(self, event(1), 1), yield* delivery(self, event(2), 1)]
        const next = yield* ackingWorker(tcp, 10)
        yield* delivery(next, event(3), 1)
        if (how === "end") self.connection.socket.end()
        else if (how === "reset") self.connection.socket.resetAndDestroy()
        else yield* self.send("AK")
        // The clock stands still: it cannot have expired.
        expect([yield* delivery(next, event(1), 2), yield* delivery(next, event(2), 2)]).toEqual(ids)
        expect((yield* lobby).workers.length).toBe(1)
        yield* next.send("AK", ...ids)
        yield* eventually(Effect.sync(() => vhost.lobby.counters), ({ acknowledged }) => acknowledged === 2)
      }).pipe(withBroker())
  )

  it.effect("closes the connection of a worker that left, expired or was rejected", () =>
    Effect.gen(function*() {
      const [left, expired, refused] = [yield* tcp(identity("dlr")), yield* tcp(identity("dlr")), yield* tcp("x")]
      yield* left.send("RD")
      yield* left.next
      yield* left.send("QT")
      yield* left.connection.ended
      yield* refused.send("RD")
      yield* refused.connection.ended
      yield* expired.send("RD")
      yield* expired.next
      yield* TestClock.adjust("2 seconds")
      expect(yield* expired.connection.rest).toMatch(/QT\n\n\r\n\r\n$/)
    }).pipe(withBroker()))
})
