/**
 * What every pair of a transport and its server promises, as one suite to be run over each.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Option, Queue, Result, Scope } from "effect"
import * as net from "node:net"
import { Endpoint } from "../../src/index.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import * as Identity from "../../src/protocol/Identity.ts"
import type { ConnectionError, RequestTimeoutError } from "../../src/protocol/KosmonautError.ts"
import type { Transport } from "../../src/transport/Transport.ts"
import type { Listen, Peer } from "../../src/transport/TransportServer.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { token } from "../harness/TestBroker.ts"

export interface Driver {
  readonly scheme: Endpoint.Scheme
  readonly listen: Listen
  readonly make: (
    options?: { readonly maxMessageSize?: number; readonly openTimeout?: Duration.Input }
  ) => Transport["Service"]
  /** Whether a frame may hold line breaks. */
  readonly carriesLines: boolean
  /** Whether it uses sockets and addresses of the system, where there can be others than ours. */
  readonly hasSockets: boolean
}

interface Heard {
  readonly peer: Peer
  readonly frames: Frames | undefined
}

/** A server that puts what it hears into a queue, and answers what `answer` says. */
const serve = Effect.fnUntraced(function*(driver: Driver, options?: {
  readonly port?: number
  readonly maxMessageSize?: number
  readonly answer?: (frames: Frames) => Frames | undefined
}) {
  const heard = yield* Queue.unbounded<Heard>()
  const closed = yield* Queue.unbounded<Peer>()
  const server = yield* driver.listen({
    host: "127.0.0.1",
    port: options?.port ?? 0,
    maxMessageSize: options?.maxMessageSize ?? 10_000
  })
  yield* server.run({
    onMessage: (peer, frames) =>
      Effect.suspend(() => {
        Queue.offerUnsafe(heard, { peer, frames })
        const answer = frames === undefined ? undefined : options?.answer?.(frames)
        if (answer === undefined) return Effect.void
        peer.sendUnsafe(answer)
        return peer.close
      }),
    onClose: (peer) => Queue.offer(closed, peer)
  }).pipe(Effect.forkScoped)
  const endpoint = Result.getOrThrow(
    Endpoint.fromUrl(`${driver.scheme}://${token}@127.0.0.1:${server.port}/test`)
  )
  return { heard, closed, endpoint, port: server.port }
})

/** A TCP server that is no broker. */
const impostor = (act: (socket: net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: net.Server; readonly open: Set<net.Socket> }>((resume) => {
      const open = new Set<net.Socket>()
      const server = net.createServer((socket) => {
        open.add(socket)
        socket.on("error", () => undefined)
        act(socket)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, open })))
    }),
    ({ open, server }) =>
      Effect.sync(() => {
        server.close()
        open.forEach((socket) => socket.destroy())
      })
  ).pipe(Effect.map(({ server }) => (server.address() as net.AddressInfo).port))

/** Where nothing is about the time that it takes to open a connection: longer than a machine takes that has much else to do. */
const patient = { openTimeout: "12 seconds" } as const

const echo = (frames: Frames): Frames => ["OK", ...frames]

export const suite = (name: string, driver: Driver) => {
  const requester = (
    endpoint: Endpoint.Endpoint,
    options?: { readonly maxMessageSize?: number; readonly requestTimeout?: Duration.Input }
  ) =>
    Exchanges.requester(driver.make({ ...patient, maxMessageSize: options?.maxMessageSize ?? 10_000 }), endpoint, {
      requestTimeout: options?.requestTimeout
    })

  const session = (endpoint: Endpoint.Endpoint) => Exchanges.session(driver.make(patient), endpoint)

  describe(`Transport over ${name}`, () => {
    describe("a requester", () => {
      it.live("carries a command and its answer, and says who asks", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver, { answer: echo })
          const { request } = yield* requester(endpoint)
          const answer = yield* request(["BC", "room", "zażółć 👍", "", "{\"a\":1}"])
          assert.deepStrictEqual(answer, ["OK", "BC", "room", "zażółć 👍", "", "{\"a\":1}"])
          const { frames, peer } = yield* Queue.take(heard)
          assert.deepStrictEqual(frames, ["BC", "room", "zażółć 👍", "", "{\"a\":1}"])
          const identity = Option.getOrThrow(Identity.decode(peer.identity))
          assert.strictEqual(identity.kind, "req")
          assert.strictEqual(identity.vhost, "/test")
        }))

      it.live("gives each of many requests its own answer, in whatever order answers come", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          const { request } = yield* requester(endpoint)
          const answers = yield* Effect.forkChild(
            Effect.forEach(Array.from({ length: 50 }, (_, n) => n), (n) => request(["BC", String(n)]), {
              concurrency: "unbounded"
            })
          )
          const asked = yield* Effect.raceFirst(
            Effect.forEach(Array.from({ length: 50 }), () => Queue.take(heard)),
            Effect.andThen(Fiber.join(answers), Effect.die("there was an answer before all were asked"))
          )
          for (const { frames, peer } of asked.toReversed()) {
            peer.sendUnsafe(["OK", frames![1]!])
            yield* peer.close
          }
          assert.deepStrictEqual(yield* Fiber.join(answers), Array.from({ length: 50 }, (_, n) => ["OK", String(n)]))
        }))

      it.live("fails where nobody listens", () =>
        Effect.gen(function*() {
          const free = yield* Effect.scoped(Effect.map(serve(driver), ({ endpoint }) => endpoint))
          const { request } = yield* requester(free)
          const error = yield* Effect.flip(request(["OC", "room"]))
          assert.strictEqual(error._tag, "ConnectionError")
          assert.strictEqual((error as ConnectionError).reason._tag, "ConnectionRefusedError")
          assert.include(error.message, free.address)
        }))

      it.live("fails what is in flight when the server goes, and connects again when it is back", () =>
        Effect.gen(function*() {
          const first = yield* Scope.make()
          const { endpoint, heard, port } = yield* Scope.provide(serve(driver), first)
          const { request } = yield* requester(endpoint)
          const inFlight = yield* Effect.forkChild(Effect.flip(request(["OC", "a"])))
          const before = yield* Queue.take(heard)
          yield* Scope.close(first, Exit.void)
          const error = yield* Fiber.join(inFlight)
          assert.strictEqual(error._tag, "ConnectionError")
          assert.strictEqual((error as ConnectionError).reason._tag, "ConnectionClosedError")

          const again = yield* serve(driver, { port, answer: echo })
          assert.deepStrictEqual(yield* request(["OC", "b"]), ["OK", "OC", "b"])
          const after = yield* Queue.take(again.heard)
          assert.deepStrictEqual(after.frames, ["OC", "b"], "the failed request is not repeated")
          assert.notStrictEqual(after.peer.identity, before.peer.identity, "a new connection has a new identity")
        }))

      it.live("fails a request that is not answered in time, and goes on with others", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver, {
            answer: ([, what]) => what === "lost" ? undefined : ["OK"]
          })
          const { request } = yield* requester(endpoint, { requestTimeout: "100 millis" })
          const error = yield* Effect.flip(request(["CC", "lost"]))
          assert.strictEqual(error._tag, "RequestTimeoutError")
          assert.strictEqual((error as RequestTimeoutError).command, "CC")
          const late = yield* Queue.take(heard)
          late.peer.sendUnsafe(["OK", "late"])
          assert.strictEqual((yield* Effect.retry(request(["CC", "found"]), { times: 100 }))[0], "OK")
        }))

      it.live("lets a request be interrupted without harm to the others", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          const { request } = yield* requester(endpoint)
          const one = yield* Effect.forkChild(request(["OC", "one"]))
          const first = yield* Queue.take(heard)
          const other = yield* Effect.forkChild(request(["OC", "other"]))
          const second = yield* Queue.take(heard)
          yield* Fiber.interrupt(one)
          first.peer.sendUnsafe(["OK", "one"])
          second.peer.sendUnsafe(["OK", "other"])
          yield* second.peer.close
          assert.deepStrictEqual(yield* Fiber.join(other), ["OK", "other"])
        }))

      it.live("survives the interruption of whoever was connecting", () =>
        Effect.gen(function*() {
          const { endpoint } = yield* serve(driver, { answer: echo })
          const { request } = yield* requester(endpoint)
          const fibers = yield* Effect.forEach(
            Array.from({ length: 10 }, (_, n) => String(n)),
            (n) => Effect.forkChild(request(["OC", n]), { startImmediately: true })
          )
          yield* Fiber.interrupt(fibers[0]!)
          for (let n = 1; n < 10; n++) {
            assert.deepStrictEqual(yield* Fiber.join(fibers[n]!), ["OK", "OC", String(n)])
          }
        }))

      it.live("refuses what cannot travel before anything is sent", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver, { maxMessageSize: 2000, answer: echo })
          const { request } = yield* requester(endpoint, { maxMessageSize: 2000 })
          const large = yield* Effect.flip(request(["BC", "room", "x".repeat(2000)]))
          assert.strictEqual(large._tag, "MessageEncodeError")
          const half = yield* Effect.flip(request(["BC", "room", "\ud800"]))
          assert.strictEqual(half._tag, "MessageEncodeError")
          const lines = yield* Effect.exit(request(["AT", "joe\nOC", ".*"]))
          assert.strictEqual(Exit.isSuccess(lines), driver.carriesLines)
          yield* request(["BC", "room", "x".repeat(1700)])
          if (driver.carriesLines) yield* Queue.take(heard)
          const { frames } = yield* Queue.take(heard)
          assert.strictEqual(frames?.[2]?.length, 1700)
          assert.strictEqual(yield* Queue.size(heard), 0)
        }))

      it.live("fails what is in flight when its own scope ends", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          const scope = yield* Scope.make()
          const { request } = yield* Scope.provide(requester(endpoint), scope)
          const inFlight = yield* Effect.forkChild(Effect.exit(request(["OC", "a"])))
          yield* Queue.take(heard)
          yield* Scope.close(scope, Exit.void)
          const exit = yield* Fiber.join(inFlight)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasFails(exit.cause))
        }))
    })

    if (driver.hasSockets) {
      describe("something else at the broker's address", () => {
        const impostors: Record<string, { readonly act: (socket: net.Socket) => void; readonly request: string }> = {
          "that says nothing": { act: () => undefined, request: "ConnectionRefusedError" },
          "that hangs up": { act: (socket) => socket.destroy(), request: "ConnectionRefusedError" },
          "that is a web server": {
            act: (socket) => socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
            request: driver.scheme === "wr+tcp" ? "MalformedMessageError" : "ConnectionRefusedError"
          },
          "that never stops talking": {
            act: (socket) => socket.write("x".repeat(100_000)),
            request: driver.scheme === "wr+tcp" ? "MalformedMessageError" : "ConnectionRefusedError"
          }
        }
        for (const [what, { act, request: expected }] of Object.entries(impostors)) {
          it.live(`${what} fails a request and a session in time`, () =>
            Effect.gen(function*() {
              const port = yield* impostor(act)
              const endpoint = Result.getOrThrow(Endpoint.fromUrl(`${driver.scheme}://${token}@127.0.0.1:${port}/test`))
              const transport = driver.make({ maxMessageSize: 10_000, openTimeout: "200 millis" })
              const { request } = yield* Exchanges.requester(transport, endpoint, { requestTimeout: "200 millis" })
              const error = yield* Effect.flip(request(["OC", "room"]))
              assert.strictEqual("reason" in error ? error.reason._tag : error._tag, expected)
              const conversation = Exchanges.session(transport, endpoint).pipe(
                Effect.flatMap(({ pull, send }) => Effect.andThen(send(["RD"]), pull)),
                Effect.timeout("300 millis"),
                Effect.scoped
              )
              assert.isTrue(Exit.isFailure(yield* Effect.exit(conversation)))
            }))
        }
      })
    }

    describe("a session", () => {
      it.live("carries messages both ways, in order", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          const { pull, send } = yield* session(endpoint)
          yield* send(["RD"])
          for (let n = 0; n < 500; n++) yield* send(["HB", String(n)])
          const { peer } = yield* Queue.take(heard)
          assert.strictEqual(Option.getOrThrow(Identity.decode(peer.identity)).kind, "dlr")
          for (let n = 0; n < 500; n++) {
            assert.deepStrictEqual((yield* Queue.take(heard)).frames, ["HB", String(n)])
          }
          for (let n = 0; n < 3000; n++) peer.sendUnsafe(["TR", `{"n":${n}}`])
          const got: Array<string> = []
          while (got.length < 3000) for (const frames of yield* pull) got.push(frames[1]!)
          assert.deepStrictEqual(got, Array.from({ length: 3000 }, (_, n) => `{"n":${n}}`))
        }))

      it.live("loses nothing when a pull is interrupted", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          const { pull, send } = yield* session(endpoint)
          yield* send(["RD"])
          const { peer } = yield* Queue.take(heard)
          const got: Array<string> = []
          for (let n = 0; n < 20; n++) {
            const waiting = yield* Effect.forkChild(pull, { startImmediately: true })
            yield* Fiber.interrupt(waiting)
            peer.sendUnsafe(["TR", String(n)])
            for (const frames of yield* pull) got.push(frames[1]!)
          }
          assert.deepStrictEqual(got, Array.from({ length: 20 }, (_, n) => String(n)))
        }))

      it.live("gives all that arrived before the end, then fails", () =>
        Effect.gen(function*() {
          const server = yield* Scope.make()
          const { endpoint, heard } = yield* Scope.provide(serve(driver), server)
          const { pull, send } = yield* session(endpoint)
          yield* send(["RD"])
          const { peer } = yield* Queue.take(heard)
          for (let n = 0; n < 200; n++) peer.sendUnsafe(["TR", String(n)])
          const allSent = yield* Deferred.make<void>()
          peer.sendUnsafe(["QT"], () => Deferred.doneUnsafe(allSent, Effect.void))
          yield* Deferred.await(allSent)
          yield* peer.close
          yield* Scope.close(server, Exit.void)
          const got: Array<string> = []
          const end = yield* Effect.flip(
            Effect.forever(Effect.map(pull, (batch) => got.push(...batch.map((_) => _[0]!))))
          )
          assert.strictEqual(got.length, 201)
          assert.strictEqual(got.at(-1), "QT")
          assert.strictEqual(end.reason._tag, "ConnectionClosedError")
        }))

      it.live("hands on what was said last before its scope ended", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          yield* Effect.scoped(Effect.gen(function*() {
            const { send } = yield* session(endpoint)
            yield* send(["RD"])
            yield* send(["QT"])
          }))
          assert.deepStrictEqual((yield* Queue.take(heard)).frames, ["RD"])
          assert.deepStrictEqual((yield* Queue.take(heard)).frames, ["QT"])
        }))

      it.live("has an identity of its own each time", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          for (let n = 0; n < 3; n++) {
            yield* Effect.scoped(Effect.flatMap(session(endpoint), ({ send }) => send(["RD"])))
          }
          const identities = new Set<string>()
          for (let n = 0; n < 3; n++) identities.add((yield* Queue.take(heard)).peer.identity)
          assert.strictEqual(identities.size, 3)
        }))

      it.live("fails where nobody listens", () =>
        Effect.gen(function*() {
          const free = yield* Effect.scoped(Effect.map(serve(driver), ({ endpoint }) => endpoint))
          const error = yield* Effect.flip(session(free))
          assert.strictEqual(error.reason._tag, "ConnectionRefusedError")
        }))
    })

    describe("a server", () => {
      it.live("says whether a message could be handed on", () =>
        Effect.gen(function*() {
          const { endpoint, heard } = yield* serve(driver)
          const scope = yield* Scope.make()
          const { pull, send } = yield* Scope.provide(session(endpoint), scope)
          yield* send(["RD"])
          // If the connection ends before, the test says why.
          const { peer } = yield* Effect.raceFirst(Queue.take(heard), Effect.forever(pull))
          const attempt = Effect.callback<boolean>((resume) => {
            peer.sendUnsafe(["HB"], (delivered) => resume(Effect.succeed(delivered)))
          })
          assert.isTrue(yield* attempt)
          yield* Scope.close(scope, Exit.void)
          // The system takes its time to notice: ask until it has.
          yield* Effect.timeout(Effect.repeat(attempt, { until: (delivered) => !delivered }), "12 seconds")
          assert.isFalse(yield* attempt)
        }))

      it.live("names the port that is in use", () =>
        Effect.gen(function*() {
          const { port } = yield* serve(driver)
          const error = yield* Effect.flip(serve(driver, { port }))
          assert.strictEqual(error._tag, "ListenError")
          assert.include(error.message, String(port))
          assert.include(error.message, "in use")
        }))

      if (driver.hasSockets) {
        it.live("refuses an address this machine does not have", () =>
          Effect.gen(function*() {
            const error = yield* Effect.flip(driver.listen({ host: "192.0.2.1", port: 0, maxMessageSize: 1000 }))
            assert.strictEqual(error._tag, "ListenError")
            assert.include(error.message, "192.0.2.1")
          }))
      }

      it.live("frees its port with its scope", () =>
        Effect.gen(function*() {
          const { port } = yield* Effect.scoped(serve(driver))
          for (let n = 0; n < 5; n++) yield* Effect.scoped(serve(driver, { port }))
        }))
    })
  })
}
