/**
 * Kosmonaut: realtime browsers for applications written with Effect. This is the library for backends. The broker is in
 * `kosmonaut/server`, the library for browsers in `kosmonaut/browser`, and what both share in `kosmonaut/events`.
 *
 * @since 0.1.0
 */

/** The data of an event. */
export type { JsonObject } from "./protocol/Json.ts"
/** Sends requests to a broker: broadcasts, channels, tokens. */
export * as Client from "./client/Client.ts"
/** The state of a Worker's connection. */
export * as ConnectionState from "./client/ConnectionState.ts"
/** An event that failed too often and is not redelivered. */
export * as DeadLetter from "./client/DeadLetter.ts"
/** Gives each event to its handler, with its data decoded. */
export * as EventRouter from "./client/EventRouter.ts"
/** A Client and a Worker from one URL. */
export * as Kosmonaut from "./client/Kosmonaut.ts"
/** An event as a handler receives it, and the functions that reply to it. */
export * as Message from "./client/Message.ts"
/** Receives what browsers trigger, and handles it. */
export * as Worker from "./client/Worker.ts"
/** Declares a channel: its kind, its parameters and its events. */
export * as Channel from "./events/Channel.ts"
/** Declares an event: its name, the Schema of its data and, for a request, of its response. */
export * as Event from "./events/Event.ts"
/** Declares events that belong together. */
export * as EventGroup from "./events/EventGroup.ts"
/** The broker's own events, as groups: channels, members and browsers that come and go. */
export * as Lifecycle from "./events/Lifecycle.ts"
/** The address of a vhost, and its access token. */
export * as Endpoint from "./protocol/Endpoint.ts"
/** What can go wrong, one class per cause. */
export * as KosmonautError from "./protocol/KosmonautError.ts"
/** Classic TCP. */
export * as TcpTransport from "./transport/TcpTransport.ts"
/** How a backend reaches a broker. */
export * as Transport from "./transport/Transport.ts"
/** ZeroMQ, the default. */
export * as ZmqTransport from "./transport/ZmqTransport.ts"
