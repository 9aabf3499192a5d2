/**
 * A channel on which only the last broadcast of each event matters, and a browser that does not read for a while.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as BrokerSide from "../../harness/brokerSide.ts"
import { eventually, turn } from "../../harness/eventually.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { TestBroker } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

const text = "x".repeat(20_000)

describe("A browser that does not read a channel with `latest`", () => {
  it.live("receives the last of each event once it reads again, and is not disconnected", () =>
    Effect.gen(function*() {
      const { broker, vhost } = yield* TestBroker
      const { of } = yield* BrokerSide.watch
      const slow = yield* RawWebSocket.connect(broker.websocketPort, "/test?v=1")
      const next = Effect.map(slow.next, ({ opcode, payload }) => {
        assert.strictEqual(opcode, 1)
        return JSON.parse(payload.toString()) as Record<string, { readonly n: number }>
      })
      yield* next
      for (const channel of ["price", "other"]) {
        yield* slow.send(1, JSON.stringify({ subscribe: { channel } }))
        assert.property(yield* next, ":subscribed")
      }
      slow.socket.pause()
      const kept = of(slow.socket)
      let sent = 0
      const broadcast = Effect.suspend(() => {
        const n = ++sent
        return vhost.channels.broadcast("price", n % 2 === 0 ? "bid" : "ask", { n, text })
      })
      // The system has not taken the last write: from now on messages are queued.
      while (kept.writableLength === 0) yield* Effect.andThen(broadcast, turn)
      const before = sent
      for (let n = 0; n < 500; n++) yield* broadcast
      // What replaces nothing stays between what was before it and after it.
      yield* vhost.channels.broadcast("other", "ask", { n: -1 })
      for (let n = 0; n < 501; n++) yield* broadcast
      slow.socket.resume()
      const received: Array<readonly [string, number]> = []
      while (received.at(-1)?.[1] !== sent) {
        const [[event, { n }]] = Object.entries(yield* next) as [[string, { readonly n: number }]]
        received.push([event, n])
      }
      // What was written before, and a few of the step in which that showed.
      const written = received.findIndex(([, n], index) => n !== index + 1)
      assert.isBelow(written, before + 10)
      assert.deepStrictEqual(received.slice(written), [["ask", -1], ...lastTwo(sent)])
      yield* broadcast
      assert.strictEqual(Object.values(yield* next)[0]!.n, sent)
      assert.isFalse(yield* slow.hasEnded)
      yield* eventually(Effect.sync(() => kept.writableLength), (length) => length === 0)
    }).pipe(withBroker({
      browsers: { outboxSize: 100_000 },
      channelRules: [{ pattern: "price", latest: true, openOnDemand: true }, { pattern: "other", openOnDemand: true }]
    })))
})

const lastTwo = (last: number) => [last - 1, last].map((n) => [n % 2 === 0 ? "bid" : "ask", n] as const)
