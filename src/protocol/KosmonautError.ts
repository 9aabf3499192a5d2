/**
 * What can go wrong, one class per cause, so that `Effect.catchTag` selects a cause and an operation's type lists
 * exactly those that can happen to it.
 *
 * The errors of `StatusError` are those of the protocol's status codes: they carry `code`, and the broker and the library
 * have the same class for the same code. The others are the library's: a request that was not sent, or had no response. No
 * error carries a token.
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { causeText, quote } from "./ErrorText.ts"
import {
  BadRequestError,
  EndOfFileError,
  InternalError,
  TooManyRequestsError,
  UnknownServerError
} from "./StatusError.ts"
import * as TaggedError from "./TaggedError.ts"

export * from "./StatusError.ts"

// What makes a class is marked as pure, so that bundles for browsers go without those that they do not use.
const tagged = TaggedError.make("kosmonaut/protocol/KosmonautError")

const connection = {
  /** The broker's address, `host:port`. */
  address: Schema.String,
  cause: Schema.optional(Schema.Defect())
}

/**
 * What the reasons of `ConnectionError` say of the request.
 *
 * @since 0.1.0
 */
export interface OfConnection<WasSent extends "no" | "maybe"> {
  /** Whether the request may have been executed: `no` if it was never sent. */
  readonly wasSent: WasSent
  /** Whether the same may succeed later: the broker may be there then. */
  readonly isRetryable: boolean
}

const ofConnection =
  <Self>() =>
  <const Tag extends string, WasSent extends "no" | "maybe">(tag: Tag, what: string, more: OfConnection<WasSent>) =>
    tagged<Self>()(tag, connection, ({ address, cause }) => `${what} the broker at ${address}${causeText(cause)}`, more)

/**
 * An option has a value that it cannot have. The layer or constructor that takes it fails with this.
 *
 * @since 0.1.0
 */
export class InvalidOptionError extends /* @__PURE__ */ tagged<InvalidOptionError>()("InvalidOptionError", {
  option: Schema.String,
  /** What was given, as text. */
  value: Schema.String,
  /** What it can be. */
  allowed: Schema.String
}, ({ allowed, option, value }) => `The option ${option} cannot be ${value}: it is ${allowed}`) {}

/**
 * An endpoint's URL cannot be used. `url` has its token masked.
 *
 * @since 0.1.0
 */
export class InvalidEndpointError extends /* @__PURE__ */ tagged<InvalidEndpointError>()("InvalidEndpointError", {
  url: Schema.String,
  detail: Schema.String
}, ({ detail, url }) => {
  const [scheme, key] = url.startsWith("wrs://") ? ["wrs", "?serverKey=<public key>"] : ["wr", ""]
  return `Invalid endpoint ${quote(url)}: ${detail}. Expected ${scheme}://<access token>@<host>:<port>/<vhost>${key}`
}) {}

/**
 * A reason of `ConnectionError`: no connection could be made, or it was lost before the request was sent. The broker never
 * received the request.
 *
 * @since 0.1.0
 */
export class ConnectionRefusedError
  extends /* @__PURE__ */ ofConnection<ConnectionRefusedError>()("ConnectionRefusedError", "Could not connect to", {
    wasSent: "no",
    isRetryable: true
  })
{}

/**
 * A reason of `ConnectionError`: an open connection ended. Requests in flight may or may not have been executed.
 *
 * @since 0.1.0
 */
export class ConnectionClosedError
  extends /* @__PURE__ */ ofConnection<ConnectionClosedError>()("ConnectionClosedError", "Lost the connection to", {
    wasSent: "maybe",
    isRetryable: true
  })
{}

/**
 * A reason of `ConnectionError`: the broker sent nothing for too long, to a Worker for its `silenceTimeout`, to a Client for
 * the whole time of an earlier request. The request that waited longest fails with `RequestTimeoutError`, the others in
 * flight with this; they, too, may or may not have been executed.
 *
 * @since 0.1.0
 */
export class ConnectionTimeoutError extends /* @__PURE__ */ ofConnection<ConnectionTimeoutError>()(
  "ConnectionTimeoutError",
  "Received nothing for too long from",
  {
    wasSent: "maybe",
    isRetryable: true
  }
) {}

/**
 * A reason of `ConnectionError`: what was received is not this protocol, or is larger than `maxMessageSize`. Requests in
 * flight may or may not have been executed.
 *
 * @since 0.1.0
 */
export class MalformedMessageError
  extends /* @__PURE__ */ ofConnection<MalformedMessageError>()("MalformedMessageError", "Could not understand", {
    wasSent: "maybe",
    isRetryable: false
  })
{}

/**
 * The broker did not prove to be the one that was expected, by its certificate or its public key: the connection was ended
 * before anything was sent. It is a reason of `ConnectionError`, and what `listen` of a Worker ends with. Trying again does
 * not help before somebody corrects the configuration here or at the broker, or somebody is in between.
 *
 * @since 0.1.0
 */
export class UntrustedBrokerError
  extends /* @__PURE__ */ ofConnection<UntrustedBrokerError>()("UntrustedBrokerError", "Could not trust", {
    wasSent: "no",
    isRetryable: false
  })
{}

/**
 * The connection to the broker could not be made or was lost. `reason` is the cause: `ConnectionRefusedError`,
 * `ConnectionClosedError`, `ConnectionTimeoutError`, `MalformedMessageError` or `UntrustedBrokerError`.
 *
 * `Effect.catchReason("ConnectionError", "ConnectionRefusedError", …)` handles one of them.
 *
 * @since 0.1.0
 */
export class ConnectionError extends /* @__PURE__ */ tagged<ConnectionError>()("ConnectionError", {
  reason: Schema.Union([
    ConnectionRefusedError,
    ConnectionClosedError,
    ConnectionTimeoutError,
    MalformedMessageError,
    UntrustedBrokerError
  ])
}, ({ reason }) => reason.message) {
  /** The broker's address, `host:port`. */
  get address(): string {
    return this.reason.address
  }
  /** Whether a request that failed with this may have been executed: `no` if it was never sent. */
  get wasSent(): "no" | "maybe" {
    return this.reason.wasSent
  }
  /** Whether the same may succeed later: not if what listens at the address does not speak this protocol, or is not trusted. */
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
}

/**
 * No response came in time. `wasSent` is whether the request may have been executed: `no` if it was never sent, because
 * the broker did not read the requests before it.
 *
 * @since 0.1.0
 */
export class RequestTimeoutError extends /* @__PURE__ */ tagged<RequestTimeoutError>()("RequestTimeoutError", {
  /** The command on the wire, e.g. `BC`. */
  command: Schema.String,
  after: Schema.Duration,
  wasSent: Schema.Literals(["no", "maybe"])
}, ({ after, command, wasSent }) =>
  wasSent === "no"
    ? `The broker did not read requests for ${Duration.format(after)}, so ${command} was not sent`
    : `The broker did not respond to ${command} within ${Duration.format(after)}`)
{
  /** The broker may respond the next time. */
  get isRetryable(): boolean {
    return true
  }
}

/**
 * The handler of a request responded with an error that it declares. A request by the name of its event fails with this;
 * one by its declaration fails with the declared error itself. `error` is its JSON.
 *
 * @since 0.1.0
 */
export class ResponseError extends /* @__PURE__ */ tagged<ResponseError>()("ResponseError", {
  event: Schema.String,
  error: Schema.Json
}, ({ error, event }) => `The response to ${quote(event)} is the error ${quote(JSON.stringify(error))}`) {}

/**
 * Something cannot travel on the wire; nothing was sent. `argument` names what, `detail` is the reason.
 *
 * @since 0.1.0
 */
export class MessageEncodeError extends /* @__PURE__ */ tagged<MessageEncodeError>()("MessageEncodeError", {
  argument: Schema.String,
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}, ({ argument, cause, detail }) => `Cannot send ${argument}: ${detail}${causeText(cause)}`) {}

/**
 * A message arrived that the protocol does not allow; it was not handled.
 *
 * @since 0.1.0
 */
export class MessageDecodeError extends /* @__PURE__ */ tagged<MessageDecodeError>()("MessageDecodeError", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}, ({ cause, detail }) => `Cannot read a message: ${detail}${causeText(cause)}`) {}

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
export class ProtocolError extends /* @__PURE__ */ tagged<ProtocolError>()("ProtocolError", {
  reason: Schema.Union([
    BadRequestError,
    InternalError,
    TooManyRequestsError,
    EndOfFileError,
    UnknownServerError,
    MessageDecodeError,
    MessageEncodeError
  ])
}, ({ reason }) => reason.message) {}

/**
 * A backend got an event that it has no handler for; it was not handled. `groups` are those it has handlers of.
 *
 * @since 0.1.0
 */
export class UndefinedHandlerError extends /* @__PURE__ */ tagged<UndefinedHandlerError>()("UndefinedHandlerError", {
  event: Schema.String,
  groups: Schema.Array(Schema.String)
}, ({ event, groups }) => {
  const group = event.slice(0, event.indexOf("/"))
  const known = groups.includes(group)
    ? `the group ${quote(group)} has no such event`
    : `there are handlers of ${groups.map(quote).join(", ") || "no group"} only`
  return `No handler for the event ${quote(event)}: ${known}. Register its group with the router, or give it a fallback`
}) {}

/**
 * A backend got an event whose name has no group, so that no handler can be meant; it was not handled.
 *
 * @since 0.1.0
 */
export class InvalidEventNameError extends /* @__PURE__ */ tagged<InvalidEventNameError>()("InvalidEventNameError", {
  event: Schema.String
}, ({ event }) =>
  `Invalid event name ${quote(event)}: what a browser triggers is called "group/event". ` +
  `Have the browser trigger it by such a name, or give the router a fallback`)
{}

/**
 * Whether a request that failed was never sent, so that it is safe to make it again, whatever it does.
 *
 * @since 0.1.0
 */
export const wasNotSent = (error: unknown): boolean => isSendError(error) && error.wasSent === "no"

/**
 * Whether a request that failed may succeed if it is made again: the broker could not be reached, or did not respond. It may
 * have been executed, so use this for requests that are safe to repeat.
 *
 * @since 0.1.0
 */
export const isRetryable = (error: unknown): boolean => isSendError(error) && error.isRetryable

const isSendError = (error: unknown): error is ConnectionError | RequestTimeoutError =>
  error instanceof ConnectionError || error instanceof RequestTimeoutError
