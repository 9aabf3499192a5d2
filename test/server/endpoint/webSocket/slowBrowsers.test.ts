/** A browser that does not read costs no more than its outbound queue. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Socket } from "node:net"
import * as BrokerSide from "../../../harness/brokerSide.ts"
import { eventually, turn } from "../../../harness/eventually.ts"
import { TestBroker } from "../../../harness/TestBroker.ts"
import { connectBrowser, rawBrowser, stillServes, subscribe, subscribers } from "../../../harness/webSocketBrowsers.ts"
import { withBroker } from "../../../harness/withBroker.ts"

describe("WebSocketEndpoint", () => {
  // These wait for seconds, in which the others can do their work.
  describe.concurrent("a browser that does not read", { timeout: 120_000 }, () => {
    const outboxSize = 65_536
    const text = "x".repeat(262_144)

    /** A browser that is subscribed and has stopped reading, and the broker's end of its connection. */
    const slowBrowser = Effect.gen(function*() {
      const { of } = yield* BrokerSide.watch
      const slow = yield* rawBrowser
      yield* slow.send(1, `{"subscribe":{"channel":"room"}}`)
      yield* slow.next
      slow.socket.pause()
      return { slow, kept: of(slow.socket) }
    })

    /**
     * Broadcasts until the slow browser has had enough, and tells how often. The system's own buffers take some megabytes
     * first; beyond them there are two writes, and the queue.
     */
    const fill = Effect.fnUntraced(function*(kept: Socket) {
      const { vhost } = yield* TestBroker
      let sent = 0
      for (; sent < 400 && (yield* subscribers("room")) === 1; sent++) {
        yield* vhost.channels.broadcast("room", "n", { n: sent, text })
        expect(kept.writableLength).toBeLessThan(outboxSize + 3 * (text.length + 100))
        // One that is being disconnected has left the channel after the first turn, or at the latest after the second.
        yield* turn
        yield* turn
      }
      expect(yield* subscribers("room")).toBe(0)
      return sent
    })

    it.live("is disconnected, costs no more than its outbound queue, and delays nobody", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const healthy = yield* connectBrowser
        yield* subscribe(healthy, "room")
        const { kept } = yield* slowBrowser
        for (let n = 0; n < 100; n++) {
          yield* vhost.channels.broadcast("room", "n", { n, text })
          expect(kept.writableLength).toBeLessThan(outboxSize + 3 * (text.length + 100))
          expect(yield* healthy.next).toEqual({ n: { n, text, channel: "room" } })
        }
        yield* eventually(subscribers("room"), (count) => count === 1)
        yield* eventually(Effect.sync(() => kept.destroyed), (destroyed) => destroyed)
        yield* vhost.channels.broadcast("room", "n", {})
        expect(yield* healthy.next).toEqual({ n: { channel: "room" } })
      }).pipe(withBroker({ browsers: { outboxSize } })))

    it.live("receives what was queued and 1013 if it reads after all", () =>
      Effect.gen(function*() {
        const { kept, slow } = yield* slowBrowser
        const letGo = BrokerSide.holdOpen(kept)
        const sent = yield* fill(kept)
        slow.socket.resume()
        let read = 0
        let frame = yield* slow.next
        for (; frame.opcode === 1; frame = yield* slow.next) {
          expect(JSON.parse(frame.payload.toString())).toMatchObject({ n: { n: read } })
          read++
        }
        expect([frame.opcode, frame.payload.readUInt16BE(0)]).toEqual([8, 1013])
        // All but the one that was too much.
        expect(read).toBe(sent - 1)
        letGo()
        yield* slow.ended
        yield* eventually(subscribers("room"), (count) => count === 0)
      }).pipe(withBroker({ browsers: { outboxSize } })))

    it.live("is disconnected even if only its own messages are queued", () =>
      Effect.gen(function*() {
        const { slow } = yield* slowBrowser
        const message = JSON.stringify({ broadcast: { channel: "room", event: "n", data: { text } } })
        for (let sent = 0; sent < 400 && (yield* subscribers("room")) === 1; sent++) yield* slow.send(1, message)
        yield* eventually(subscribers("room"), (count) => count === 0)
        yield* stillServes
      }).pipe(withBroker({ browsers: { outboxSize, byteRate: Infinity } })))

    it.live("is disconnected even if it keeps sending", () =>
      Effect.gen(function*() {
        const { kept, slow } = yield* slowBrowser
        yield* fill(kept)
        const isDestroyed = Effect.sync(() => kept.destroyed)
        yield* eventually(Effect.andThen(slow.send(10, ""), isDestroyed), (destroyed) => destroyed)
      }).pipe(withBroker({ browsers: { outboxSize } })))

    it.live("sends nothing to others once it is being disconnected", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const healthy = yield* connectBrowser
        yield* subscribe(healthy, "room")
        const { kept, slow } = yield* slowBrowser
        for (let sent = 0; sent < 400 && kept.writableLength < text.length; sent++) {
          yield* vhost.channels.broadcast("room", "n", { text })
          yield* healthy.next
          yield* turn
        }
        const sids: Array<string> = []
        for (const { value } of (yield* vhost.channels.subscribersAfter("room", 0)).items) sids.push(value.browser.sid)
        yield* vhost.browsers.disconnect("sid", sids.find((sid) => sid !== healthy.sid)!)
        expect(kept.destroyed).toBe(false)
        yield* slow.send(1, `{"broadcast":{"channel":"room","event":"late"}}`)
        yield* eventually(subscribers("room"), (count) => count === 1)
        yield* vhost.channels.broadcast("room", "last", {})
        expect(yield* healthy.next).toEqual({ last: { channel: "room" } })
      }).pipe(withBroker({ browsers: { outboxSize: 4 * text.length } })))

    it.live(
      "costs little beside its queued bytes, even if messages are small and browsers many",
      () =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const slow = yield* Effect.replicateEffect(slowBrowser, 20)
          while (slow.some(({ kept }) => kept.writableLength === 0)) {
            yield* vhost.channels.broadcast("room", "n", { text })
            yield* turn
          }
          const memory = () => {
            const { arrayBuffers, heapUsed } = process.memoryUsage()
            return arrayBuffers + heapUsed
          }
          const before = memory()
          let most = 0
          let sent = 0
          for (; (yield* subscribers("room"))! > 0; sent += 1000) {
            for (let n = 0; n < 1000; n++) yield* vhost.channels.broadcast("room", "n", { n })
            yield* turn
            most = Math.max(most, memory() - before)
          }
          expect(sent * 35).toBeGreaterThan(2_000_000)
          // 20 queues of 4 MiB, and garbage. Each message as an object of its own in each would be 400 million.
          expect(most).toBeLessThan(200_000_000)
        }).pipe(withBroker({ browsers: { outboxSize: 4 * 1_048_576 } }))
    )

    it.live("may be behind by less than its outbound queue", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const { slow } = yield* slowBrowser
        const count = 64
        for (let n = 0; n < count; n++) yield* vhost.channels.broadcast("room", "n", { n, text })
        slow.socket.resume()
        for (let n = 0; n < count; n++) {
          const { payload } = yield* slow.next
          expect(JSON.parse(payload.toString())).toEqual({ n: { n, text, channel: "room" } })
        }
      }).pipe(withBroker({ browsers: { outboxSize: 64 * 2 * text.length } })))
  })
})
