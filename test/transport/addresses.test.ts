/**
 * A broker by its host's name: whichever of the name's addresses it listens on, it is found, over both transports.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result } from "effect"
import dns from "node:dns"
import { afterEach, beforeEach, vi } from "vitest"
import { Endpoint } from "../../src/index.ts"
import type { ConnectionError } from "../../src/protocol/KosmonautError.ts"
import * as TcpTransport from "../../src/transport/TcpTransport.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
import * as ZmqTransport from "../../src/transport/ZmqTransport.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { token } from "../harness/TestBroker.ts"

const drivers = [
  { name: "ZeroMQ", scheme: "wr", listen: ZmqTransportServer.listen, make: ZmqTransport.make },
  { name: "TCP", scheme: "wr+tcp", listen: TcpTransportServer.listen, make: TcpTransport.make }
] as const

const v4 = { address: "127.0.0.1", family: 4 }
const v6 = { address: "::1", family: 6 }

/** What the system says of each name. */
const names: Record<string, ReadonlyArray<{ readonly address: string; readonly family: number }>> = {
  "only-v4.test": [v4],
  "only-v6.test": [v6],
  "v4-first.test": [v4, v6],
  "v6-first.test": [v6, v4],
  "nobody.test": []
}

beforeEach(() => {
  const real = dns.lookup
  vi.spyOn(dns, "lookup").mockImplementation(
    ((host: string, options: object, done: (error: Error | null, ...found: ReadonlyArray<unknown>) => void) => {
      const found = names[host]
      if (found === undefined) return real(host, options, done as never)
      if (found.length === 0) return done(Object.assign(new Error(`ENOTFOUND ${host}`), { code: "ENOTFOUND" }))
      if ("all" in options && options.all === true) return done(null, found)
      return done(null, found[0]!.address, found[0]!.family)
    }) as never
  )
})
afterEach(() => void vi.restoreAllMocks())

describe.each(drivers)("a host's addresses over $name", ({ listen, make, scheme }) => {
  const ask = (host: string, port: number) =>
    Effect.flatMap(
      Exchanges.requester(
        make({ openTimeout: "2 seconds" }),
        Result.getOrThrow(Endpoint.fromUrl(`${scheme}://${token}@${host}:${port}/test`))
      ),
      ({ request }) => request(["OC", "room"])
    )
  const serve = (host: string) =>
    Effect.tap(listen({ host, port: 0, maxMessageSize: 10_000 }), ({ run }) =>
      Effect.forkScoped(run({
        onMessage: (peer) => {
          peer.sendUnsafe(["OK"])
          return peer.close
        },
        onClose: () => Effect.void
      })))

  it.live.each([
    ["only-v6.test", "::1"],
    ["v4-first.test", "::1"],
    ["v6-first.test", "::1"],
    ["only-v4.test", "127.0.0.1"],
    ["v4-first.test", "127.0.0.1"],
    ["v6-first.test", "127.0.0.1"],
    ["[::1]", "::1"],
    ["localhost", "127.0.0.1"]
  ])("are tried until the broker is found: %s is at %s", ([host, listening]) =>
    Effect.gen(function*() {
      const { port } = yield* serve(listening)
      assert.deepStrictEqual(yield* ask(host, port), ["OK"])
    }))

  it.live("fail all if nobody listens, or if there are none", () =>
    Effect.gen(function*() {
      const { port } = yield* Effect.scoped(serve("127.0.0.1"))
      for (const host of ["v6-first.test", "nobody.test"]) {
        const exit = yield* Effect.exit(ask(host, port))
        const error = Exit.isFailure(exit) ? Exit.findErrorOption(exit) : undefined
        assert.strictEqual((error as { readonly value: ConnectionError }).value.reason._tag, "ConnectionRefusedError")
        assert.match(
          (error as { readonly value: ConnectionError }).value.message,
          host === "nobody.test" ? /ENOTFOUND/ : /ECONNREFUSED/
        )
      }
    }))
})
