/**
 * What a person reads when something is wrong: what it is, and what to do.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as net from "node:net"
import { Client, Kosmonaut, Transport } from "../../src/index.ts"
import { RequestTimeoutError } from "../../src/protocol/KosmonautError.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import { layer, TestBroker, token } from "../harness/TestBroker.ts"

/** What a request to this URL fails with. */
const failure = (
  url: string,
  request = (client: Client.Client["Service"]): Effect.Effect<unknown, Client.RequestError> =>
    Stream.runCollect(client.channels())
) =>
  Effect.flip(Client.Client.use(request)).pipe(
    Effect.provide(Kosmonaut.layer({
      url,
      client: { retry: "none", requestTimeout: "2 seconds" },
      transport: { openTimeout: "500 millis" }
    }))
  )

const portOf = (url: string | Redacted.Redacted) => new URL(Redacted.isRedacted(url) ? Redacted.value(url) : url).port

describe("one of the broker's ports taken for another", () => {
  it.live("is named, with the port that probably is meant", () =>
    Effect.gen(function*() {
      const { urls } = yield* TestBroker
      const ports = { browsers: portOf(urls.websocket) }
      const expected = [
        [
          "wr",
          ports.browsers,
          /Use the port for wr:\/\/, by default 8081, and not that for wr\+tcp:\/\/ \(8083\) or for browsers \(8080\)/
        ],
        ["wr+tcp", ports.browsers, /is a web server\. Use the port for wr\+tcp:\/\/, by default 8083/]
      ] as const
      for (const [scheme, port, message] of expected) {
        const error = yield* failure(`${scheme}://${token}@127.0.0.1:${port}/test`)
        assert.strictEqual(error._tag, "ConnectionError")
        assert.match(error.message, message)
        assert.notMatch(error.message, /\?$/, "more follows in a log line")
      }
    }).pipe(Effect.provide(layer())))
})

/** A TCP server that does this with what it receives. */
const server = (act: (socket: net.Socket, data: string) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: net.Server; readonly sockets: Set<net.Socket> }>((resume) => {
        const sockets = new Set<net.Socket>()
        const server = net.createServer((socket) => {
          sockets.add(socket)
          socket.on("error", () => undefined)
          socket.on("data", (data) => act(socket, String(data)))
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
      }),
      ({ server, sockets }) =>
        Effect.sync(() => {
          server.close()
          sockets.forEach((socket) => socket.destroy())
        })
    ),
    ({ server }) => `wr+tcp://${token}@127.0.0.1:${(server.address() as net.AddressInfo).port}/test`
  )

const broadcast = (size: number) => (client: Client.Client["Service"]) =>
  Effect.mapError(
    client.broadcast("room", "event", { text: "x".repeat(size) }),
    (error) => error as Client.RequestError
  )

describe("a broker at a TCP port", () => {
  it.live("that says nothing is told from one that is not there", () =>
    Effect.gen(function*() {
      const url = yield* server(() => undefined)
      assert.match(
        (yield* failure(url)).message,
        /accepts connections and sends nothing\. Is this the port for wr\+tcp:\/\//
      )
    }))

  it.live("that is the original refuses large messages, which is said beside the token", () =>
    Effect.gen(function*() {
      const url = yield* server((socket, data) => socket.end(`ER\n${data.includes("K1") ? 400 : 402}\n\r\n\r\n`))
      const large = yield* failure(url, broadcast(5000))
      assert.match(
        large.message,
        /the message of 5\d\d\d bytes is too large: the original broker refuses messages of about 4000 bytes/
      )
      const small = yield* failure(url, broadcast(10))
      assert.strictEqual(
        small.message,
        `Unauthorized (402): the access token does not open /test at ${new URL(url).host}`
      )
    }))

  it.live("that is the original may hang up on large messages", () =>
    Effect.gen(function*() {
      const url = yield* server((socket, data) => data.includes("K1") ? socket.end("ER\n400\n\r\n\r\n") : socket.end())
      assert.match(
        (yield* failure(url, broadcast(5000))).message,
        /the original broker refuses messages of about 4000 bytes/
      )
      assert.notMatch((yield* failure(url, broadcast(10))).message, /4000/)
    }))
})

/** A Client whose broker answers this. */
const withAnswer = <A, E>(
  frames: ReadonlyArray<string>,
  request: (client: Client.Client["Service"]) => Effect.Effect<A, E>
) =>
  Client.Client.use(request).pipe(Effect.provide(
    Client.layer({ url: `wr://${token}@broker/test` }).pipe(Layer.provide(Layer.succeed(
      Transport.Transport,
      FakeTransport.respondWith(() => frames)
    )))
  ))

describe("a broker's reason", () => {
  const reason = (code: number) => ["ER", String(code), JSON.stringify({ reason: "the pattern has 1001 characters" })]

  it.effect.each([400, 402, 597])(
    "of a %i is the error's detail, and nothing is guessed",
    (code) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(
          withAnswer(reason(code), (client) => client.requestSingleAccessToken("joe", ".*"))
        )
        assert.match(error.message, new RegExp(`\\(${code}\\): the pattern has 1001 characters$`))
      })
  )

  it.effect("that is absent leaves what was asked for, with its arguments", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        withAnswer(["ER", "597"], (client) => client.requestSingleAccessToken("joe", "("))
      )
      assert.strictEqual(
        error.message,
        `Internal error (597): the broker failed at a token for "joe" and the pattern "(". A pattern has RE2 syntax`
      )
    }))

  it.effect("that is absent says that the broker may not know the options of a token", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        withAnswer(["ER", "400"], (client) => client.requestSingleAccessToken({ uid: "joe", expiresIn: 1000 }))
      )
      assert.strictEqual(
        error.message,
        `Bad request (400): the broker did not understand a token for "joe" with subscribe, info or expiresIn: ` +
          "it may not know this command, as the original does not"
      )
    }))

  it.effect("for a dead letter that cannot be replayed is the error's detail", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(withAnswer(reason(597), (client) => client.deadLetters.replay("a")))
      assert.match(error.message, /1001 characters$/)
    }))
})

describe("a request for which there is no room", () => {
  it.effect("waits before its data is encoded, and fails as one that was not sent", () =>
    Effect.gen(function*() {
      const fake = yield* FakeTransport.connection
      const settling: Array<() => void> = []
      const connection: Transport.Connection = {
        ...fake.connection,
        sendUnsafe: (messages, settled) => fake.connection.sendUnsafe(messages, () => settling.push(settled))
      }
      let encoded = 0
      const data = {
        toJSON: () => {
          encoded++
          return {}
        }
      }
      const client = yield* Client.make({
        url: `wr://${token}@broker/test`,
        retry: "none",
        maxQueuedRequests: 1
      }).pipe(Effect.provideService(Transport.Transport, FakeTransport.make(() => Effect.succeed(connection))))
      const start = <A, E>(request: Effect.Effect<A, E>) =>
        Effect.forkChild(Effect.flip(request), { startImmediately: true })

      // In flight, unsent, and the one that is admitted when that times out.
      yield* start(client.openChannel("a"))
      yield* Effect.yieldNow
      for (const name of ["b", "c"]) yield* start(client.openChannel(name))
      const waiting = yield* Effect.forEach(
        [client.broadcast("room", "e", data), client.sendTo("s", "e", data), client.openChannel("room")],
        (request) => start<void, unknown>(request)
      )
      yield* TestClock.adjust("1 second")
      // The broker is alive, it just does not read.
      fake.respond("1", ["OK"])
      yield* TestClock.adjust("4 seconds")
      const errors = yield* Effect.forEach(waiting, (fiber) => Fiber.join(fiber))
      assert.deepStrictEqual(
        errors.map((error) => error instanceof RequestTimeoutError && [error.command, error.wasSent]),
        [["BC", "no"], ["ST", "no"], ["OC", "no"]]
      )
      assert.strictEqual(encoded, 0)
      assert.deepStrictEqual(fake.sent.map(({ frames }) => frames), [["OC", "a"]])
    }))
})
