/**
 * A broker in this very process, a page that listens, and a backend that broadcasts to it.
 */
import { Console, Deferred, Effect } from "effect"
import { Client, Kosmonaut } from "kosmonaut"
import { Broker, Vhosts } from "kosmonaut/server"

const program = Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const vhosts = yield* Vhosts.Vhosts
  const urls = broker.urls(yield* vhosts.get("/hello"))

  // What a page does: it subscribes to a channel and hears what is said there.
  const subscribed = yield* Deferred.make<void>()
  const heard = yield* Deferred.make<string>()
  const page = yield* Effect.acquireRelease(
    Effect.sync(() => new WebSocket(urls.websocket)),
    (page) => Effect.sync(() => page.close())
  )
  page.onopen = () => page.send(JSON.stringify({ subscribe: { channel: "room" } }))
  page.onmessage = ({ data }) => {
    if (String(data).startsWith("{\":subscribed\"")) Deferred.doneUnsafe(subscribed, Effect.void)
    if (String(data).startsWith("{\"hello\"")) Deferred.doneUnsafe(heard, Effect.succeed(String(data)))
  }

  // What a backend does.
  const backend = Effect.gen(function*() {
    const client = yield* Client.Client
    yield* client.openChannel("room")
    yield* Deferred.await(subscribed)
    yield* client.broadcast("room", "hello", { what: "world" })
  })
  yield* Effect.provide(backend, Kosmonaut.layer({ url: urls.backend }))

  yield* Console.log(`The page heard ${yield* Deferred.await(heard)}`)
}).pipe(Effect.scoped)

const broker = Broker.layer({
  websocketPort: 0,
  backendPort: 0,
  tcpPort: 0,
  vhosts: [{ path: "/hello", channels: ["room"] }]
})

await Effect.runPromise(Effect.provide(program, broker))
