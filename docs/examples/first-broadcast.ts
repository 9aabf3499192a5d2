/**
 * A broker in this very process, a browser that is subscribed, and a backend that broadcasts to it.
 */
import { Console, Deferred, Effect } from "effect"
import { Client, Kosmonaut } from "kosmonaut"
import { Broker, Vhosts } from "kosmonaut/server"

const program = Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const vhosts = yield* Vhosts.Vhosts
  const urls = broker.urls(yield* vhosts.get("/hello"))

  // What a page does in its browser: it subscribes to a channel and receives what is broadcast there.
  const subscribed = yield* Deferred.make<void>()
  const received = yield* Deferred.make<string>()
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => new WebSocket(urls.websocket)),
    (socket) => Effect.sync(() => socket.close())
  )
  socket.onopen = () => socket.send(JSON.stringify({ subscribe: { channel: "room" } }))
  socket.onmessage = ({ data }) => {
    if (String(data).startsWith("{\":subscribed\"")) Deferred.doneUnsafe(subscribed, Effect.void)
    if (String(data).startsWith("{\"hello\"")) Deferred.doneUnsafe(received, Effect.succeed(String(data)))
  }

  // What a backend does.
  const backend = Effect.gen(function*() {
    const client = yield* Client.Client
    yield* client.openChannel("room")
    yield* Deferred.await(subscribed)
    yield* client.broadcast("room", "hello", { what: "world" })
  })
  yield* Effect.provide(backend, Kosmonaut.layer({ url: urls.backend }))

  yield* Console.log(`The browser received ${yield* Deferred.await(received)}`)
}).pipe(Effect.scoped)

const broker = Broker.layer({
  websocketPort: 0,
  backendPort: 0,
  tcpPort: 0,
  vhosts: [{ path: "/hello", channels: ["room"] }]
})

await Effect.runPromise(Effect.provide(program, broker))
