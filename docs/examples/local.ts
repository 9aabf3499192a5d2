/**
 * What the examples share: a broker in this process, on free ports, a backend's Client and Worker for it, and browsers.
 */
import { Deferred, Effect, Exit, Layer, Queue, Redacted } from "effect"
import { type JsonObject, Kosmonaut } from "kosmonaut"
import { Broker, Vhosts } from "kosmonaut/server"

/** The URLs of the broker's one vhost. */
export const urls = Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const vhosts = yield* Vhosts.Vhosts
  return broker.urls(yield* vhosts.get("/example"))
})

/** A broker with one vhost. */
export const broker = Broker.layer({
  websocketPort: 0,
  backendPort: 0,
  tcpPort: 0,
  vhosts: [{ path: "/example" }]
})

/** A Client and a Worker for it. */
export const backend = Layer.unwrap(Effect.map(urls, ({ backend }) => Kosmonaut.layer({ url: backend })))

/** A browser that is connected until its scope ends, authenticated if it is given a single access token. */
export const browser = Effect.fnUntraced(function*(token?: Redacted.Redacted) {
  const { websocket } = yield* urls
  const inbox = yield* Queue.unbounded<readonly [event: string, data: JsonObject]>()
  const open = yield* Deferred.make<void>()
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => new WebSocket(websocket)),
    (socket) => Effect.sync(() => socket.close())
  )
  socket.onopen = () => Deferred.doneUnsafe(open, Exit.void)
  socket.onmessage = ({ data }) => Queue.offerAllUnsafe(inbox, Object.entries(JSON.parse(String(data))))

  const send = (message: object) => Effect.sync(() => socket.send(JSON.stringify(message)))
  /** Waits for the next event of this name; those before it are skipped. */
  const receive = (event: string): Effect.Effect<JsonObject> =>
    Effect.flatMap(Queue.take(inbox), ([name, data]) => name === event ? Effect.succeed(data) : receive(event))

  yield* Deferred.await(open)
  if (token !== undefined) {
    yield* send({ auth: { token: Redacted.value(token) } })
    yield* receive(":authenticated")
  }
  return { send, receive, close: Effect.sync(() => socket.close()) }
})
