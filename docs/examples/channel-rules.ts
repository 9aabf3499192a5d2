/**
 * A broker whose channels are open when they are needed, and a change of its rules while it runs.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Broker, Vhosts } from "kosmonaut/server"

// The first rule whose pattern matches the whole name of a channel counts.
const BrokerLive = Broker.layer({
  channelRules: [
    { pattern: "room-.*", openOnDemand: true, history: { count: 100, age: "1 hour" }, maxSubscribers: 500 },
    { pattern: "presence-.*", openOnDemand: true, grace: "10 seconds" },
    { pattern: "price-.*", openOnDemand: true, latest: true }
  ],
  vhosts: [
    { path: "/app" },
    { path: "/sandbox", channelRules: [{ pattern: ".*", openOnDemand: true, browsersBroadcast: true }] }
  ]
})

const openLobby = Effect.gen(function*() {
  const { get } = yield* Vhosts.Vhosts
  const vhost = yield* get("/app")
  const rules = yield* vhost.channelRules
  yield* vhost.setChannelRules([{ pattern: "lobby", openOnDemand: true }, ...rules])
})

Layer.effectDiscard(openLobby).pipe(
  Layer.provide(BrokerLive),
  Layer.launch,
  NodeRuntime.runMain
)
