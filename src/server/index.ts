/**
 * The broker: `Broker.layer` is all of it, the other modules are its parts.
 *
 * @since 0.1.0
 */

/** The whole broker in one layer. */
export * as Broker from "./Broker.ts"
/** Its options and their defaults. */
export * as BrokerConfig from "./BrokerConfig.ts"
/** What an operator can see of it. */
export * as BrokerMetrics from "./BrokerMetrics.ts"
/** What can go wrong in administering it. */
export * as BrokerError from "./BrokerError.ts"
/** Where backends enter. */
export * as BackendEndpoint from "./endpoint/BackendEndpoint.ts"
/** Where browsers enter. */
export * as WebSocketEndpoint from "./endpoint/WebSocketEndpoint.ts"
/** The vhosts of a running broker, and through them its channels. */
export * as Vhosts from "./engine/Vhosts.ts"
