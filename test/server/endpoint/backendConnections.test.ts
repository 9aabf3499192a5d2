/**
 * What the broker does with the connections of backends: who is told what, whose events are requeued, and when.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger, Metric, Scope } from "effect"
import * as BackendEndpoint from "../../../src/server/endpoint/BackendEndpoint.ts"
import * as Engine from "../../../src/server/engine/Vhosts.ts"
import { BrokerConfig } from "../../../src/server/index.ts"
import type { Handlers, Peer } from "../../../src/transport/TransportServer.ts"
import * as BrokerSide from "../../harness/brokerSide.ts"
import * as Browser from "../../harness/Browser.ts"
import { eventually } from "../../harness/eventually.ts"
import { identity } from "../../harness/identity.ts"
import * as RawTcp from "../../harness/RawTcp.ts"
import * as RawZmq from "../../harness/RawZmq.ts"
import * as RawZmtp from "../../harness/RawZmtp.ts"
import { layer as testBroker, TestBroker } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

const lobby = Effect.flatMap(TestBroker, ({ vhost }) => vhost.lobby.info)

const trigger = (n: number) => Effect.flatMap(TestBroker, ({ vhost }) => vhost.lobby.enqueue(event(n)))

const event = (n: number) => `{"e":{"n":${n}}}`

/** A worker over ZeroMQ, by hand, that acknowledges. */
const worker = Effect.fnUntraced(function*(who: string) {
  const { broker } = yield* TestBroker
  const self = yield* RawZmtp.connect(broker.backendPort, who)
  yield* self.message("", "RD", "ack", "2", "{}")
  for (const expected of [[], ["<READY>"], ["", "HB"]]) assert.deepStrictEqual(yield* self.nextPart, expected)
  return self
})

describe("a worker over ZeroMQ", () => {
  it.effect.each(["end", "reset"])(
    "has its unacknowledged events requeued at once when its connection is lost: %s",
    (how) =>
      Effect.gen(function*() {
        const lost = yield* worker(identity("dlr"))
        yield* trigger(1)
        const [, , , id] = yield* lost.nextPart
        if (how === "end") lost.socket.end()
        else lost.socket.resetAndDestroy()
        // The clock stands still: it cannot have expired.
        yield* eventually(lobby, ({ workers }) => workers.length === 0)
        const next = yield* worker(identity("dlr"))
        assert.deepStrictEqual(yield* next.nextPart, ["", "TR", event(1), id, "2"])
      }).pipe(withBroker())
  )

  it.effect("that reconnects with its identity has its events redelivered, and alone can ack them", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const who = identity("dlr")
      const old = yield* worker(who)
      yield* trigger(1)
      const [, , , id] = yield* old.nextPart
      const fresh = yield* worker(who)
      assert.deepStrictEqual(yield* fresh.nextPart, ["", "TR", event(1), id, "2"])
      yield* old.ended
      assert.strictEqual((yield* lobby).workers.length, 1)
      yield* fresh.message("", "AK", id!)
      yield* eventually(Effect.sync(() => vhost.lobby.counters.acknowledged), (count) => count === 1)
    }).pipe(withBroker()))

  it.effect("cannot be replaced by a stranger with its identity and another token", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const id = crypto.randomUUID()
      const self = yield* worker(identity("dlr", { id }))
      const stranger = yield* RawZmtp.connect(broker.backendPort, identity("dlr", { id, token: "0".repeat(40) }))
      yield* stranger.message("", "RD")
      for (const expected of [[], ["<READY>"], ["", "ER", "402"]]) {
        assert.deepStrictEqual(yield* stranger.nextPart, expected)
      }
      yield* trigger(1)
      assert.deepStrictEqual((yield* self.nextPart)[2], event(1))
    }).pipe(withBroker()))
})

describe("the original's worker", () => {
  it.effect("has each message in a write of its own", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const { of } = yield* BrokerSide.watch
      const self = yield* RawTcp.connect(broker.tcpPort)
      yield* self.send("")
      const writes: Array<string> = []
      const socket = of(self.socket)
      const write = socket.write.bind(socket) as (...args: ReadonlyArray<unknown>) => boolean
      socket.write = ((bytes: Uint8Array, ...rest: ReadonlyArray<unknown>) => {
        writes.push(Buffer.from(bytes).toString())
        return write(bytes, ...rest)
      }) as typeof socket.write
      yield* self.send(RawTcp.message(identity("dlr"), "", "RD") + RawTcp.message("HB"))
      yield* self.next
      for (const n of [1, 2, 3]) yield* trigger(n)
      for (const n of [1, 2, 3]) assert.strictEqual(yield* self.next, RawTcp.message("TR", event(n)))
      assert.deepStrictEqual(writes, [
        RawTcp.message("HB", ""),
        ...[1, 2, 3].map((n) => RawTcp.message("TR", event(n)))
      ])
    }).pipe(withBroker()))
})

describe("the reason of an error", () => {
  const reason = (code: string, detail: string) => ["ER", code, JSON.stringify({ reason: detail })]

  it.effect("is sent to Clients that keep their connection and to Workers that sent options", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const kept = yield* RawTcp.connect(broker.tcpPort)
      yield* kept.send(RawTcp.message(identity("req"), "K1"))
      yield* kept.next
      yield* kept.send(RawTcp.message("1", "BC", "room", "hello"))
      const missing = reason("400", "BC needs a channel, an event and data")
      assert.strictEqual(yield* kept.next, RawTcp.message("1", ...missing))
      const marked = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      yield* marked.send("1", "K1", "", "AT", "joe", "(")
      assert.match((yield* marked.next)[0]!, /^K1 1,2,3,\d+;\n1ER597\{"reason":"/)
      const worker = yield* RawTcp.connect(broker.tcpPort)
      yield* worker.send(RawTcp.message(identity("dlr"), "", "RD", "{}"))
      yield* worker.next
      yield* worker.send(RawTcp.message("XX"))
      assert.strictEqual(yield* worker.next, RawTcp.message(...reason("400", "the command is unknown")))
    }).pipe(withBroker()))

  it.effect("is not sent to others", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const classic = yield* RawTcp.connect(broker.tcpPort)
      yield* classic.send(RawTcp.message(identity("req"), "", "AT", "joe", "("))
      assert.strictEqual(yield* classic.rest, RawTcp.message("ER", "597"))
      const ask = yield* RawZmq.req(broker.backendPort, identity("req"))
      assert.deepStrictEqual(yield* ask("AT", "joe", "("), ["ER", "597"])
      const worker = yield* RawTcp.connect(broker.tcpPort)
      yield* worker.send(RawTcp.message(identity("dlr"), "", "RD") + RawTcp.message("XX"))
      yield* worker.next
      assert.strictEqual(yield* worker.next, RawTcp.message("ER", "400"))
    }).pipe(withBroker()))
})

describe("an idempotency key", () => {
  it.effect("is valid for its own request on a known connection", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const id = crypto.randomUUID()
      const client = yield* RawTcp.connect(broker.tcpPort)
      yield* client.send(RawTcp.message(identity("req", { id }), "K1"))
      yield* client.next
      const ask = (...frames: ReadonlyArray<string>) =>
        Effect.andThen(client.send(RawTcp.message("", ...frames)), client.next)
      yield* client.send(RawTcp.message("1", "AT", "joe", ".*"))
      const [, , single] = (yield* client.next).split("\n")
      assert.strictEqual(yield* ask("AG", id, "1", "AT", "joe", ".*"), RawTcp.message("", "AT", single!))
      // What may follow the arguments is none of them.
      assert.strictEqual(yield* ask("AG", id, "1", "AT", "joe", ".*", "{}"), RawTcp.message("", "AT", single!))
      for (const other of [["AT", "ann", ".*"], ["AT", "joe", ".+"], ["CC", "room"], ["BC", "room", "e", "{}"]]) {
        assert.include(yield* ask("AG", id, "1", ...other), "ER\n400")
      }
      for (const name of [crypto.randomUUID(), "", "x".repeat(36_000)]) {
        assert.strictEqual(yield* ask("AG", name, "1", "AT", "joe", ".*"), RawTcp.message("", "ER", "408"))
      }
    }).pipe(withBroker()))
})

describe("the end of one endpoint", () => {
  it.effect("dismisses its own workers, and not those of the other", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const stays = yield* worker(identity("dlr"))
      const scope = yield* Scope.make()
      const listening = yield* Deferred.make<Handlers>()
      yield* BackendEndpoint.make(
        () => Effect.succeed({ port: 1, run: (handlers) => Deferred.succeed(listening, handlers) }),
        1
      ).pipe(
        Effect.provideService(Engine.Vhosts, {
          authorize: () => Effect.succeed(vhost),
          onTokenRemoved: () => Effect.void,
          list: Effect.succeed([vhost])
        } as never),
        Effect.provide(BrokerConfig.layer()),
        Scope.provide(scope)
      )
      const said: Array<unknown> = []
      const peer: Peer = {
        identity: identity("dlr"),
        connection: {},
        seesClose: true,
        sendUnsafe: (frames) => said.push(...frames) > 0,
        separateUnsafe: () => undefined,
        close: Effect.void,
        disconnect: Effect.sync(() => void said.push("disconnected"))
      }
      const { onMessage } = yield* Deferred.await(listening)
      yield* onMessage(peer, ["RD", "ack", "1"]) ?? Effect.void
      assert.strictEqual(vhost.lobby.counters.workers, 2)
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      assert.deepStrictEqual(said, ["HB", "QT", "disconnected"])
      assert.strictEqual(vhost.lobby.counters.workers, 1)
      yield* trigger(1)
      assert.deepStrictEqual((yield* stays.nextPart)[2], event(1))
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(testBroker(), Logger.layer([])))))
})

describe("a Client that does not read its responses", () => {
  it.effect("is disconnected, so that it does not wait for a dropped one", () =>
    Effect.gen(function*() {
      const { broker, vhost } = yield* TestBroker
      for (let n = 0; n < 500; n++) yield* vhost.channels.open(`channel-${n}-${"x".repeat(200)}`)
      const sides = yield* BrokerSide.watch
      const deaf = yield* RawZmtp.connect(broker.backendPort, identity("req"))
      yield* deaf.nextPart
      deaf.socket.pause()
      for (let n = 0; n < 500 && deaf.socket.writable; n++) yield* deaf.message("1", "", "LC", "", "0")
      yield* eventually(Effect.sync(() => sides.of(deaf.socket).writable), (writable) => !writable)
      deaf.socket.resume()
      yield* deaf.ended
    }).pipe(withBroker({ backends: { outboxSize: 1_000_000 } })))
})

describe("many broadcasts at once", () => {
  it.effect("give others their turn in between", () =>
    Effect.gen(function*() {
      const { broker, urls, vhost } = yield* TestBroker
      const browser = yield* Browser.connect(urls.websocket)
      yield* browser.send({ subscribe: { channel: "room" } })
      yield* browser.nextOf(":subscribed")
      const client = yield* RawZmq.req(broker.backendPort, identity("req"))
      const other = yield* RawZmq.req(broker.backendPort, identity("req"))
      const broadcasts = Array.from({ length: 15_000 }, (_, n) => ["room", "e", { n }])
      const order: Array<string> = []
      yield* Effect.all([
        Effect.andThen(client("BA", JSON.stringify(broadcasts)), Effect.sync(() => order.push("many"))),
        Effect.andThen(
          Effect.andThen(
            eventually(Effect.sync(() => vhost.channels.counters.broadcasts), (count) => count > 0),
            other("OC", "room")
          ),
          Effect.sync(() => order.push("one"))
        )
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual(order, ["one", "many"])
      const gauges = (yield* Metric.snapshot).filter(({ id }) => /longest_turn|loop_delay/.test(id))
      const [turns, delay] = gauges.map(({ state }) => (state as { readonly value: number }).value)
      assert.isAbove(turns!, 0.004)
      assert.isAtLeast(delay!, 0)
    }).pipe(
      withBroker({ browsers: { outboxSize: 100_000_000 } }),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))
})
