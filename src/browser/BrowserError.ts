/**
 * What can go wrong in a browser, one class per cause: the classes of `KosmonautError` where the broker says why, and those
 * here for what happens on the browser's side. No error carries a token.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import { causeText, quote } from "../protocol/ErrorText.ts"
import type {
  ChannelNotFoundError,
  ForbiddenError,
  HandlerFailedError,
  MessageDecodeError,
  NotSubscribedError,
  NoWorkerError,
  ProtocolError,
  RequestTimeoutError,
  UnauthorizedError
} from "../protocol/KosmonautError.ts"
import * as TaggedError from "../protocol/TaggedError.ts"
import { inbox } from "./internal/subscriptions.ts"

const tagged = TaggedError.make("kosmonaut/browser/BrowserError")

/**
 * The connection was lost after a call had been sent, and the call cannot be sent again: a broadcast, or a call of a browser
 * without a user. It may or may not have happened.
 *
 * @since 0.1.0
 */
export class ConnectionLostError extends tagged<ConnectionLostError>()("ConnectionLostError", {
  /** What was sent: the name of an event, or of a channel. */
  subject: Schema.String
}, ({ subject }) => `The connection was lost while ${quote(subject)} was in flight: it may or may not have happened`) {}

/**
 * The connection is closed and does not reconnect: the browser closed it (1000), or the broker did by a code that says so
 * (4400 to 4499). A call that was in flight then may or may not have happened.
 *
 * @since 0.1.0
 */
export class ConnectionClosedError extends tagged<ConnectionClosedError>()("ConnectionClosedError", {
  /** The close code. */
  code: Schema.Int,
  reason: Schema.String
}, ({ code, reason }) => `The connection is closed (${code})${reason && `: ${reason}`}`) {}

/**
 * Too many calls, or too many bytes of them, are pending in this browser: `maxCalls`, `maxCallBytes`. Nothing was sent.
 *
 * @since 0.1.0
 */
export class TooManyCallsError extends tagged<TooManyCallsError>()("TooManyCallsError", {
  /** The name of the event that was not sent. */
  event: Schema.String
}, ({ event }) => `Too many calls are pending: ${quote(event)} was not sent`) {}

/**
 * A consumer of events was too slow: the oldest events that waited for it were dropped, since they took more than
 * `eventBuffer` bytes. Reported once for each time that it falls behind.
 *
 * @since 0.1.0
 */
export class EventsDroppedError extends tagged<EventsDroppedError>()(
  "EventsDroppedError",
  {
    /** The channel, `:user` for the inbox, or empty for events that were sent to this browser alone. */
    channel: Schema.String,
    /** The first event that was dropped. */
    event: Schema.String
  },
  ({ channel, event }) =>
    `Events${placeOf(channel)} were dropped from ${quote(event)} on, because their consumer is too slow`
) {}

/**
 * While the browser was not subscribed to a channel or an inbox with history, events were sent there that cannot be recovered: the
 * broker has begun anew (`epoch`), it retains only the last broadcasts (`dropped`), or the channel was closed and opened again
 * (`closed`). What arrives from now on is after them.
 *
 * @since 0.1.0
 */
export class EventsMissedError extends tagged<EventsMissedError>()("EventsMissedError", {
  /** The channel, or `:user` for the inbox. */
  channel: Schema.String,
  reason: Schema.Literals(["epoch", "dropped", "closed"])
}, ({ channel, reason }) => `Events${placeOf(channel)} may have been missed: ${missed[reason]}`) {}

const placeOf = (channel: string): string =>
  channel === inbox ? " of the inbox" : channel === "" ? "" : ` on ${quote(channel)}`

const missed = {
  epoch: "the broker has begun anew",
  dropped: "the broker no longer has all of them",
  closed: "the channel was closed meanwhile"
}

/**
 * A handler of an event failed. The events that follow are handled nonetheless.
 *
 * @since 0.1.0
 */
export class EventHandlerError extends tagged<EventHandlerError>()("EventHandlerError", {
  event: Schema.String,
  /** What the handler failed with, or its defect. */
  cause: Schema.Defect()
}, ({ cause, event }) => `The handler of ${quote(event)} failed${causeText(cause)}`) {}

/**
 * What can happen to every call:
 *
 * - `UnauthorizedError`: it needs a user, and there is no token, none could be fetched, or the broker rejected it.
 * - `ForbiddenError`: the user may not do this.
 * - `ConnectionLostError`: the connection was lost while it was in flight. It may have happened.
 * - `ConnectionClosedError`: the connection is closed and does not reconnect.
 * - `RequestTimeoutError`: there was no response in time; `wasSent` says whether it may have happened.
 * - `TooManyCallsError`: too many are pending here. Nothing was sent.
 * - `ProtocolError`: anything else, and `reason` says what: `MessageEncodeError` (the data do not fit their Schema, and nothing
 *   was sent, or they are larger than the broker accepts), `TooManyRequestsError` (a rate limit), `InternalError` (among
 *   others, the broker's queue is full), `BadRequestError` (among others, the broker is too old for requests),
 *   `MessageDecodeError` (the response does not fit its Schema), `UnknownServerError`.
 *
 * @since 0.1.0
 */
export type CallError =
  | UnauthorizedError
  | ForbiddenError
  | ConnectionLostError
  | ConnectionClosedError
  | RequestTimeoutError
  | TooManyCallsError
  | ProtocolError

/**
 * What can happen to a request beside its declared error: what can happen to every call, no worker takes requests
 * (`NoWorkerError`), or its handler failed with something else than the declared error (`HandlerFailedError`).
 *
 * @since 0.1.0
 */
export type RequestError = CallError | NoWorkerError | HandlerFailedError

/**
 * What can happen to a broadcast: what can happen to every call, this browser has not subscribed to the channel
 * (`NotSubscribedError`), or it is not open (`ChannelNotFoundError`).
 *
 * @since 0.1.0
 */
export type BroadcastError = CallError | NotSubscribedError | ChannelNotFoundError

/**
 * What can happen to an update of a subscription: as to a broadcast, but it is sent again if the connection is lost.
 *
 * @since 0.1.0
 */
export type UpdateError = Exclude<BroadcastError, ConnectionLostError>

/**
 * Why a channel could not be subscribed to:
 *
 * - `UnauthorizedError`: it needs a user, and there is no token, none could be fetched, or the broker rejected it.
 * - `ForbiddenError`: the user may not join it.
 * - `ChannelNotFoundError`: it is not open.
 * - `ConnectionClosedError`: the connection is closed and does not reconnect.
 * - `RequestTimeoutError`: the broker did not respond in time.
 * - `ProtocolError`: anything else, and `reason` says what; for example `MessageEncodeError`: `data` is not an object in JSON.
 *
 * @since 0.1.0
 */
export type SubscribeError =
  | UnauthorizedError
  | ForbiddenError
  | ChannelNotFoundError
  | ConnectionClosedError
  | RequestTimeoutError
  | ProtocolError

/**
 * What `onError` receives, since no call and no subscription fails with it: an event that does not fit its Schema
 * (`MessageDecodeError`), events that were dropped or missed, a handler that failed, and what the connection retries or gives up.
 *
 * @since 0.1.0
 */
export type ReportedError =
  | MessageDecodeError
  | EventsDroppedError
  | EventsMissedError
  | EventHandlerError
  | ConnectionFailure

/**
 * An error of the connection itself.
 *
 * @since 0.1.0
 */
export type ConnectionFailure = RequestError | BroadcastError | SubscribeError
