/**
 * What can go wrong, one class per cause, so that `Effect.catchTag` tells causes apart and an operation's type lists
 * exactly those that can happen to it.
 *
 * The first group are the protocol's own status codes: they carry `code`, the broker raises them and the library raises
 * the same class for the same code. The second group are the library's: what happens before a request leaves or when no
 * answer comes. No error ever carries a token.
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type * as Status from "./Status.ts"

const id = <Tag extends string>(tag: Tag) => `kosmonaut/protocol/KosmonautError/${tag}` as const

/**
 * 400: the broker could not understand a request, or an argument is missing or empty. Also what a broker answers to a
 * command that it does not know. `detail` says what was wrong, as far as this side can tell.
 *
 * @since 0.1.0
 */
export class BadRequestError extends Schema.TaggedError<BadRequestError>(id("BadRequestError"))("BadRequestError", {
  detail: Schema.String
}) {
  /** The status code on the wire. */
  readonly code = 400 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Bad request (400): ${this.detail}`
  }
}

/**
 * 402: the access token does not open this vhost, the vhost does not exist, or a browser's single access token is
 * unknown, used or expired. Trying again with the same token cannot help.
 *
 * @since 0.1.0
 */
export class UnauthorizedError
  extends Schema.TaggedError<UnauthorizedError>(id("UnauthorizedError"))("UnauthorizedError", { detail: Schema.String })
{
  /** The status code on the wire. */
  readonly code = 402 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Unauthorized (402): ${this.detail}`
  }
}

/**
 * 403: the sender is known but not permitted to do this.
 *
 * @since 0.1.0
 */
export class ForbiddenError extends Schema.TaggedError<ForbiddenError>(id("ForbiddenError"))("ForbiddenError", {
  detail: Schema.String
}) {
  /** The status code on the wire. */
  readonly code = 403 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Forbidden (403): ${this.detail}`
  }
}

/**
 * 429: a limit of the broker is reached. `detail` says which.
 *
 * @since 0.1.0
 */
export class TooManyRequestsError
  extends Schema.TaggedError<TooManyRequestsError>(id("TooManyRequestsError"))("TooManyRequestsError", {
    detail: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 429 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Too many requests (429): ${this.detail}`
  }
}

/**
 * 451: a channel cannot have this name.
 *
 * @since 0.1.0
 */
export class InvalidChannelNameError
  extends Schema.TaggedError<InvalidChannelNameError>(id("InvalidChannelNameError"))("InvalidChannelNameError", {
    channel: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 451 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Invalid channel name (451): ${
      quote(this.channel)
    }. A name begins with a letter, a digit or "_", goes on with these or "-" and ".", and has at most 255 characters`
  }
}

/**
 * 453: a browser asked something of a channel that it has not subscribed to. Browsers alone get this one.
 *
 * @since 0.1.0
 */
export class NotSubscribedError
  extends Schema.TaggedError<NotSubscribedError>(id("NotSubscribedError"))("NotSubscribedError", {
    channel: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 453 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Not subscribed (453): subscribe to ${quote(this.channel)} first`
  }
}

/**
 * 454: the vhost has no open channel of this name.
 *
 * @since 0.1.0
 */
export class ChannelNotFoundError
  extends Schema.TaggedError<ChannelNotFoundError>(id("ChannelNotFoundError"))("ChannelNotFoundError", {
    channel: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 454 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Channel not found (454): ${
      quote(this.channel)
    } is not open. A backend opens a channel before anybody can use it`
  }
}

/**
 * 455: no browser of this `sid` is connected (any more). An addition of ours; the original has no command that could answer
 * it.
 *
 * @since 0.1.0
 */
export class BrowserNotFoundError
  extends Schema.TaggedError<BrowserNotFoundError>(id("BrowserNotFoundError"))("BrowserNotFoundError", {
    sid: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 455 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Browser not found (455): no browser with the sid ${quote(this.sid)} is connected; it may have gone`
  }
}

/**
 * 456: the vhost has no dead letter of this id (any more). An addition of ours; the original keeps no dead letters.
 *
 * @since 0.1.0
 */
export class DeadLetterNotFoundError
  extends Schema.TaggedError<DeadLetterNotFoundError>(id("DeadLetterNotFoundError"))("DeadLetterNotFoundError", {
    id: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 456 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Dead letter not found (456): there is none with the id ${
      quote(this.id)
    }; it may be an event again, be discarded, or have been dropped`
  }
}

/**
 * 597: the broker could not do what was asked: a permission pattern that does not compile, or one of the broker's
 * bounds reached.
 *
 * @since 0.1.0
 */
export class InternalError extends Schema.TaggedError<InternalError>(id("InternalError"))("InternalError", {
  detail: Schema.String
}) {
  /** The status code on the wire. */
  readonly code = 597 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Internal error (597): ${this.detail}`
  }
}

/**
 * 598: the broker met the end of its input in the middle of a request.
 *
 * @since 0.1.0
 */
export class EndOfFileError extends Schema.TaggedError<EndOfFileError>(id("EndOfFileError"))("EndOfFileError", {}) {
  /** The status code on the wire. */
  readonly code = 598 as const satisfies Status.ErrorCode
  override get message(): string {
    return "End of file (598): the broker's input ended in the middle of the request"
  }
}

/**
 * A status code that the protocol does not define for this operation.
 *
 * @since 0.1.0
 */
export class UnknownServerError
  extends Schema.TaggedError<UnknownServerError>(id("UnknownServerError"))("UnknownServerError", { code: Schema.Int })
{
  override get message(): string {
    return `The broker answered with status ${this.code}, which the protocol does not define for this request`
  }
}

/**
 * An endpoint's URL cannot be used. `url` has its token masked.
 *
 * @since 0.1.0
 */
export class InvalidEndpointError
  extends Schema.TaggedError<InvalidEndpointError>(id("InvalidEndpointError"))("InvalidEndpointError", {
    url: Schema.String,
    detail: Schema.String
  })
{
  override get message(): string {
    return `Invalid endpoint ${quote(this.url)}: ${this.detail}. Expected wr://<access token>@<host>:<port>/<vhost>`
  }
}

/**
 * The connection to the broker could not be made or was lost.
 *
 * - `Refused`: nobody answered at the address, so nothing was sent.
 * - `Closed`: an open connection ended. A request in flight may or may not have been carried out.
 * - `Silent`: the broker said nothing for too long: a worker's for its `silenceTimeout`, or a Client's for the whole time of
 *   an earlier request. The one that waited longest fails with `RequestTimeoutError`, the others in flight with this; they,
 *   too, may or may not have been carried out.
 * - `Malformed`: what came back is not this protocol, or is larger than the bound. The same.
 *
 * @since 0.1.0
 */
export class ConnectionError extends Schema.TaggedError<ConnectionError>(id("ConnectionError"))("ConnectionError", {
  /** Where to, `host:port`. */
  address: Schema.String,
  reason: Schema.Literals(["Refused", "Closed", "Silent", "Malformed"]),
  cause: Schema.optional(Schema.Defect())
}) {
  /** Whether a request that failed with this may have been executed: `no` if it was never sent. */
  get wasSent(): "no" | "maybe" {
    return this.reason === "Refused" ? "no" : "maybe"
  }
  /** Whether the same may succeed later: not if what answers at the address speaks something else. */
  get isRetryable(): boolean {
    return this.reason !== "Malformed"
  }
  override get message(): string {
    return `${connectionText[this.reason]} ${this.address}${causeText(this.cause)}`
  }
}

const connectionText = {
  Refused: "Could not connect to the broker at",
  Closed: "Lost the connection to the broker at",
  Silent: "Received nothing for too long from the broker at",
  Malformed: "Could not understand the broker at"
}

/**
 * No response came in time. The request may or may not have been executed, unless `isUnsent` says that it was not sent.
 *
 * @since 0.1.0
 */
export class RequestTimeoutError
  extends Schema.TaggedError<RequestTimeoutError>(id("RequestTimeoutError"))("RequestTimeoutError", {
    /** The command on the wire, e.g. `BC`. */
    command: Schema.String,
    after: Schema.Duration,
    /** `true` if the request was never sent, since the broker did not read those before it. */
    isUnsent: Schema.optional(Schema.Boolean)
  })
{
  override get message(): string {
    const after = Duration.format(this.after)
    return this.isUnsent === true
      ? `The broker did not read requests for ${after}, so ${this.command} was not sent`
      : `The broker did not respond to ${this.command} within ${after}`
  }
}

/**
 * Something cannot travel on the wire; nothing was sent. `argument` names what, `detail` says why.
 *
 * @since 0.1.0
 */
export class MessageEncodeError
  extends Schema.TaggedError<MessageEncodeError>(id("MessageEncodeError"))("MessageEncodeError", {
    argument: Schema.String,
    detail: Schema.String,
    cause: Schema.optional(Schema.Defect())
  })
{
  override get message(): string {
    return `Cannot send ${this.argument}: ${this.detail}${causeText(this.cause)}`
  }
}

/**
 * Something arrived that is not what the protocol says; it was not handled.
 *
 * @since 0.1.0
 */
export class MessageDecodeError
  extends Schema.TaggedError<MessageDecodeError>(id("MessageDecodeError"))("MessageDecodeError", {
    detail: Schema.String,
    cause: Schema.optional(Schema.Defect())
  })
{
  override get message(): string {
    return `Cannot read a message: ${this.detail}${causeText(this.cause)}`
  }
}

/**
 * A request or an event went wrong in a way that few applications handle one by one. `reason` is the cause:
 * `BadRequestError` (the broker did not understand, or a name is empty or reserved), `InternalError` (the broker could not do
 * it), `TooManyRequestsError`, `EndOfFileError`, `UnknownServerError`, `MessageDecodeError` (what came cannot be read), or
 * `MessageEncodeError` (what was to be sent cannot travel, and nothing was sent).
 *
 * `Effect.catchReason("ProtocolError", "MessageEncodeError", …)` handles one of them.
 *
 * @since 0.1.0
 */
export class ProtocolError extends Schema.TaggedError<ProtocolError>(id("ProtocolError"))("ProtocolError", {
  reason: Schema.Union([
    BadRequestError,
    InternalError,
    TooManyRequestsError,
    EndOfFileError,
    UnknownServerError,
    MessageDecodeError,
    MessageEncodeError
  ])
}) {
  override get message(): string {
    return this.reason.message
  }
}

/**
 * A backend got an event that it has no handler for; it was not handled. `groups` are those it has handlers of.
 *
 * @since 0.1.0
 */
export class UndefinedHandlerError
  extends Schema.TaggedError<UndefinedHandlerError>(id("UndefinedHandlerError"))("UndefinedHandlerError", {
    event: Schema.String,
    groups: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    const group = this.event.slice(0, this.event.indexOf("/"))
    const known = this.groups.includes(group)
      ? `the group ${quote(group)} has no such event`
      : `there are handlers of ${this.groups.map(quote).join(", ") || "no group"} only`
    return `No handler for the event ${
      quote(this.event)
    }: ${known}. Register its group with the router, or give it a fallback`
  }
}

/**
 * A backend got an event whose name has no group, so that no handler can be meant; it was not handled.
 *
 * @since 0.1.0
 */
export class InvalidEventNameError
  extends Schema.TaggedError<InvalidEventNameError>(id("InvalidEventNameError"))("InvalidEventNameError", {
    event: Schema.String
  })
{
  override get message(): string {
    return `Invalid event name ${quote(this.event)}: what a browser triggers is called "group/event". ` +
      `Have the browser trigger it by such a name, or give the router a fallback`
  }
}

/**
 * The errors that have a status code, as a broker raises them.
 *
 * @since 0.1.0
 */
export type StatusError =
  | BadRequestError
  | UnauthorizedError
  | ForbiddenError
  | TooManyRequestsError
  | InvalidChannelNameError
  | NotSubscribedError
  | ChannelNotFoundError
  | BrowserNotFoundError
  | DeadLetterNotFoundError
  | InternalError
  | EndOfFileError

/**
 * Whether a request that failed was surely not sent, since nobody answered at the address: it may be repeated, whatever it
 * asks, and may then succeed.
 *
 * @since 0.1.0
 */
export const wasNotSent = (error: unknown): boolean =>
  error instanceof ConnectionError
    ? error.reason === "Refused"
    : error instanceof RequestTimeoutError && error.isUnsent === true

/**
 * Whether a request that failed may succeed when it is repeated: the broker was not there, or did not say. What it was asked
 * may have been done, so this is for what may be done twice.
 *
 * @since 0.1.0
 */
export const mayPass = (error: unknown): boolean =>
  error instanceof ConnectionError || error instanceof RequestTimeoutError

// Values from outside are shown, but never at full length; a cause may show some, too.
const quote = (value: string): string => JSON.stringify(shortened(value, 100))

const shortened = (text: string, length: number): string => text.length > length ? `${text.slice(0, length)}…` : text

const causeText = (cause: unknown): string =>
  cause instanceof Error && cause.message !== "" ? ` (${shortened(cause.message, 500)})` : ""
