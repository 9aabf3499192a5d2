import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Result, Scope } from "effect"
import * as net from "node:net"
import * as Zmq from "zeromq"
import { Endpoint, type KosmonautError } from "../../src/index.ts"
import * as ZmqTransport from "../../src/transport/ZmqTransport.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { token } from "../harness/TestBroker.ts"
import { suite } from "./TransportTest.ts"

suite("ZeroMQ", {
  scheme: "wr",
  listen: ZmqTransportServer.listen,
  make: ZmqTransport.make,
  carriesLines: true,
  hasSockets: true
})

const endpointOf = (port: number) => Result.getOrThrow(Endpoint.fromUrl(`wr://${token}@127.0.0.1:${port}/test`))

describe("ZmqTransport", () => {
  it.live("leaves a broker that does not read with a long backlog, and lives", () =>
    Effect.gen(function*() {
      const router = yield* Effect.acquireRelease(
        Effect.promise(() => {
          const router = new Zmq.Router({ linger: 0 })
          return router.bind("tcp://127.0.0.1:*").then(() => router)
        }),
        (router) => Effect.sync(() => router.close())
      )
      const scope = yield* Scope.make()
      const { request } = yield* Scope.provide(
        Exchanges.requester(ZmqTransport.make(), endpointOf(Number(router.lastEndpoint!.split(":").at(-1))), {
          requestTimeout: Duration.millis(500)
        }),
        scope
      )
      const errors = yield* Effect.forEach(
        Array.from({ length: 20_000 }),
        () => Effect.flip(request(["BC", "room", "event", "x".repeat(2000)])),
        { concurrency: "unbounded" }
      )
      assert.sameMembers([...new Set(errors.map(({ _tag }) => _tag))].sort(), [
        "ConnectionError",
        "RequestTimeoutError"
      ])
      yield* Scope.close(scope, Exit.void)
    }))

  it.live("fails what is asked at its end or after it, and leaves nobody waiting", () =>
    Effect.gen(function*() {
      const accepted = yield* Deferred.make<void>()
      const sockets: Array<net.Socket> = []
      const server = yield* Effect.acquireRelease(
        Effect.callback<net.Server>((resume) => {
          // It never answers the handshake.
          const server = net.createServer((socket) => {
            sockets.push(socket)
            Deferred.doneUnsafe(accepted, Effect.void)
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.sync(() => {
            server.close()
            sockets.forEach((socket) => socket.destroy())
          })
      )
      const scope = yield* Scope.make()
      const { request } = yield* Scope.provide(
        Exchanges.requester(
          ZmqTransport.make({ openTimeout: "12 seconds" }),
          endpointOf((server.address() as net.AddressInfo).port),
          {
            requestTimeout: Duration.seconds(60)
          }
        ),
        scope
      )
      const waiting = yield* Effect.forkChild(Effect.flip(request(["OC", "room"])))
      yield* Effect.raceFirst(Deferred.await(accepted), Effect.flatMap(Fiber.join(waiting), Effect.die))
      yield* Scope.close(scope, Exit.void)
      const errors = [yield* Fiber.join(waiting), yield* Effect.flip(request(["OC", "room"]))]
      for (const error of errors) {
        assert.strictEqual((error as KosmonautError.ConnectionError).reason._tag, "ConnectionClosedError")
      }
    }))

  it.live("connects once for all who wait for it", () =>
    Effect.gen(function*() {
      const accepted: Array<net.Socket> = []
      const server = yield* Effect.acquireRelease(
        Effect.callback<net.Server>((resume) => {
          const server = net.createServer((socket) => accepted.push(socket))
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.sync(() => {
            server.close()
            accepted.forEach((socket) => socket.destroy())
          })
      )
      const { request } = yield* Exchanges.requester(
        ZmqTransport.make({ openTimeout: "1 second" }),
        endpointOf((server.address() as net.AddressInfo).port),
        { requestTimeout: Duration.seconds(5) }
      )
      const errors = yield* Effect.forEach(
        Array.from({ length: 20 }),
        () => Effect.flip(request(["OC", "room"])),
        { concurrency: "unbounded" }
      )
      assert.isTrue(
        errors.every((error) => error._tag === "ConnectionError" && error.reason._tag === "ConnectionRefusedError")
      )
      assert.strictEqual(accepted.length, 1)
    }))
})
