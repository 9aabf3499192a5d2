import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Queue, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Endpoint, type Transport } from "../../src/index.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import { MemoryNetwork } from "../../src/testing/index.ts"
import type { Handlers, Peer } from "../../src/transport/TransportServer.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { token } from "../harness/TestBroker.ts"
import { suite } from "../transport/TransportTest.ts"

for (const scheme of ["wr", "wr+tcp"] as const) {
  const network = MemoryNetwork.make()
  suite(`memory (${scheme})`, {
    scheme,
    listen: network.listen,
    make: network.transport,
    carriesLines: scheme === "wr",
    hasSockets: false
  })
}

const endpointOf = (host: string, port: number) =>
  Result.getOrThrow(Endpoint.fromUrl(`wr://${token}@${host}:${port}/test`))

/** A server that keeps what it hears, and does what `onMessage` says. */
const serve = Effect.fnUntraced(function*(network: MemoryNetwork.MemoryNetwork["Service"], options?: {
  readonly onMessage?: Handlers["onMessage"]
  readonly maxMessageSize?: number
}) {
  const heard = yield* Queue.unbounded<Frames | undefined>()
  const peers = yield* Queue.unbounded<Peer>()
  const closed: Array<Peer> = []
  const server = yield* network.listen({ host: "host", port: 0, maxMessageSize: options?.maxMessageSize ?? 1000 })
  yield* server.run({
    onMessage: (peer, frames) =>
      Effect.sync(() => {
        Queue.offerUnsafe(heard, frames)
        Queue.offerUnsafe(peers, peer)
      }).pipe(Effect.andThen(options?.onMessage?.(peer, frames) ?? Effect.void)),
    onClose: (peer) => Effect.sync(() => closed.push(peer))
  }).pipe(Effect.forkScoped)
  return { heard, peers, closed, endpoint: endpointOf("host", server.port) }
})

/** A session that has said `RD`, and the server's way back to it. */
const begin = Effect.fnUntraced(function*(options?: Transport.Options) {
  const network = MemoryNetwork.make()
  const server = yield* serve(network)
  const transport = network.transport(options)
  const session = yield* Exchanges.session(transport, server.endpoint)
  yield* session.send(["RD"])
  const peer = yield* Queue.take(server.peers)
  yield* Queue.take(server.heard)
  return { network, transport, session, peer, ...server }
})

/** All that is sent back until the connection ends, and why it ended. */
const rest = Effect.fnUntraced(function*(session: Exchanges.Session) {
  const got: Array<string> = []
  const { reason } = yield* Effect.flip(
    Effect.forever(Effect.map(session.pull, (batch) => got.push(...batch.map((frames) => frames.join()))))
  )
  return { got, reason: reason._tag }
})

/** Lets everybody go on who can, some way. */
const settle = Effect.repeat(Effect.yieldNow, { times: 100 })

describe("MemoryNetwork", () => {
  describe("in silence", () => {
    it.effect("holds what is sent either way, and lets it pass in order when restored", () =>
      Effect.gen(function*() {
        const { closed, heard, network, peer, session } = yield* begin()
        const pulling = yield* Effect.forkChild(session.pull, { startImmediately: true })
        yield* network.silence
        const settled: Array<boolean> = []
        for (const n of ["1", "2"]) {
          yield* session.send(["HB", n])
          peer.sendUnsafe(["TR", n], (delivered) => settled.push(delivered))
        }
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(settled, [true, true], "it looks sent")
        assert.strictEqual(yield* Queue.size(heard), 0)
        assert.isUndefined(pulling.pollUnsafe())
        yield* network.restore
        assert.deepStrictEqual(yield* Fiber.join(pulling), [["TR", "1"], ["TR", "2"]])
        assert.deepStrictEqual(yield* Queue.take(heard), ["HB", "1"])
        assert.deepStrictEqual(yield* Queue.take(heard), ["HB", "2"])
        assert.deepStrictEqual(closed, [])
      }))

    it.effect("holds the end of a connection, too", () =>
      Effect.gen(function*() {
        const { closed, heard, network, peer, transport, endpoint } = yield* begin()
        const scope = yield* Scope.make()
        const leaving = yield* Scope.provide(Exchanges.session(transport, endpoint), scope)
        yield* leaving.send(["RD"])
        yield* Queue.take(heard)
        yield* network.silence
        yield* leaving.send(["QT"])
        yield* Scope.close(scope, Exit.void)
        yield* settle
        assert.strictEqual(closed.length, 0)
        yield* network.restore
        assert.deepStrictEqual(yield* Queue.take(heard), ["QT"])
        yield* settle
        assert.strictEqual(closed.length, 1)
        assert.notStrictEqual(closed[0]?.connection, peer.connection)
      }))

    it.effect("hides from a server that a peer has gone", () =>
      Effect.gen(function*() {
        const { endpoint, network, peers, transport } = yield* begin()
        const scope = yield* Scope.make()
        const leaving = yield* Scope.provide(Exchanges.session(transport, endpoint), scope)
        yield* leaving.send(["RD"])
        const peer = yield* Queue.take(peers)
        const settled: Array<boolean> = []
        yield* network.silence
        yield* Scope.close(scope, Exit.void)
        peer.sendUnsafe(["TR"], (delivered) => settled.push(delivered))
        yield* network.restore
        peer.sendUnsafe(["TR"], (delivered) => settled.push(delivered))
        assert.deepStrictEqual(settled, [true, false])
      }))

    it.effect("lets a new connection wait, for as long as opening may take", () =>
      Effect.gen(function*() {
        const { endpoint, network, transport } = yield* begin({ openTimeout: "3 seconds" })
        yield* network.silence
        const late = yield* Effect.forkScoped(Effect.flip(Exchanges.session(transport, endpoint)))
        yield* TestClock.adjust("2 seconds")
        const early = yield* Effect.forkScoped(Exchanges.session(transport, endpoint))
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(late)).reason._tag, "ConnectionRefusedError")
        assert.isUndefined(early.pollUnsafe())
        yield* network.restore
        yield* Fiber.join(early)
      }))
  })

  describe("when cut", () => {
    it.effect("ends all connections on both sides, after what has arrived, and refuses new ones", () =>
      Effect.gen(function*() {
        const { closed, endpoint, heard, network, peer, session, transport } = yield* begin()
        const { request } = yield* Exchanges.requester(transport, endpoint)
        const asking = yield* Effect.forkChild(Effect.flip(request(["OC", "room"])))
        yield* Queue.take(heard)
        peer.sendUnsafe(["TR", "arrived"])
        yield* session.send(["HB"])
        yield* network.cut
        const settled: Array<boolean> = []
        peer.sendUnsafe(["TR", "late"], (delivered) => settled.push(delivered))
        assert.deepStrictEqual(settled, [false])
        assert.strictEqual((yield* Effect.flip(session.send(["HB"]))).reason._tag, "ConnectionClosedError")
        assert.deepStrictEqual(yield* rest(session), { got: ["TR,arrived"], reason: "ConnectionClosedError" })
        const failure = yield* Fiber.join(asking)
        assert.strictEqual(
          failure._tag === "ConnectionError" ? failure.reason._tag : failure._tag,
          "ConnectionClosedError"
        )
        yield* settle
        assert.deepStrictEqual(yield* Queue.clear(heard), [["HB"]])
        assert.strictEqual(closed.length, 2)
        assert.strictEqual(
          (yield* Effect.flip(Exchanges.session(transport, endpoint))).reason._tag,
          "ConnectionRefusedError"
        )

        yield* network.restore
        assert.strictEqual(
          (yield* Effect.flip(session.pull)).reason._tag,
          "ConnectionClosedError",
          "it does not come back"
        )
        yield* Exchanges.session(transport, endpoint)
      }))

    it.effect("loses what silence held", () =>
      Effect.gen(function*() {
        const { heard, network, peer, session } = yield* begin()
        yield* network.silence
        peer.sendUnsafe(["TR", "held"])
        yield* session.send(["HB"])
        yield* network.cut
        assert.deepStrictEqual(yield* rest(session), { got: [], reason: "ConnectionClosedError" })
        yield* settle
        assert.strictEqual(yield* Queue.size(heard), 0)
      }))

    it.effect("refuses those who wait to connect", () =>
      Effect.gen(function*() {
        const { endpoint, network, transport } = yield* begin()
        yield* network.silence
        const connecting = yield* Effect.forkScoped(Effect.flip(Exchanges.session(transport, endpoint)))
        yield* settle
        yield* network.cut
        assert.include((yield* Fiber.join(connecting)).message, "cut")
      }))
  })

  describe("a connection", () => {
    it.effect("takes as much as its bound from a server, and says of each message whether it did", () =>
      Effect.gen(function*() {
        const { peer, session } = yield* begin()
        let delivered = 0
        let refused = 0
        for (let n = 0; n < 10_010; n++) peer.sendUnsafe(["TR"], (taken) => taken ? delivered++ : refused++)
        assert.deepStrictEqual([delivered, refused], [10_000, 10])
        yield* session.pull
        peer.sendUnsafe(["TR"], (taken) => taken ? delivered++ : refused++)
        assert.deepStrictEqual([delivered, refused], [10_001, 10], "there is room again")
      }))

    it.effect("lets a backend wait for a server that does not read", () =>
      Effect.gen(function*() {
        const network = MemoryNetwork.make()
        const gate = yield* Deferred.make<void>()
        const { endpoint, peers } = yield* serve(network, { onMessage: () => Deferred.await(gate) })
        const { send } = yield* Exchanges.session(network.transport(), endpoint)
        yield* send(["RD"])
        yield* Queue.take(peers)
        for (let n = 0; n < 10_000; n++) yield* send(["HB"])
        const waiting = yield* Effect.forkChild(send(["HB"]), { startImmediately: true })
        yield* settle
        assert.isUndefined(waiting.pollUnsafe())
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(waiting)
      }))

    it.effect("does not let a backend wait for a connection that has ended", () =>
      Effect.gen(function*() {
        const network = MemoryNetwork.make()
        const { endpoint, peers } = yield* serve(network, { onMessage: () => Effect.never })
        const { send } = yield* Exchanges.session(network.transport(), endpoint)
        yield* send(["RD"])
        yield* Queue.take(peers)
        for (let n = 0; n < 10_000; n++) yield* send(["HB"])
        const waiting = yield* Effect.forkChild(Effect.flip(send(["HB"])), { startImmediately: true })
        yield* network.cut
        assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "ConnectionClosedError")
      }))

    it.effect("runs nobody while something is sent", () =>
      Effect.gen(function*() {
        const { heard, peer, session } = yield* begin()
        const pulling = yield* Effect.forkChild(session.pull, { startImmediately: true })
        yield* Effect.sync(() => {
          peer.sendUnsafe(["TR"])
          assert.isUndefined(pulling.pollUnsafe())
        })
        yield* session.send(["HB"])
        assert.strictEqual(yield* Queue.size(heard), 0)
        assert.deepStrictEqual(yield* Fiber.join(pulling), [["TR"]])
        assert.deepStrictEqual(yield* Queue.take(heard), ["HB"])
      }))

    it.effect("ends for a server that hears too much, which answers first", () =>
      Effect.gen(function*() {
        const network = MemoryNetwork.make()
        const { closed, endpoint, heard } = yield* serve(network, {
          maxMessageSize: 100,
          onMessage: (peer, frames) => Effect.sync(() => frames === undefined && peer.sendUnsafe(["ER", "400"]))
        })
        const session = yield* Exchanges.session(network.transport(), endpoint)
        yield* session.send(["HB", "x".repeat(90)])
        yield* session.send(["HB", "x".repeat(100)])
        yield* session.send(["HB"])
        assert.deepStrictEqual(yield* rest(session), { got: ["ER,400"], reason: "ConnectionClosedError" })
        assert.deepStrictEqual(yield* Queue.clear(heard), [["HB", "x".repeat(90)], undefined])
        assert.strictEqual(closed.length, 1)
      }))

    it.effect("ends for a backend that hears too much, after what it could read", () =>
      Effect.gen(function*() {
        const { closed, peer, session } = yield* begin({ maxMessageSize: 100 })
        for (const size of [1, 90, 100, 1]) peer.sendUnsafe(["TR", "x".repeat(size)])
        const { got, reason } = yield* rest(session)
        assert.deepStrictEqual(got.map(({ length }) => length), [4, 93])
        assert.strictEqual(reason, "MalformedMessageError")
        yield* settle
        assert.strictEqual(closed.length, 1)
      }))

    it.effect("is closed by a server after what it sent", () =>
      Effect.gen(function*() {
        const { closed, heard, peer, session } = yield* begin()
        peer.sendUnsafe(["ER", "402"])
        yield* peer.close
        peer.sendUnsafe(["TR", "late"])
        yield* Effect.flip(session.send(["HB"]))
        assert.deepStrictEqual(yield* rest(session), { got: ["ER,402"], reason: "ConnectionClosedError" })
        yield* settle
        assert.strictEqual(yield* Queue.size(heard), 0)
        assert.strictEqual(closed.length, 1)
      }))

    it.effect("gives nothing more to a backend that has closed it", () =>
      Effect.gen(function*() {
        const { endpoint, peers, transport } = yield* begin()
        const scope = yield* Scope.make()
        const session = yield* Scope.provide(Exchanges.session(transport, endpoint), scope)
        yield* session.send(["RD"])
        const peer = yield* Queue.take(peers)
        peer.sendUnsafe(["TR"])
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* rest(session), { got: [], reason: "ConnectionClosedError" })
        assert.strictEqual((yield* Effect.flip(session.send(["HB"]))).reason._tag, "ConnectionClosedError")
      }))

    it.effect("that says nothing is no peer", () =>
      Effect.gen(function*() {
        const { closed, endpoint, transport } = yield* begin()
        yield* Effect.scoped(Exchanges.session(transport, endpoint))
        yield* settle
        assert.deepStrictEqual(closed, [])
      }))
  })

  describe("a server", () => {
    it.effect("that stops handling ends the connections that it handled", () =>
      Effect.gen(function*() {
        const network = MemoryNetwork.make()
        const server = yield* network.listen({ host: "host", port: 0, maxMessageSize: 1000 })
        const running = yield* Effect.forkChild(
          server.run({ onMessage: (peer) => Effect.sync(() => peer.sendUnsafe(["HB"])), onClose: () => Effect.void })
        )
        const session = yield* Exchanges.session(network.transport(), endpointOf("host", server.port))
        yield* session.send(["RD"])
        assert.deepStrictEqual(yield* session.pull, [["HB"]])
        yield* Fiber.interrupt(running)
        assert.strictEqual((yield* Effect.flip(session.pull)).reason._tag, "ConnectionClosedError")
      }))

    it.effect("that ends takes its connections with it, those it has not handled too, and no others", () =>
      Effect.gen(function*() {
        const { network, peer, session, transport } = yield* begin()
        const scope = yield* Scope.make()
        const { port } = yield* Scope.provide(network.listen({ host: "host", port: 0, maxMessageSize: 1000 }), scope)
        const other = yield* Exchanges.session(transport, endpointOf("host", port))
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Effect.flip(other.pull)).reason._tag, "ConnectionClosedError")
        peer.sendUnsafe(["TR"])
        assert.deepStrictEqual(yield* session.pull, [["TR"]])
      }))
  })

  it.effect("sends nothing for a requester that has ended", () =>
    Effect.gen(function*() {
      const { endpoint, heard, transport } = yield* begin()
      const { request } = yield* Effect.scoped(
        Exchanges.requester(transport, endpoint)
      )
      const error = yield* Effect.flip(request(["OC", "room"]))
      assert.strictEqual(error._tag === "ConnectionError" ? error.reason._tag : error._tag, "ConnectionClosedError")
      yield* settle
      assert.strictEqual(yield* Queue.size(heard), 0)
    }))

  it.effect("times requests out by the test's clock", () =>
    Effect.gen(function*() {
      const { endpoint, heard, transport } = yield* begin()
      const { request } = yield* Exchanges.requester(transport, endpoint, { requestTimeout: "5 minutes" })
      const asking = yield* Effect.forkChild(Effect.flip(request(["OC", "room"])))
      yield* Queue.take(heard)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* Fiber.join(asking))._tag, "RequestTimeoutError")
    }))

  it.effect("has any host, and ports for everybody", () =>
    Effect.gen(function*() {
      const network = MemoryNetwork.make()
      const listen = (host: string, port: number) => network.listen({ host, port, maxMessageSize: 1000 })
      const ports = yield* Effect.forEach(Array.from({ length: 10 }), () =>
        Effect.map(listen("a", 0), ({ port }) => port))
      assert.strictEqual(new Set(ports).size, 10)
      const next = ports.at(-1)! + 1
      yield* listen("a", next)
      assert.notStrictEqual((yield* listen("a", 0)).port, next)
      yield* listen("::1", 8081)
      const transport = network.transport()
      yield* Exchanges.session(transport, endpointOf("[::1]", 8081))
      assert.strictEqual(
        (yield* Effect.flip(Exchanges.session(transport, endpointOf("b", ports[0]!)))).reason._tag,
        "ConnectionRefusedError"
      )
      assert.strictEqual((yield* Effect.flip(listen("a", 65_536)))._tag, "ListenError")
      const other = MemoryNetwork.make().transport()
      assert.strictEqual(
        (yield* Effect.flip(Exchanges.session(other, endpointOf("[::1]", 8081)))).reason._tag,
        "ConnectionRefusedError"
      )
    }))

  it.effect("speaks all schemes", () =>
    Effect.gen(function*() {
      const { endpoint, heard, transport } = yield* begin()
      for (const scheme of ["wr", "wrs", "wr+tcp", "wrs+tcp"] as const) {
        assert.include(transport.schemes, scheme)
        const { request } = yield* Exchanges.requester(
          transport,
          new Endpoint.Endpoint({
            scheme,
            host: endpoint.host,
            port: endpoint.port,
            vhost: endpoint.vhost,
            token: endpoint.token
          })
        )
        const asking = yield* Effect.forkScoped(Effect.exit(request(["AT", "a\nb", ".*"])))
        if (!scheme.endsWith("+tcp")) assert.deepStrictEqual(yield* Queue.take(heard), ["AT", "a\nb", ".*"])
        else assert.isTrue(Exit.isFailure(yield* Fiber.join(asking)))
      }
    }))
})
