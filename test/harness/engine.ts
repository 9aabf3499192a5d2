/**
 * The engine's view of a vhost, of which applications see less.
 */
import { Effect, Layer } from "effect"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import type * as Engine from "../../src/server/engine/Vhosts.ts"
import * as VhostViews from "../../src/server/engine/VhostViews.ts"
import type { Vhosts } from "../../src/server/index.ts"
import * as Store from "../../src/server/store/Store.ts"
import { TestBroker } from "../../src/testing/index.ts"

export const engineOf = (vhost: Vhosts.Vhost): Engine.Vhost => VhostViews.ofView(vhost)

/** The configuration and the store of an engine that stores nothing. */
export const settings = (options?: BrokerConfig.Options) => Layer.merge(BrokerConfig.layer(options), Store.layerNoop)

/** The broker of the test kit, with the engine's view of its vhost. */
export const testBroker = Effect.map(TestBroker.TestBroker, (broker) => ({ ...broker, vhost: engineOf(broker.vhost) }))
