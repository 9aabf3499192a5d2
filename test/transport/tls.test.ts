/**
 * TLS between backends and the broker: what `wrs+tcp://` promises beside what every transport does.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Redacted,
  Result,
  Schedule,
  Scope,
  SubscriptionRef
} from "effect"
import * as Crypto from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { Client, ConnectionState, Kosmonaut, type KosmonautError, Worker } from "../../src/index.ts"
import * as TcpTransport from "../../src/transport/TcpTransport.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
import * as TlsServer from "../../src/transport/TlsServer.ts"
import type { Listen } from "../../src/transport/TransportServer.ts"
import * as Certificates from "../harness/certificates.ts"
import { eventually } from "../harness/eventually.ts"
import { identity } from "../harness/identity.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import * as TcpProxy from "../harness/TcpProxy.ts"
import { TestBroker, token } from "../harness/TestBroker.ts"
import * as TlsHello from "../harness/TlsHello.ts"
import { withBroker } from "../harness/withBroker.ts"
import { suite } from "./TransportTest.ts"

const { ca } = Certificates

const decrypt = Result.getOrThrow(TlsServer.make(Certificates.contentOf("server")))

suite("TLS", {
  scheme: "wrs+tcp",
  listen: ((options) => TcpTransportServer.listen({ ...options, decrypt })) satisfies Listen,
  make: (options) => TcpTransport.make({ ...options, tls: { ca } }),
  carriesLines: false,
  hasSockets: true
})

const optionsOf = (name: Certificates.Name) => ({
  tls: { cert: Certificates.certOf(name), key: Certificates.keyOf(name) }
})

const fingerprintOf = (name: Certificates.Name) =>
  new Crypto.X509Certificate(Certificates.contentOf(name).cert).fingerprint256

const urlOf = (port: number, query = "") => `wrs+tcp://${token}@127.0.0.1:${port}/test${query}`

/** One request over TLS, to the port for ZeroMQ or that for TCP, which are equal. */
const open = Effect.fnUntraced(function*(options: {
  readonly tls?: TcpTransport.TlsOptions
  readonly query?: string
  readonly port?: "tcpPort" | "backendPort"
}) {
  const { broker } = yield* TestBroker
  const url = urlOf(broker[options.port ?? "tcpPort"], options.query)
  return yield* Client.Client.use((client) => client.openChannel("room")).pipe(
    Effect.provide(Kosmonaut.layerClient({ url, transport: { tls: options.tls } }))
  )
})

/** A connection to a port of TLS, once its handshake has ended. */
const tlsConnection = (port: number, options: Tls.ConnectionOptions) =>
  Effect.acquireRelease(
    Effect.callback<Tls.TLSSocket, Error>((resume) => {
      const socket = Tls.connect({ ca, port, host: "127.0.0.1", ...options }, () => resume(Effect.succeed(socket)))
      socket.on("error", (error) => resume(Effect.fail(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const untrusted = (error: unknown): KosmonautError.UntrustedBrokerError => {
  const { _tag, reason } = error as KosmonautError.ConnectionError
  assert.strictEqual(_tag, "ConnectionError", String(error))
  assert.strictEqual(reason._tag, "UntrustedBrokerError", String(error))
  return reason as KosmonautError.UntrustedBrokerError
}

describe("a broker's certificate", () => {
  it.live("is trusted by who has signed it, by its fingerprint, or by its fingerprint in the URL, on either port", () =>
    Effect.gen(function*() {
      const fingerprint = fingerprintOf("server")
      for (const port of ["tcpPort", "backendPort"] as const) {
        yield* open({ tls: { ca }, port })
        yield* open({ tls: { fingerprint }, port })
        yield* open({ query: `?fingerprint=${fingerprint}`, port })
      }
    }).pipe(withBroker(optionsOf("server"))))

  it.live("is trusted by its fingerprint, whoever has signed it for whatever host", () =>
    Effect.gen(function*() {
      yield* open({ tls: { fingerprint: fingerprintOf("elsewhere") } })
    }).pipe(withBroker(optionsOf("elsewhere"))))

  it.live("is trusted for the host that was asked for", () =>
    Effect.gen(function*() {
      const error = untrusted(yield* Effect.flip(open({ tls: { ca } })))
      assert.include(error.message, "its certificate is for another host")
      yield* open({ tls: { ca, serverName: "broker.example" } })
    }).pipe(withBroker(optionsOf("elsewhere"))))

  it.live.each(
    [
      ["self", { ca }, "nobody whom this process trusts has signed its certificate"],
      ["server", {}, "nobody whom this process trusts has signed its certificate"],
      ["expired", { ca }, "its certificate has expired"],
      ["renewed", { fingerprint: fingerprintOf("server") }, "the fingerprint of its certificate is"]
    ] as const
  )("is not trusted: %s %j", ([name, tls, message]) =>
    Effect.gen(function*() {
      const error = untrusted(yield* Effect.flip(open({ tls })))
      assert.include(error.message, message)
      assert.isFalse(error.isRetryable)
      assert.strictEqual(error.wasSent, "no")
    }).pipe(withBroker(optionsOf(name))))
})

describe("a worker whose broker is not trusted", () => {
  const listen = (port: number, tls: TcpTransport.TlsOptions) =>
    Effect.gen(function*() {
      const state = yield* ConnectionState.make
      const worker = yield* Layer.build(
        Kosmonaut.layer({ url: urlOf(port), transport: { tls }, worker: { reconnect: Schedule.spaced("20 millis") } })
      )
      const fiber = yield* Effect.forkScoped(
        Context.get(worker, Worker.Worker).listen({ state, onMessage: () => Effect.void })
      )
      return { fiber, state }
    })

  it.live("ends with it at the start", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const { fiber } = yield* listen(broker.tcpPort, {})
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error._tag, "UntrustedBrokerError")
    }).pipe(withBroker(optionsOf("server"))))

  it.live("reconnects until it is trusted again, if it was connected before", () =>
    Effect.gen(function*() {
      const { files, replace } = yield* Certificates.replaceable
      yield* replace(Certificates.contentOf("server"))
      yield* Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const proxy = yield* TcpProxy.make(broker.tcpPort)
        const { state } = yield* listen(proxy.port, { ca })
        const until = (holds: (state: ConnectionState.ConnectionState) => boolean) =>
          eventually(SubscriptionRef.get(state), holds)
        yield* until(({ _tag }) => _tag === "Connected")
        yield* replace(Certificates.contentOf("expired"))
        yield* eventually(Certificates.serialAt(broker.tcpPort), (now) => now === Certificates.serialOf("expired"))
        yield* proxy.cut("all")
        yield* until((state) => state._tag === "Disconnected" && state.reason.reason._tag === "UntrustedBrokerError")
        yield* replace(Certificates.contentOf("renewed"))
        yield* until(({ _tag }) => _tag === "Connected")
      }).pipe(withBroker({ tls: { ...files, reloadInterval: "10 millis" } }))
    }))
})

describe("what is on the wire", () => {
  it.live("is not in clear text", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const seen: Array<Buffer> = []
      const tap = yield* TcpProxy.make(broker.tcpPort, (bytes) => seen.push(bytes))
      const send = (url: string) =>
        Client.Client.use((client) => client.broadcast("room", "secret-event", { text: "secret-text" })).pipe(
          Effect.provide(Kosmonaut.layerClient({ url, transport: { tls: { ca } } })),
          Effect.map(() => Buffer.concat(seen.splice(0)).toString("latin1"))
        )
      const secrets = [token, "secret-event", "secret-text", "/test"]
      const encrypted = yield* send(urlOf(tap.port))
      assert.isAbove(encrypted.length, 500)
      for (const secret of secrets) assert.notInclude(encrypted, secret)
      const plain = yield* send(urlOf(tap.port).replace("wrs", "wr"))
      for (const secret of secrets) assert.include(plain, secret)
    }).pipe(withBroker(optionsOf("server"))))
})

describe("a port with TLS", () => {
  it.live("serves those that do not encrypt beside those that do", () =>
    Effect.gen(function*() {
      const { broker, urls } = yield* TestBroker
      // What the broker itself names encrypts.
      assert.match(broker.addresses.backendTcp, /^wrs\+tcp:/)
      assert.strictEqual(Redacted.value(urls.backendTcp), urlOf(broker.tcpPort))
      for (const url of [urls.backend, urlOf(broker.tcpPort).replace("wrs", "wr")]) {
        yield* Client.Client.use((client) => client.openChannel("room")).pipe(
          Effect.provide(Kosmonaut.layerClient({ url }))
        )
      }
      const slow = yield* RawTcp.connect(broker.tcpPort)
      for (const byte of RawTcp.message(identity("req"), "", "OC", "room")) yield* slow.send(byte)
      assert.strictEqual(yield* slow.next, RawTcp.message("OK", ""))
    }).pipe(withBroker(optionsOf("server"))))

  it.live("closes what begins like TLS and goes on otherwise, and serves on", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      for (const bytes of [[0x16], [0x16, 3, 1, 0xff, 0xff], [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0, 9, 9, 9]]) {
        const peer = yield* RawTcp.connect(broker.tcpPort)
        yield* peer.send(Buffer.from(bytes))
        yield* peer.send(Buffer.alloc(1000, 0x41))
        yield* peer.ended
      }
      yield* open({ tls: { ca } })
    }).pipe(withBroker(optionsOf("server"))))

  it.live("begins one handshake in a turn of the event loop, once all of its first message is there", () =>
    Effect.gen(function*() {
      const hello = yield* Effect.promise(() => TlsHello.make())
      const begun: Array<number> = []
      const server = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer((socket) => decrypt(socket, () => begun.push(turn)))
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = server.address() as Net.AddressInfo
      const clients = yield* Effect.replicateEffect(RawTcp.connect(port), 20)
      let turn = 0
      const count = () => {
        turn++
        if (begun.length < clients.length) setImmediate(count)
      }
      count()
      for (const client of clients) yield* client.send(hello.subarray(0, hello.length - 1))
      // What another one sends afterwards has arrived.
      yield* Effect.gen(function*() {
        const after = yield* RawTcp.connect(port)
        yield* after.send(hello)
        yield* eventually(Effect.sync(() => begun.length), (length) => length === 1)
      })
      begun.length = 0
      for (const client of clients) client.socket.write(hello.subarray(-1))
      yield* eventually(Effect.sync(() => begun.length), (length) => length === clients.length)
      assert.strictEqual(new Set(begun).size, clients.length)
    }))

  it.live.each<[string, Tls.ConnectionOptions]>([
    ["any browser", {}],
    ["one without ML-KEM", { ecdhCurve: "X25519" }],
    ["one with its key for another group than it would like best", { ecdhCurve: "X25519:X25519MLKEM768" }],
    ["one with ML-KEM alone", { ecdhCurve: "X25519MLKEM768" }],
    ["one with P-256", { ecdhCurve: "P-256" }],
    ["one of TLS 1.2", { maxVersion: "TLSv1.2" }]
  ])("lets in %s", ([, options]) =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      yield* tlsConnection(broker.tcpPort, options)
    }).pipe(withBroker(optionsOf("server"))))

  // What costs most would come when they like, and not when it is their turn.
  it.live.each<[string, Tls.ConnectionOptions]>([
    ["would have to be asked for another key", { ecdhCurve: "P-384:X25519" }],
    ["has the private key decrypt something", { ciphers: "AES128-GCM-SHA256", maxVersion: "TLSv1.2" }],
    ["has none of the groups that cost little", { ecdhCurve: "P-384", maxVersion: "TLSv1.2" }]
  ])("lets in nobody who %s", ([, options]) =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const connection = (options: Tls.ConnectionOptions) =>
        Effect.exit(tlsConnection(broker.tcpPort, { rejectUnauthorized: false, ...options }))
      assert.isTrue(Exit.isFailure(yield* connection(options)))
      assert.isTrue(Exit.isSuccess(yield* connection({})))
    }).pipe(withBroker(optionsOf("rsa"))))

  it.live("lets nobody negotiate again", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const socket = yield* tlsConnection(broker.tcpPort, { maxVersion: "TLSv1.2" })
      const failed = yield* Effect.callback<boolean>((resume) => {
        socket.on("error", () => resume(Effect.succeed(true)))
        socket.renegotiate({}, (error) => resume(Effect.succeed(error !== null)))
      })
      assert.isTrue(failed)
    }).pipe(withBroker(optionsOf("server"))))

  it.live("closes a handshake that does not end in time", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const [silent, half, whole] = [
        yield* RawTcp.connect(broker.tcpPort),
        yield* RawTcp.connect(broker.tcpPort),
        yield* RawTcp.connect(broker.tcpPort)
      ]
      yield* half.send(Buffer.from([0x16, 3, 1]))
      yield* whole.send(yield* Effect.promise(() => TlsHello.make()))
      const done = yield* Deferred.make<void>()
      Certificates.connect(broker.tcpPort).on("close", () => Deferred.doneUnsafe(done, Exit.void))
      yield* Effect.all([silent.ended, half.ended, whole.ended, Deferred.await(done)])
    }).pipe(withBroker(optionsOf("server"))))

  it.live("ends with the broker, whatever a handshake does", () =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const [silent, half] = yield* Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const connect = Scope.provide(RawTcp.connect(broker.tcpPort), scope)
        const [silent, half] = [yield* connect, yield* connect]
        yield* half.send(Buffer.from([0x16, 3, 1]))
        yield* open({ tls: { ca } })
        return [silent, half]
      }).pipe(withBroker(optionsOf("server")))
      yield* silent!.ended
      yield* half!.ended
    }))
})

describe("what does not speak TLS", () => {
  it.live("is told from a broker that is not trusted", () =>
    Effect.gen(function*() {
      const error = (yield* Effect.flip(open({ tls: { ca } }))) as KosmonautError.ConnectionError
      assert.strictEqual(error.reason._tag, "ConnectionRefusedError")
      assert.include(error.message, "does not speak TLS. Does the broker have a certificate (--tls-cert)?")
      assert.isTrue(error.isRetryable)
    }).pipe(withBroker()))
})
