/**
 * CURVE between backends and the broker: what `wrs://` promises beside what every transport does. The Client's side is libzmq,
 * or made by hand.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Redacted, Result, type Scope } from "effect"
import * as Fs from "node:fs"
import { join } from "node:path"
import { Client, Kosmonaut, type KosmonautError, Worker } from "../../src/index.ts"
import * as CurveKey from "../../src/protocol/CurveKey.ts"
import * as CurveKeys from "../../src/transport/CurveKeys.ts"
import * as CurveServer from "../../src/transport/CurveServer.ts"
import * as Curve from "../../src/transport/internal/curve.ts"
import * as Zmtp from "../../src/transport/internal/zmtp.ts"
import type { Listen } from "../../src/transport/TransportServer.ts"
import * as ZmqTransport from "../../src/transport/ZmqTransport.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import * as CurveClient from "../harness/CurveClient.ts"
import { identity } from "../harness/identity.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import * as TcpProxy from "../harness/TcpProxy.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"
import { TestBroker, token } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"
import { bytes, int } from "../protocol/arbitraries.ts"
import { suite } from "./TransportTest.ts"

const pair = Effect.runSync(CurveKeys.generate)
const other = Effect.runSync(CurveKeys.generate)

const server = await Effect.runPromise(CurveServer.make(pair))

suite("CURVE", {
  scheme: "wrs",
  listen: ((options) => ZmqTransportServer.listen({ ...options, curve: server })) satisfies Listen,
  make: (options) => ZmqTransport.make({ ...options, curve: { serverKey: pair.publicKey } }),
  carriesLines: true,
  hasSockets: true
})

/** A broker with the key. */
const withKey =
  (clientKeys: ReadonlyArray<string> = []) => <A, E>(test: Effect.Effect<A, E, TestBroker | Scope.Scope>) =>
    Effect.gen(function*() {
      const secretKeyFile = join(yield* temporaryFolder, "broker.key")
      Fs.writeFileSync(secretKeyFile, `${Redacted.value(pair.secretKey)}\n`)
      return yield* test.pipe(withBroker({ curve: { secretKeyFile, clientKeys } }))
    })

const open = (url: string | Redacted.Redacted, transport?: ZmqTransport.Options) =>
  Client.Client.use((client) => client.broadcast("room", "secret-event", { text: "secret-text" })).pipe(
    Effect.provide(Kosmonaut.layerClient({ url, transport }))
  )

const reasonOf = (error: unknown) => {
  assert.strictEqual((error as KosmonautError.ConnectionError)._tag, "ConnectionError", String(error))
  return (error as KosmonautError.ConnectionError).reason
}

const urlOf = (port: number, key: string) => `wrs://${token}@127.0.0.1:${port}/test?serverKey=${key}`

describe("a broker with a key", () => {
  it.live("has it in its URL, and serves those that do not encrypt as well", () =>
    Effect.gen(function*() {
      const { broker, urls } = yield* TestBroker
      assert.strictEqual(broker.serverKey, pair.publicKey)
      assert.strictEqual(Redacted.value(urls.backend), urlOf(broker.backendPort, pair.publicKey))
      yield* open(urls.backend)
      yield* open(`wrs://${token}@127.0.0.1:${broker.tcpPort}/test`, {
        curve: { serverKey: CurveKey.toZ85(pair.publicKey), secretKey: other.secretKey }
      })
      yield* open(`wr://${token}@127.0.0.1:${broker.backendPort}/test`)
      yield* open(urls.backendTcp)
    }).pipe(withKey()))

  it.live("is told from one with another key, by Clients and Workers", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const url = urlOf(broker.backendPort, other.publicKey)
      const reason = reasonOf(yield* Effect.flip(open(url)))
      assert.strictEqual(reason._tag, "UntrustedBrokerError")
      assert.include(reason.message, "it has another key than serverKey says")
      const worker = yield* Layer.build(Kosmonaut.layer({ url }))
      const listening = yield* Effect.forkScoped(
        Context.get(worker, Worker.Worker).listen({ onMessage: () => Effect.void })
      )
      assert.strictEqual((yield* Effect.flip(Fiber.join(listening)))._tag, "UntrustedBrokerError")
    }).pipe(withKey()))

  it.live("is told from one without a key", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const reason = reasonOf(yield* Effect.flip(open(urlOf(broker.backendPort, pair.publicKey))))
      assert.strictEqual(reason._tag, "ConnectionRefusedError")
      assert.include(reason.message, "Does the broker have a key (--curve-secret-key-file)?")
    }).pipe(withBroker()))

  it.live("sends and reads nothing in clear text", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const seen: Array<Buffer> = []
      const tap = yield* TcpProxy.make(broker.backendPort, (bytes) => seen.push(bytes))
      const wire = (url: string) => Effect.map(open(url), () => Buffer.concat(seen.splice(0)).toString("latin1"))
      const secrets = [token, "secret-event", "secret-text", "/test"]
      const encrypted = yield* wire(urlOf(tap.port, pair.publicKey))
      for (const secret of secrets) assert.notInclude(encrypted, secret)
      const plain = yield* wire(`wr://${token}@127.0.0.1:${tap.port}/test`)
      for (const secret of secrets) assert.include(plain, secret)
    }).pipe(withKey()))
})

describe("a broker that accepts certain keys", () => {
  it.live("rejects all others, and those without one, with 402", () =>
    Effect.gen(function*() {
      const { broker, urls } = yield* TestBroker
      yield* open(urls.backend, { curve: { secretKey: other.secretKey } })
      const plain = `wr://${token}@127.0.0.1:${broker.backendPort}/test`
      for (
        const [url, curve] of [[urls.backend, { secretKey: pair.secretKey }], [urls.backend], [plain], [
          urls.backendTcp
        ]] as const
      ) {
        const error = yield* Effect.flip(open(url!, { curve }))
        assert.strictEqual(error._tag, "UnauthorizedError")
      }
    }).pipe(withKey([other.publicKey])))
})

describe("a handshake", () => {
  const metadata = Zmtp.encodeProperties({ "Socket-Type": "DEALER", "Identity": identity("req") })

  /** Both sides, after a handshake. */
  const shaken = () => {
    const [client, broker] = [CurveClient.make(server), Curve.make(server)]
    const hello = client.hello()
    const initiate = client.initiate(Result.getOrThrow(broker.welcome(hello)), metadata)
    const initiated = Result.getOrThrow(broker.initiate(initiate))
    return { client, broker, hello, initiate, initiated }
  }
  const changed = (whole: Buffer, at: number, by: number) => {
    const copy = Buffer.from(whole)
    copy[at % copy.length]! ^= by
    return copy
  }

  it("shows the Client's key and metadata, and frames travel both ways", () => {
    const { broker, client, initiated } = shaken()
    assert.deepStrictEqual(initiated, { key: client.key, metadata: Buffer.from(metadata) })
    for (const size of [0, 1, 255, 70_000]) {
      const frame = Buffer.alloc(size, "x")
      assert.deepStrictEqual(broker.open(client.seal(1, frame)), Buffer.concat([Buffer.from([1]), frame]))
      assert.deepStrictEqual(client.open(broker.seal(2, frame)), Buffer.concat([Buffer.from([2]), frame]))
    }
  })

  it.prop("fails if anything in it is changed", [int(0, 10_000), int(1, 255)], ([at, by]) => {
    const client = CurveClient.make(server)
    const broker = Curve.make(server)
    const hello = client.hello()
    // What is between only makes it as large as the response.
    const inHello = at % 122 < 2 ? at % 122 : 72 + at % 122
    assert.isTrue(Result.isFailure(Curve.make(server).welcome(changed(hello, inHello, by))))
    const initiate = client.initiate(Result.getOrThrow(broker.welcome(hello)), metadata)
    assert.isTrue(Result.isFailure(broker.initiate(changed(initiate, at, by))))
  })

  it.prop("and frames fail if anything in them is changed", [int(0, 10_000), int(1, 255)], ([at, by]) => {
    const { broker, client } = shaken()
    const sealed = client.seal(0, Buffer.from("frame"))
    assert.isUndefined(broker.open(changed(sealed, at, by)))
    assert.isDefined(broker.open(sealed))
  })

  it("cannot be replayed, and neither can frames, nor change their order", () => {
    const { broker, client, hello, initiate } = shaken()
    const [first, second] = [client.seal(0, Buffer.from("1")), client.seal(0, Buffer.from("2"))]
    assert.isDefined(broker.open(second))
    for (const replayed of [first, second]) assert.isUndefined(broker.open(replayed))
    assert.isTrue(Result.isFailure(broker.welcome(hello)))
    assert.isTrue(Result.isFailure(broker.initiate(initiate)))
    const again = Curve.make(server)
    assert.isTrue(Result.isFailure(again.initiate(initiate)))
    Result.getOrThrow(again.welcome(hello))
    assert.isTrue(Result.isFailure(again.initiate(initiate)))
    assert.isUndefined(again.open(second))
  })

  it.prop("fails with anything else", [bytes, bytes], ([one, two]) => {
    const broker = Curve.make(server)
    assert.isTrue(Result.isFailure(broker.welcome(Buffer.from(one))))
    assert.isTrue(Result.isFailure(broker.initiate(Buffer.concat([one, Buffer.alloc(300), two]))))
    assert.isUndefined(broker.open(Buffer.concat([Buffer.from("\x07MESSAGE"), one, two])))
  })

  it("fails if the Client vouches for another connection, or another broker", () => {
    for (const vouchedFor of [Buffer.alloc(64), Buffer.concat([Buffer.alloc(32), server.publicKey])]) {
      const [client, broker] = [CurveClient.make(server), Curve.make(server)]
      const welcome = Result.getOrThrow(broker.welcome(client.hello()))
      assert.isTrue(Result.isFailure(broker.initiate(client.initiate(welcome, metadata, vouchedFor))))
    }
  })

  it("fails with another form of a public key", () => {
    const hello = changed(CurveClient.make(server).hello(), 105, 128)
    assert.isTrue(Result.isFailure(Curve.make(server).welcome(hello)))
  })

  it("fails with public keys that give the secret away", () => {
    const hello = Buffer.concat([Buffer.from([1, 0]), Buffer.alloc(72 + 32 + 8 + 80)])
    assert.isTrue(Result.isFailure(Curve.make(server).welcome(hello)))
  })

  const command = (name: string, body: Uint8Array) => {
    const content = Buffer.concat([Buffer.from([name.length]), Buffer.from(name), body])
    return Zmtp.encodeFrame(4, content)
  }

  it.live("that does not end in time ends the connection", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const hello = CurveClient.make(server).hello()
      const attempts = [[], [command("HELLO", hello)], [command("HELLO", hello).subarray(0, 50)]]
      const peers = yield* Effect.forEach(attempts, (attempt) =>
        Effect.tap(
          RawTcp.connect(broker.backendPort),
          ({ send }) => send(Buffer.concat([Zmtp.curveGreeting, ...attempt]))
        ))
      yield* Effect.forEach(peers, ({ ended }) => ended)
    }).pipe(withKey()))

  it.live("that is replayed or wrong ends the connection, and the broker serves on", () =>
    Effect.gen(function*() {
      const { broker, urls } = yield* TestBroker
      const { client, hello, initiate } = shaken()
      const first = [command("HELLO", hello), command("INITIATE", initiate)]
      const attempts: ReadonlyArray<ReadonlyArray<Uint8Array>> = [
        [...first, Zmtp.encodeFrame(0, client.seal(0, Buffer.from("x")))],
        [command("READY", metadata)],
        [Zmtp.encodeFrame(0, Buffer.from("a message"))],
        [command("HELLO", hello), command("HELLO", hello)],
        [command("HELLO", hello), Zmtp.encodeFrame(0, client.seal(0, Buffer.from("x")))],
        [command("HELLO", Buffer.alloc(194))],
        [command("HELLO", hello), Zmtp.encodeFrame(0, Buffer.alloc(5000))]
      ]
      for (const attempt of attempts) {
        const peer = yield* RawTcp.connect(broker.backendPort)
        yield* peer.send(Buffer.concat([Zmtp.curveGreeting, ...attempt]))
        assert.include(yield* peer.rest, "ERROR")
      }
      yield* open(urls.backend)
    }).pipe(withKey()))
})
