/**
 * Our Client and Worker against the original broker, as it was recorded: they say what it expects, byte for byte but for
 * the fresh id, and understand what it answers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Queue, Redacted } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import { Client, Kosmonaut, Worker } from "../../src/index.ts"
import { tagOf } from "../harness/tagOf.ts"

interface Recorded {
  readonly connection: number
  readonly from: "client" | "server"
  readonly bytes?: string
  readonly closed?: boolean
}

const recording = (name: string): ReadonlyArray<Recorded> =>
  fs.readFileSync(new URL(`../fixtures/original-${name}-exchange.jsonl`, import.meta.url), "utf8")
    .trim().split("\n").map((line) => JSON.parse(line) as Recorded)

const said = (exchange: ReadonlyArray<Recorded>, connection: number, from: Recorded["from"]) =>
  exchange.filter((_) => _.connection === connection && _.from === from).map((_) => _.bytes ?? "").join("")

/** Each connection's id is its own. */
const withoutId = (bytes: string) => bytes.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "<id>")

const accessToken = "b444aa042e176fe65be600a92fc71f926ee71ee6"

/** A TCP server that gives its connections' bytes (as latin1) and sends what it is told. */
const listen = Effect.gen(function*() {
  const connections = yield* Queue.unbounded<{
    readonly chunks: Queue.Queue<string>
    readonly write: (bytes: string) => void
    readonly end: () => void
  }>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<net.Server>((resume) => {
      const server = net.createServer((socket) => {
        const chunks = Effect.runSync(Queue.unbounded<string>())
        socket.on("error", () => undefined)
        socket.on("data", (data) => Queue.offerUnsafe(chunks, data.toString("latin1")))
        Queue.offerUnsafe(connections, {
          chunks,
          write: (bytes) => socket.write(Buffer.from(bytes, "latin1")),
          end: () => socket.end()
        })
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )
  const { port } = server.address() as net.AddressInfo
  return { connections, url: (token: string) => `wr+tcp://${token}@127.0.0.1:${port}/test` }
})

describe("the original broker", () => {
  const exchange = recording("client")
  const text = (JSON.parse(
    Buffer.from(said(exchange, 6, "client").split("\n")[5]!, "latin1").toString("utf8")
  ) as { readonly text: string }).text

  // What the ruby client was asked to do on each recorded connection, where ours would ask at all.
  const requests: ReadonlyArray<
    readonly [number, (client: Client.Client["Service"]) => Effect.Effect<unknown, unknown>]
  > = [
    [1, (client) => client.openChannel("room2")],
    [2, (client) => client.openChannel("room2")],
    [3, (client) => client.openChannel("presence-room")],
    [5, (client) => client.broadcast("room2", "hello", { what: "world" })],
    [6, (client) => client.broadcast("room2", "hello", { text })],
    [7, (client) => client.broadcast("nope", "hello", {})],
    [9, (client) => client.requestSingleAccessToken("joe", ".*")],
    [10, (client) => client.requestSingleAccessToken("joe", "..*{34}")],
    [12, (client) => client.closeChannel("room2")],
    [13, (client) => client.closeChannel("room2")],
    [14, (client) => client.openChannel("x")]
  ]
  const failures: Record<number, string> = {
    7: "ChannelNotFoundError",
    10: "ProtocolError/InternalError",
    13: "ChannelNotFoundError",
    14: "UnauthorizedError"
  }

  it.live.each(requests)(
    "gets the request of connection %i as it expects it, and is understood",
    ([number, request]) =>
      Effect.gen(function*() {
        const { connections, url } = yield* listen
        const expected = said(exchange, number, "client")
        const asked = yield* Client.Client.use(request).pipe(
          Effect.provide(Kosmonaut.layer({ url: url(number === 14 ? "0".repeat(40) : accessToken) })),
          Effect.exit,
          Effect.forkChild
        )
        // What it does not know it takes for a bad request, and carries nothing out.
        const offer = yield* Queue.take(connections)
        assert.match(withoutId(yield* Queue.take(offer.chunks)), /^req:\/test:\w{40}:<id>\nK1\n\r\n\r\n$/)
        offer.write("ER\n400\n\r\n\r\n")
        offer.end()
        const connection = yield* Queue.take(connections)
        let bytes = ""
        while (!bytes.endsWith("\r\n\r\n")) bytes += yield* Queue.take(connection.chunks)
        assert.strictEqual(withoutId(bytes), withoutId(expected))
        connection.write(said(exchange, number, "server"))
        connection.end()
        const exit = yield* Fiber.join(asked)
        if (failures[number] !== undefined) {
          const error = Option.getOrThrow(Exit.findErrorOption(exit)) as { readonly _tag: string }
          assert.strictEqual(tagOf(error), failures[number])
        } else {
          assert.isTrue(Exit.isSuccess(exit))
          if (number === 9 && Exit.isSuccess(exit)) {
            assert.include(said(exchange, 9, "server"), Redacted.value(exit.value as Redacted.Redacted))
          }
        }
      })
  )

  it.live("gets a worker as it expects it, and its events are handled", () =>
    Effect.gen(function*() {
      const exchange = recording("worker")
      const { connections, url } = yield* listen
      const events = yield* Queue.unbounded<readonly [string, unknown]>()
      const listening = yield* Worker.Worker.use((worker) =>
        worker.listen({ onMessage: ({ data, event }) => Queue.offer(events, [event, data]) })
      ).pipe(
        Effect.provide(Kosmonaut.layer({ url: url(accessToken), worker: { heartbeatInterval: "20 millis" } })),
        Effect.forkChild
      )
      const connection = yield* Queue.take(connections)
      const ready = `dlr:/test:${accessToken}:<id>\n\nRD\n\r\n\r\n`
      // The one thing that ours says more; the original ignores what follows a command.
      const addition = `ack\n128\n{"lifecycle":false,"maxAttempts":1}\n`
      const begin = withoutId(yield* Queue.take(connection.chunks))
      assert.strictEqual(begin, ready.replace("RD\n", `RD\n${addition}`))
      assert.strictEqual(begin.replace(addition, ""), ready)
      assert.include(withoutId(said(exchange, 1, "client")), ready)
      connection.write(said(exchange, 1, "server"))
      const names = [(yield* Queue.take(events))[0], (yield* Queue.take(events))[0], (yield* Queue.take(events))[0]]
      assert.deepStrictEqual(names, ["chat/save", "chat/save", "chat/wave"])
      assert.strictEqual(yield* Queue.take(connection.chunks), "HB\n\r\n\r\n")
      const stopping = yield* Effect.forkChild(Fiber.interrupt(listening))
      let last = ""
      while (!last.includes("QT")) last = yield* Queue.take(connection.chunks)
      assert.include(last, "QT\n\r\n\r\n")
      assert.include(said(exchange, 3, "client"), "QT\n\r\n\r\n")
      connection.end()
      yield* Fiber.join(stopping)
    }))
})
