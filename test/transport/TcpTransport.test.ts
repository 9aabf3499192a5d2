import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as net from "node:net"
import { Endpoint } from "../../src/index.ts"
import * as TcpTransport from "../../src/transport/TcpTransport.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
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
