/**
 * Browsers that the broker disconnects: since they are silent, have not authenticated or send too much, or since a backend
 * says so; and what they see of it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { BrokerMetrics } from "../../../src/server/index.ts"
import * as BrokerSide from "../../harness/brokerSide.ts"
import { eventually, turn } from "../../harness/eventually.ts"
import * as RawTcp from "../../harness/RawTcp.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { TestBroker } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

type Raw = Effect.Success<ReturnType<typeof RawWebSocket.connect>>

/** A browser made by hand, past its greeting, on the channel `room`. */
const subscriber = Effect.gen(function*() {
  const { broker } = yield* TestBroker
  const raw = yield* RawWebSocket.connect(broker.websocketPort, "/test")
  yield* raw.next
  yield* raw.send(1, `{"subscribe":{"channel":"room"}}`)
  yield* raw.next
  return raw
})

const subscribers = Effect.flatMap(
  TestBroker,
  ({ vhost }) => Effect.map(vhost.channels.describe("room"), ({ subscribers }) => subscribers)
)

/** The code and the reason of the next close frame. */
const closed = (raw: Raw): Effect.Effect<string, unknown> =>
  Effect.flatMap(
    raw.next,
    ({ opcode, payload }) =>
      opcode === 8 ? Effect.succeed(`${payload.readUInt16BE(0)} ${payload.toString("utf8", 2)}`.trim()) : closed(raw)
  )

const frame = (opcode: number, text: string, fin = true) =>
  Buffer.concat([RawWebSocket.header(opcode, Buffer.byteLength(text), fin), Buffer.from(text)])

describe("a browser that is silent", () => {
  it.effect("is disconnected and unsubscribed, and not if it sends anything", () =>
    Effect.gen(function*() {
      const { of } = yield* BrokerSide.watch
      const [silent, answers, speaks] = [yield* subscriber, yield* subscriber, yield* subscriber]
      const read = (raw: Raw) => of(raw.socket).bytesRead
      const alive: ReadonlyArray<readonly [Raw, Buffer]> = [
        [answers, frame(10, "")],
        [speaks, frame(1, `{"subscribe":{"channel":"room"}}`)]
      ]
      for (let round = 0; round < 3; round++) {
        yield* TestClock.adjust("25 seconds")
        for (const [raw, bytes] of alive) {
          while ((yield* raw.next).opcode !== 9);
          const before = read(raw)
          yield* raw.sendBytes(bytes)
          yield* eventually(Effect.sync(() => read(raw)), (now) => now > before)
        }
        if (round === 0) assert.strictEqual((yield* silent.next).opcode, 9)
        yield* eventually(subscribers, (count) => count === (round === 0 ? 3 : 2))
      }
      assert.strictEqual(yield* closed(silent), "1001 nothing was received since the last ping")
    }).pipe(withBroker()))

  it.live("is not disconnected if the broker, or both, stood still", () =>
    Effect.gen(function*() {
      let pings = 0
      const answering = Effect.tap(subscriber, ({ socket }) =>
        Effect.sync(() => {
          socket.on("data", (bytes) => {
            if (!bytes.includes(0x89)) return
            pings++
            socket.write(frame(10, ""))
          })
        }))
      yield* Effect.replicateEffect(answering, 20)
      const end = performance.now() + 600
      while (performance.now() < end);
      yield* eventually(Effect.sync(() => pings), (pings) => pings >= 20 * 4)
      assert.strictEqual(yield* subscribers, 20)
    }).pipe(withBroker({ browsers: { pingInterval: "300 millis" } })))

  it.live("is destroyed soon if it never answers the close frame", () =>
    Effect.gen(function*() {
      const { of } = yield* BrokerSide.watch
      const raw = yield* subscriber
      raw.socket.pause()
      const kept = of(raw.socket)
      yield* eventually(subscribers, (count) => count === 0)
      yield* eventually(Effect.sync(() => kept.destroyed), (destroyed) => destroyed)
    }).pipe(withBroker({ browsers: { pingInterval: "100 millis" } })))
})

describe("a browser that ends its side of the connection", () => {
  it.live("is destroyed soon even if it does not read what is queued", () =>
    Effect.gen(function*() {
      const { broker, vhost } = yield* TestBroker
      const { of } = yield* BrokerSide.watch
      const socket = yield* RawTcp.halfOpen(broker.websocketPort, RawWebSocket.upgrade("/test"))
      socket.write(frame(1, `{"subscribe":{"channel":"room"}}`))
      yield* eventually(subscribers, (count) => count === 1)
      const kept = of(socket)
      while (kept.writableLength === 0) {
        yield* vhost.channels.broadcast("room", "n", { text: "x".repeat(200_000) })
        yield* turn
      }
      socket.end()
      yield* eventually(subscribers, (count) => count === 0)
      assert.isTrue(kept.destroyed)
    }).pipe(withBroker()))
})

describe("a browser that has to authenticate", () => {
  it.effect("is disconnected with 1008 if it does not in time", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const reason = "1008 the browser has not authenticated in time"
      const [late, joe] = [yield* subscriber, yield* subscriber]
      const token = Redacted.value(yield* vhost.accessTokens.issue("joe", ".*"))
      yield* joe.send(1, JSON.stringify({ auth: { token } }))
      assert.include((yield* joe.next).payload.toString(), ":authenticated")
      yield* TestClock.adjust("9 seconds")
      yield* late.send(1, `{"unsubscribe":{"channel":"room"}}`)
      assert.include((yield* late.next).payload.toString(), ":unsubscribed")
      const oneLeft = eventually(
        Effect.andThen(TestClock.adjust("1 second"), Effect.sync(vhost.browsers.count)),
        (count) => count === 1
      )
      yield* oneLeft
      assert.strictEqual(yield* closed(late), reason)
      const later = yield* subscriber
      yield* oneLeft
      assert.strictEqual(yield* closed(later), reason)
      assert.isFalse(yield* joe.hasEnded)
    }).pipe(withBroker({ browsers: { authenticationTimeout: "10 seconds", pingInterval: "1 hour" } })))
})

describe("a browser that sends without end", () => {
  it.live("receives the close code, however much it sends", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const flood = Buffer.concat(
        Array.from({ length: 300 }, () => frame(1, JSON.stringify({ unsubscribe: { channel: "x".repeat(400) } })))
      )
      const one = Effect.scoped(Effect.gen(function*() {
        const raw = yield* subscriber
        let isOver = false
        const pump = () => {
          if (isOver || raw.socket.destroyed) return
          if (raw.socket.write(flood)) setImmediate(pump)
          else raw.socket.once("drain", pump)
        }
        pump()
        yield* raw.next
        for (const { value } of (yield* vhost.channels.subscribersAfter("room", 0)).items) {
          yield* vhost.browsers.disconnect("sid", value.browser.sid)
        }
        const words: Array<string> = []
        const code = yield* Effect.suspend(function read(): Effect.Effect<number, unknown> {
          return Effect.flatMap(raw.next, ({ opcode, payload }) => {
            if (opcode === 8) return Effect.succeed(payload.readUInt16BE(0))
            words.push(payload.toString())
            return read()
          })
        })
        assert.strictEqual(code, 4403)
        assert.match(words.at(-1)!, /^{":closed"/)
        // As a browser does when it has read the close.
        isOver = true
        yield* raw.send(8, "\x03\xe8")
        yield* raw.ended
      }))
      yield* Effect.replicateEffect(one, 50, { discard: true })
    }).pipe(withBroker({ browsers: { byteRate: Infinity, messageRate: Infinity } })))

  it.live.each<[string, Buffer, string]>([
    ["pings", frame(9, "x"), "pings and pongs"],
    ["pongs", frame(10, "x"), "pings and pongs"],
    [
      "pieces of nothing",
      Buffer.concat([frame(1, "", false), ...Array.from({ length: 9 }, () => frame(0, "", false))]),
      ""
    ]
  ])("%s is disconnected, 1013", ([_, bytes, what]) =>
    Effect.gen(function*() {
      const raw = yield* subscriber
      for (let n = 0; n < 20; n++) yield* raw.sendBytes(Buffer.concat(Array.from({ length: 20 }, () => bytes)))
      const reason = yield* closed(raw)
      if (what !== "") assert.strictEqual(reason, `1013 the browser sends too many ${what}`)
      yield* eventually(subscribers, (count) => count === 0)
    }).pipe(withBroker()))

  it.live("bytes that are no messages is disconnected, 1013", () =>
    Effect.gen(function*() {
      const raw = yield* subscriber
      yield* raw.sendBytes(frame(1, " ", false))
      const piece = Buffer.concat(Array.from({ length: 1000 }, () => frame(0, "", false)))
      for (let n = 0; n < 6; n++) yield* raw.sendBytes(piece)
      assert.strictEqual(yield* closed(raw), "1013 the browser sends too many bytes")
    }).pipe(withBroker({ browsers: { byteRate: 1000 }, maxMessageSize: 1000 })))

  it.live("a message in too many fragments is disconnected, 1008", () =>
    Effect.gen(function*() {
      const raw = yield* subscriber
      const more = (count: number) => Buffer.concat(Array.from({ length: count }, () => frame(0, " ", false)))
      yield* raw.sendBytes(Buffer.concat([frame(1, `{"ping":`, false), more(1000), frame(0, "{}}")]))
      assert.strictEqual((yield* raw.next).payload.toString(), `{":pong":{}}`)
      yield* raw.sendBytes(Buffer.concat([frame(1, "{", false), more(1100)]))
      assert.match(yield* closed(raw), /^1008/)
    }).pipe(withBroker()))

  it.live("messages receives the reason, and is counted", () =>
    Effect.gen(function*() {
      const disconnected = Effect.map(
        Metric.value(Metric.withAttributes(BrokerMetrics.disconnectedBrowsers, { reason: "flood" })),
        ({ count }) => count
      )
      const before = yield* disconnected
      const raw = yield* subscriber
      for (let n = 0; n < 30; n++) yield* raw.sendBytes(frame(1, `{"ping":{}}`))
      assert.strictEqual(yield* closed(raw), "1013 a browser sends at most 2 messages a second")
      assert.strictEqual((yield* disconnected) - before, 1)
      const { vhost } = yield* TestBroker
      assert.isAtLeast(vhost.browsers.counters.rejected, 10)
    }).pipe(withBroker({ browsers: { messageRate: 2 } })))

  it.live("few pings is answered", () =>
    Effect.gen(function*() {
      const raw = yield* subscriber
      for (let n = 0; n < 50; n++) {
        yield* raw.send(9, `${n}`)
        const { opcode, payload } = yield* raw.next
        assert.deepStrictEqual([opcode, payload.toString()], [10, `${n}`])
      }
    }).pipe(withBroker()))
})
