import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Result } from "effect"
import * as net from "node:net"
import * as tls from "node:tls"
import { Endpoint } from "../../src/index.ts"
import * as TcpTransport from "../../src/transport/TcpTransport.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
import * as Certificates from "../harness/certificates.ts"
import { turn } from "../harness/eventually.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { identity } from "../harness/identity.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import { token } from "../harness/TestBroker.ts"
import { suite } from "./TransportTest.ts"

suite("TCP", {
  scheme: "wr+tcp",
  listen: TcpTransportServer.listen,
  make: TcpTransport.make,
  carriesLines: false,
  hasSockets: true
})

/** A server of ours that answers OK and what it was asked, and keeps by which connections that was. */
const ours = Effect.gen(function*() {
  const connections = new Set<unknown>()
  const server = yield* TcpTransportServer.listen({ host: "127.0.0.1", port: 0, maxMessageSize: 10_000 })
  yield* Effect.forkScoped(server.run({
    onMessage: (peer, frames) =>
      Effect.suspend(() => {
        connections.add(peer.connection)
        peer.sendUnsafe(["OK", ...frames ?? ["unreadable"]])
        return peer.close
      }),
    onClose: () => Effect.void
  }))
  return { connections, port: server.port }
})

const requester = (port: number) =>
  Exchanges.requester(
    TcpTransport.make(),
    Result.getOrThrow(Endpoint.fromUrl(`wr+tcp://${token}@127.0.0.1:${port}/test`))
  )

describe("a connection that is kept", () => {
  it.live("carries all requests of a Client, with their answers", () =>
    Effect.gen(function*() {
      const { connections, port } = yield* ours
      const { request } = yield* requester(port)
      const asked = Array.from({ length: 500 }, (_, index) => ["BC", "room", "event", `${index} ü`.repeat(index % 50)])
      for (let round = 0; round < 2; round++) {
        const answers = yield* Effect.forEach(asked, (frames) => request(frames), { concurrency: "unbounded" })
        assert.deepStrictEqual(answers, asked.map((frames) => ["OK", ...frames]))
      }
      assert.strictEqual(connections.size, 1)
    }))

  it.live("begins with an offer, and echoes the first frame of every message from then on", () =>
    Effect.gen(function*() {
      const { port } = yield* ours
      const peer = yield* RawTcp.connect(port)
      yield* peer.send(RawTcp.message(identity("req"), "K1"))
      assert.strictEqual(yield* peer.next, RawTcp.message("K1"))
      yield* peer.send(RawTcp.message("a", "OC", "room") + RawTcp.message("b", "HB"))
      assert.strictEqual(yield* peer.next, RawTcp.message("a", "OK", "OC", "room"))
      assert.strictEqual(yield* peer.next, RawTcp.message("b", "OK", "HB"))
      yield* peer.send(RawTcp.message("c"))
      assert.strictEqual(yield* peer.next, RawTcp.message("c", "OK"))
    }))

  it.live("ends with what cannot be read", () =>
    Effect.gen(function*() {
      const { port } = yield* ours
      const peer = yield* RawTcp.connect(port)
      yield* peer.send(RawTcp.message(identity("req"), "K1"))
      yield* peer.next
      yield* peer.send("x".repeat(20_000))
      assert.include(yield* peer.rest, "unreadable")
    }))
})

describe.each([
  { name: "TCP", scheme: "wr+tcp", listen: (onSocket: (socket: net.Socket) => void) => net.createServer(onSocket) },
  {
    name: "TLS",
    scheme: "wrs+tcp",
    listen: (onSocket: (socket: net.Socket) => void) => tls.createServer(Certificates.contentOf("server"), onSocket)
  }
])("a connection over $name that has ended", ({ listen, scheme }) => {
  it.live("is read to its end by a broker that writes meanwhile", () =>
    Effect.gen(function*() {
      const accepted = yield* Deferred.make<net.Socket>()
      const server = yield* Effect.acquireRelease(
        Effect.sync(() => listen((socket) => Deferred.doneUnsafe(accepted, Exit.succeed(socket.pause())))),
        (server) => Effect.sync(() => server.close())
      )
      yield* Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
      const { port } = server.address() as net.AddressInfo
      const endpoint = Result.getOrThrow(Endpoint.fromUrl(`${scheme}://${token}@127.0.0.1:${port}/test`))
      const transport = TcpTransport.make({ tls: { ca: Certificates.ca } })
      yield* Effect.scoped(Effect.gen(function*() {
        const { send } = yield* Exchanges.session(transport, endpoint)
        yield* send(["RD"])
        yield* send(["QT"])
      }))
      const socket = yield* Deferred.await(accepted)
      const read = yield* Deferred.make<string>()
      let text = ""
      socket.on("data", (chunk: Buffer) => text += chunk.toString()).pause()
      socket.on("error", ({ message }) => Deferred.doneUnsafe(read, Exit.succeed(message)))
      socket.on("end", () => Deferred.doneUnsafe(read, Exit.succeed(text)))
      // A connection that is closed accepts the first, and answers it by a reset.
      for (let n = 0; n < 3; n++) {
        yield* Effect.callback<void>((resume) => void socket.write(RawTcp.message("HB"), () => resume(Effect.void)))
        yield* turn
      }
      socket.resume()
      assert.match(yield* Deferred.await(read), /RD\n\r\n\r\nQT\n\r\n\r\n$/)
    }))
})

describe("a broker that keeps none", () => {
  it.live("is offered it once, and then asked by a connection for each request", () =>
    Effect.gen(function*() {
      const heard: Array<string> = []
      const server = yield* Effect.acquireRelease(
        Effect.callback<net.Server>((resume) => {
          const server = net.createServer((socket) => {
            socket.on("data", (data) => {
              heard.push(String(data))
              socket.end(String(data).includes("K1") ? RawTcp.message("ER", "400", "") : RawTcp.message("OK", ""))
            })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { request } = yield* requester((server.address() as net.AddressInfo).port)
      for (const channel of ["a", "b", "c"]) assert.deepStrictEqual(yield* request(["OC", channel]), ["OK", ""])
      assert.deepStrictEqual(heard.map((message) => message.split("\n").slice(1, -3)), [
        ["K1"],
        ["", "OC", "a"],
        ["", "OC", "b"],
        ["", "OC", "c"]
      ])
    }))
})
