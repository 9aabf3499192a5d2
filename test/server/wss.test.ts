import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Scope } from "effect"
import * as Https from "node:https"
import { Broker, type BrokerConfig } from "../../src/server/index.ts"
import * as Certificates from "../harness/certificates.ts"
import { eventually } from "../harness/eventually.ts"
import { logged } from "../harness/logged.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"
import * as TcpProxy from "../harness/TcpProxy.ts"
import { layer, TestBroker } from "../harness/TestBroker.ts"
import * as TlsHello from "../harness/TlsHello.ts"
import { withBroker } from "../harness/withBroker.ts"

const { connect: open } = Certificates

const tls = { cert: Certificates.certOf("server"), key: Certificates.keyOf("server") }

const port = TestBroker.use(({ broker }) => Effect.succeed(broker.websocketPort))

/** A browser over TLS, past its greeting. */
const browser = Effect.gen(function*() {
  const raw = yield* RawWebSocket.connect(yield* port, "/test", { open })
  assert.match(raw.head, /^HTTP\/1.1 101/)
  // On a busy machine it may be pinged before.
  let greeting = yield* raw.next
  for (; greeting.opcode === 9; greeting = yield* raw.next) yield* raw.send(10, "")
  assert.include(text(greeting), ":connected")
  return raw
})

const text = ({ payload }: RawWebSocket.Frame) => String(payload)

const speaks = Effect.fnUntraced(function*(raw: Effect.Success<typeof browser>) {
  yield* raw.send(1, `{"subscribe":{"channel":"room"}}`)
  assert.include(text(yield* raw.next), ":subscribed")
  const { vhost } = yield* TestBroker
  yield* vhost.channels.broadcast("room", "said", { n: 1 })
  while (!text(yield* raw.next).includes("said"));
})

const get = (port: number, path: string) =>
  Effect.callback<{ readonly status: number | undefined; readonly body: string }>((resume) => {
    Https.get({ host: "127.0.0.1", port, path, ca: Certificates.ca, agent: false }, (response) => {
      let body = ""
      response.on("data", (chunk) => body += String(chunk))
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode, body })))
    })
  })

const start = (tls: BrokerConfig.Options["tls"]) =>
  Effect.scoped(Layer.build(Broker.layer({ websocketPort: 0, backendPort: 0, tcpPort: 0, tls })))

describe("the browsers' port with a certificate", () => {
  it.live("has WebSockets, and answers requests", () =>
    Effect.gen(function*() {
      const { broker, urls } = yield* TestBroker
      assert.match(broker.addresses.websocket, /^wss:\/\/127/)
      assert.match(urls.websocket, /^wss:\/\/127.*\/test$/)
      const raw = yield* browser
      yield* speaks(raw)
      const upgrade = { status: 426, body: "This is a WebSocket endpoint.\n" }
      assert.deepStrictEqual(yield* get(broker.websocketPort, "/test"), upgrade)
      assert.strictEqual((yield* get(broker.websocketPort, "/nope")).status, 404)
    }).pipe(withBroker({ tls })))

  it.live("sends and reads nothing in clear text", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const seen: Array<Buffer> = []
      const tap = yield* TcpProxy.make(yield* port, (bytes) => seen.push(bytes))
      const raw = yield* RawWebSocket.connect(tap.port, "/test", { open })
      assert.include(text(yield* raw.next), ":connected")
      const token = Redacted.value(yield* vhost.accessTokens.issue("joe", ".*"))
      yield* raw.send(1, JSON.stringify({ auth: { token } }))
      assert.include(text(yield* raw.next), ":authenticated")
      yield* raw.send(1, `{"subscribe":{"channel":"private-room"}}`)
      assert.include(text(yield* raw.next), ":subscribed")
      yield* vhost.channels.broadcast("private-room", "secret-event", { text: "secret-text" })
      assert.include(text(yield* raw.next), "secret-text")
      const wire = Buffer.concat(seen).toString("latin1")
      assert.isAbove(wire.length, 1000)
      for (const secret of [token, "secret-event", "secret-text", "/test", "joe", "private-room", "subscribe"]) {
        assert.notInclude(wire, secret)
      }
    }).pipe(withBroker({ tls })))

  it.live("is ready, by the admin port", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const response = yield* Effect.promise(() => fetch(`${broker.addresses.admin}/ready`))
      assert.deepStrictEqual([response.status, yield* Effect.promise(() => response.text())], [
        200,
        `{"status":"ready"}`
      ])
    }).pipe(withBroker({ tls, admin: { port: 0 } })))

  it.live("disconnects those that do not speak TLS, and serves on", () =>
    Effect.gen(function*() {
      const plain = yield* RawTcp.connect(yield* port)
      yield* plain.send("GET /test HTTP/1.1\r\nHost: localhost\r\n\r\n")
      assert.notInclude(yield* plain.rest, "HTTP/1.1 4")
      yield* browser
    }).pipe(withBroker({ tls })))

  it.live("pings, and disconnects those that are silent", () =>
    Effect.gen(function*() {
      const [answers, silent] = [yield* browser, yield* browser]
      for (let round = 0; round < 3; round++) {
        assert.strictEqual((yield* answers.next).opcode, 9)
        yield* answers.send(10, "")
      }
      assert.strictEqual(yield* silent.closeCode, 1001)
      assert.isFalse(yield* answers.hasEnded)
    }).pipe(withBroker({ tls, browsers: { pingInterval: "400 millis" } })))

  it.live("closes a handshake that does not begin, or does not end, in time", () =>
    Effect.gen(function*() {
      const hello = yield* Effect.promise(() => TlsHello.make())
      const peers = yield* Effect.replicateEffect(Effect.flatMap(port, RawTcp.connect), 3)
      for (const [n, peer] of peers.entries()) {
        yield* peer.send(hello.subarray(0, Math.floor(hello.length * n / 2)))
      }
      const slow = yield* Effect.flatMap(port, RawTcp.connect)
      yield* Effect.forkScoped(
        Effect.forEach(hello, (byte) => Effect.andThen(slow.send(Buffer.from([byte])), Effect.sleep("100 millis")))
      )
      yield* Effect.forEach([...peers, slow], ({ ended }) => ended)
      yield* browser
    }).pipe(withBroker({ tls })))

  it.live("ends although a handshake has not ended", () =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const silent = yield* Effect.gen(function*() {
        yield* browser
        const [silent, half] = yield* Effect.replicateEffect(
          Scope.provide(Effect.flatMap(port, RawTcp.connect), scope),
          2
        )
        yield* half!.send(Buffer.from([0x16, 3, 1]))
        return [silent!, half!]
      }).pipe(withBroker({ tls }))
      for (const { ended } of silent) yield* ended
    }))

  it.live("disconnects a browser that does not read, by the bytes that are queued for it", () =>
    Effect.gen(function*() {
      const raw = yield* browser
      yield* raw.send(1, `{"subscribe":{"channel":"room"}}`)
      assert.include(text(yield* raw.next), ":subscribed")
      raw.socket.pause()
      const { vhost } = yield* TestBroker
      const subscribers = Effect.map(
        vhost.channels.list,
        (list) => list.find(({ name }) => name === "room")!.subscribers
      )
      yield* eventually(
        Effect.andThen(
          vhost.channels.broadcast("room", "said", { text: "x".repeat(100_000) }),
          subscribers
        ),
        (count) => count === 0
      )
    }).pipe(withBroker({ tls })))
})

describe("a certificate that changes", () => {
  it.live("is used for new connections, and existing ones stay", () =>
    Effect.gen(function*() {
      const { files, replace } = yield* Certificates.replaceable
      yield* replace(Certificates.contentOf("server"))
      const log = logged()
      yield* Effect.gen(function*() {
        const before = yield* browser
        const serial = yield* Effect.flatMap(port, Certificates.serialAt)

        yield* replace({ ...Certificates.contentOf("server"), cert: "nonsense" })
        yield* eventually(Effect.sync(() => log.lines.join("\n")), (text) => text.includes("ERROR"))
        yield* replace({ ...Certificates.contentOf("renewed"), key: Certificates.contentOf("server").key })
        yield* eventually(Effect.sync(() => log.lines.length), (count) => count > 1)
        assert.strictEqual(yield* Effect.flatMap(port, Certificates.serialAt), serial)
        assert.include(log.lines[0]!, "The certificate that is in use stays")
        assert.notInclude(log.lines.join("\n"), "PRIVATE")

        yield* replace(Certificates.contentOf("renewed"))
        yield* eventually(Effect.flatMap(port, Certificates.serialAt), (now) => now !== serial)
        assert.include(log.lines.at(-1)!, "INFO Using the new certificate")
        yield* speaks(before)
      }).pipe(Effect.provide(Layer.provideMerge(layer({ tls: { ...files, reloadInterval: "10 millis" } }), log.layer)))
    }))
})

describe("a certificate that cannot be used", () => {
  it.live.each<[BrokerConfig.Options["tls"], string]>([
    [{ cert: tls.cert }, "The option tls.key cannot be left out: it is the file of the private key of tls.cert"],
    [{ key: tls.key }, "The option tls.cert cannot be left out"],
    [
      { ...tls, cert: "/nowhere" },
      "The option tls.cert cannot be \"/nowhere\": it is a file that can be read (ENOENT)"
    ],
    [{ ...tls, key: tls.cert }, "The option tls.cert cannot be"],
    [{ ...tls, key: Certificates.keyOf("renewed") }, "(ERR_OSSL_X509_KEY_VALUES_MISMATCH)"]
  ])("is a mistake at the start: %j", ([options, message]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(start(options))
      assert.strictEqual(error._tag, "InvalidOptionError")
      assert.include(error.message, message)
    }))
})
