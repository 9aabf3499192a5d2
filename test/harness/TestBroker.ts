/**
 * A real broker on free ports with the vhost `/test`, and what tests need to reach it.
 */
import { Context, Effect, Layer, Logger, type Redacted } from "effect"
import { Kosmonaut } from "../../src/index.ts"
import type * as Engine from "../../src/server/engine/Vhosts.ts"
import { Broker, BrokerConfig, Vhosts } from "../../src/server/index.ts"
import { engineOf } from "./engine.ts"

/** The vhost `/test` of a running broker, and how to reach it. */
export class TestBroker extends Context.Service<TestBroker, {
  readonly vhost: Engine.Vhost
  readonly broker: Broker.Broker["Service"]
  readonly urls: ReturnType<Broker.Broker["Service"]["urls"]>
}>()("test/TestBroker") {}

export const token = "0123456789abcdef0123456789abcdef01234567"

/** A broker with `/test`, its channels `room`, `presence-room` and `private-room`, and `options` over that. */
export const layer = (options: BrokerConfig.Options = {}) =>
  Layer.effect(
    TestBroker,
    Effect.gen(function*() {
      const broker = yield* Broker.Broker
      const vhosts = yield* Vhosts.Vhosts
      const vhost = engineOf(yield* vhosts.get("/test"))
      return { broker, vhost, urls: broker.urls(vhost) }
    })
  ).pipe(
    Layer.provideMerge(Broker.layer(BrokerConfig.merge({
      websocketPort: 0,
      backendPort: 0,
      tcpPort: 0,
      // Tests send much at once.
      browsers: { broadcast: true, messageRate: Infinity, byteRate: Infinity },
      vhosts: [{ path: "/test", token, channels: ["room", "presence-room", "private-room"] }]
    }, options))),
    Layer.merge(Logger.layer([]))
  )

/** The two ways of a backend: a name for the tests, and which of the broker's URLs it is. */
export const transports = [{ name: "ZeroMQ", url: "backend" }, { name: "TCP", url: "backendTcp" }] as const

/** A Client and a Worker for `/test`, over one of the transports. */
export const backend = (
  url: (typeof transports)[number]["url"],
  options?: Partial<Kosmonaut.Options>
) =>
  Layer.unwrap(
    Effect.map(TestBroker, ({ urls }) => Kosmonaut.layer({ url: urls[url] as Redacted.Redacted, ...options }))
  )
