/**
 * `kosmonaut/events`: what browsers and backends agree on. Nothing here needs Node.js, so that a browser's bundle can have
 * it.
 *
 * @since 0.1.0
 */

/** Declares a channel once: its kind, the parameters in its name, and its events. */
export * as Channel from "./Channel.ts"
/** Declares an event: its name, the Schema of its data and, for a request, the Schemas of its response. */
export * as Event from "./Event.ts"
/** Declares events that belong together. */
export * as EventGroup from "./EventGroup.ts"
