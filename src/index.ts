/**
 * Kosmonaut: realtime browsers for applications written with Effect. The broker is in `kosmonaut/server`.
 *
 * @since 0.1.0
 */

/** The data of an event. */
export type { JsonObject } from "./protocol/Json.ts"
/** Sends requests to a broker: broadcasts, channels, tokens. */
export * as Client from "./client/Client.ts"
/** How a Worker stands with its broker. */
export * as ConnectionState from "./client/ConnectionState.ts"
/** An event that failed too often and is not redelivered. */
export * as DeadLetter from "./client/DeadLetter.ts"
/** Handles events by their groups, each with its data read. */
export * as EventRouter from "./client/EventRouter.ts"
/** A Client and a Worker from one URL. */
export * as Kosmonaut from "./client/Kosmonaut.ts"
/** An event in a handler's hands. */
export * as Message from "./client/Message.ts"
/** Handles what browsers trigger. */
export * as Worker from "./client/Worker.ts"
/** A channel and the events that are broadcast on it. */
export * as Channel from "./events/Channel.ts"
/** A definition of an event, and its data as JSON. */
export * as Event from "./events/Event.ts"
/** Events that belong together. */
export * as EventGroup from "./events/EventGroup.ts"
/** What happens by itself, as groups of events. */
export * as Lifecycle from "./events/Lifecycle.ts"
/** Where a vhost is and the token that opens it. */
export * as Endpoint from "./protocol/Endpoint.ts"
/** What can go wrong, one class per cause. */
export * as KosmonautError from "./protocol/KosmonautError.ts"
/** Classic TCP. */
export * as TcpTransport from "./transport/TcpTransport.ts"
/** How a backend reaches a broker. */
export * as Transport from "./transport/Transport.ts"
/** ZeroMQ, the default. */
export * as ZmqTransport from "./transport/ZmqTransport.ts"
