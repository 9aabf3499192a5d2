/**
 * The broker: `Broker.layer` is all of it, the other modules are its parts.
 *
 * @since 0.1.0
 */

/** The whole broker in one layer. */
export * as Broker from "./Broker.ts"
/** Its options and their defaults. */
export * as BrokerConfig from "./BrokerConfig.ts"
/** The rules of its channels, and their texts. */
export * as ChannelRules from "./ChannelRules.ts"
/** What an operator can see of it. */
export * as BrokerMetrics from "./BrokerMetrics.ts"
/** What can go wrong in administering it. */
export * as BrokerError from "./BrokerError.ts"
/** Its persistent storage in a folder of this machine. */
export * as SqliteStore from "./store/SqliteStore.ts"
/** Its persistent storage, whatever that is. */
export * as Store from "./store/Store.ts"
/** Its vhosts, and through them their channels and dead letters. */
export * as Vhosts from "./Vhosts.ts"
