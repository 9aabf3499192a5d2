/**
 * A broker in this very process, a browser that is subscribed, and a backend that broadcasts to it.
 */
import { Console, Deferred, Effect } from "effect"
import { Client, Kosmonaut } from "kosmonaut"
import { connect } from "kosmonaut/script"
import { Broker, Vhosts } from "kosmonaut/server"

const program = Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const vhosts = yield* Vhosts.Vhosts
  const urls = broker.urls(yield* vhosts.get("/hello"))
  const subscribed = yield* Deferred.make<void>()
  const received = yield* Deferred.make<object>()

  // What a browser does.
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => connect(urls.websocket)),
    (connection) => Effect.sync(connection.close)
  )
  const room = connection.subscribe("room")
  room.on("hello", (data) => Deferred.doneUnsafe(received, Effect.succeed(data)))
  room.onState(({ _tag }) => {
    if (_tag === "Subscribed") Deferred.doneUnsafe(subscribed, Effect.void)
  })

  // What a backend does.
  const backend = Effect.gen(function*() {
    const client = yield* Client.Client
    yield* client.openChannel("room")
    yield* Deferred.await(subscribed)
    yield* client.broadcast("room", "hello", { what: "world" })
  })
  yield* Effect.provide(backend, Kosmonaut.layer({ url: urls.backend }))

  yield* Console.log(`The browser received ${JSON.stringify({ hello: yield* Deferred.await(received) })}`)
}).pipe(Effect.scoped)

const broker = Broker.layer({
  websocketPort: 0,
  backendPort: 0,
  tcpPort: 0,
  vhosts: [{ path: "/hello", channels: ["room"] }]
})

await Effect.runPromise(Effect.provide(program, broker))
