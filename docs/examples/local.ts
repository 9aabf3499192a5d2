/**
 * What the examples share: a broker in this process, on free ports, a backend's Client and Worker for it, and browsers.
 */
import { Context, Effect, Layer, type Redacted } from "effect"
import { Client, Kosmonaut } from "kosmonaut"
import { Browser } from "kosmonaut/browser"
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

/** A token with which a user may join every channel. */
export const tokenFor = Effect.fnUntraced(function*(uid: string) {
  const client = yield* Client.Client
  return yield* client.requestSingleAccessToken(uid, ".*")
})

/** A browser until the scope ends, which gets its tokens like this. */
export const browser = Effect.fnUntraced(function*<E, R>(token: Effect.Effect<Redacted.Redacted, E, R>) {
  const { websocket } = yield* urls
  return Context.get(yield* Layer.build(Browser.layer({ url: websocket, token })), Browser.Browser)
})
