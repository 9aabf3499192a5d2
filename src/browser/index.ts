/**
 * The browser's side, for front ends with Effect.
 *
 * @since 0.1.0
 */

/** A connection to a broker: events, presence, calls and requests. */
export * as Browser from "./Browser.ts"
/** What can go wrong. */
export * as BrowserError from "./BrowserError.ts"
/** The state of a connection. */
export * as ConnectionState from "./ConnectionState.ts"
/** A subscription to a channel. */
export * as Subscription from "./Subscription.ts"
