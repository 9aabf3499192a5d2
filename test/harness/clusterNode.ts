/**
 * Brokers of a test that share a Redis, each with a network of its own to it, and who connects to them.
 */
import { type Cause, Context, Effect, Layer, Redacted } from "effect"
import { Kosmonaut } from "../../src/index.ts"
import { Broker, type BrokerConfig, Vhosts } from "../../src/server/index.ts"
import * as Browser from "./Browser.ts"
import * as TcpProxy from "./TcpProxy.ts"
import { token } from "./TestBroker.ts"

/** Starts one, until the scope ends. */
export const start = Effect.fnUntraced(function*(
  redis: { readonly port: number | (() => number) },
  options: BrokerConfig.Options = {}
) {
  const proxy = yield* TcpProxy.make(redis.port)
  const context = yield* Layer.build(Layer.fresh(Broker.layer({
    websocketPort: 0,
    backendPort: 0,
    tcpPort: 0,
    vhosts: [{ path: "/test", token, channels: ["room", "presence-room"] }],
    redis: { url: `redis://127.0.0.1:${proxy.port}` },
    ...options
  })))
  const broker = Context.get(context, Broker.Broker)
  const vhost = yield* Context.get(context, Vhosts.Vhosts).get("/test")
  return { proxy, vhost, url: `${broker.addresses.websocket}/test`, backend: broker.urls(vhost).backendTcp }
})

export type Node = Effect.Success<ReturnType<typeof start>>

/** A browser of a user at a node, subscribed to a channel. */
export const subscriber = Effect.fnUntraced(function*(node: Node, channel: string, uid?: string, from: Node = node) {
  const browser = yield* Browser.connect(node.url)
  if (uid !== undefined) {
    // Issued by another node than the one that it is used at.
    yield* browser.send({ auth: { token: Redacted.value(yield* from.vhost.issueToken(uid, ".*")) } })
    yield* browser.nextOf(":authenticated")
  }
  yield* browser.send({ subscribe: { channel } })
  yield* browser.nextOf(":subscribed")
  return browser
})

/** Waits until a browser is told that a user has joined or left. */
export const told = (
  browser: Browser.Browser,
  event: ":memberJoined" | ":memberLeft",
  uid: string
): Effect.Effect<void, Cause.Done> =>
  Effect.flatMap(
    browser.nextOf(event),
    (data) => (data as { readonly uid: string }).uid === uid ? Effect.void : told(browser, event, uid)
  )

/** A Client and a Worker of a node. */
export const backend = (node: Node) => Layer.build(Layer.fresh(Kosmonaut.layer({ url: node.backend })))
