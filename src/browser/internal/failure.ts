/**
 * Why a call, a subscription or an authentication failed: plain values, which `kosmonaut/browser` makes its errors of and
 * which the promises of the script reject with.
 *
 * The tags are those of the errors in `protocol/KosmonautError` where the broker's status says why.
 */

/** The name of a failure. */
export type FailureTag =
  /** 400: the broker could not understand the message. */
  | "BadRequestError"
  /** 402: there is no token, none could be fetched, or the broker rejected a fresh one. */
  | "UnauthorizedError"
  /** 403: the user may not do this. */
  | "ForbiddenError"
  /** 429: a limit of the broker is reached. */
  | "TooManyRequestsError"
  /** 451: no channel can have this name. */
  | "InvalidChannelNameError"
  /** 453: it is sent to a channel that this browser has not subscribed to. */
  | "NotSubscribedError"
  /** 454: the channel is not open. */
  | "ChannelNotFoundError"
  /** 457: no worker takes requests. */
  | "NoWorkerError"
  /** 458: the handler failed with something else than the request's declared error. */
  | "HandlerFailedError"
  /** 459, or nothing was received until the deadline. It may have happened. */
  | "RequestTimeoutError"
  /** 597, and whatever code is not known here: the broker could not do it. */
  | "InternalError"
  /** It may have been sent when the connection was lost, and cannot be sent twice. It may have happened. */
  | "ConnectionLostError"
  /** The connection is closed and does not reconnect: by the user, or by a final close code. */
  | "ConnectionClosedError"
  /** Too many calls, or too many bytes of them, are pending here. Nothing was sent. */
  | "TooManyCallsError"
  /** The message was larger than the broker accepts, which closed the connection. */
  | "MessageTooLargeError"
  /** The broker is older than this, or is the original one. Nothing was sent. */
  | "UnsupportedError"

/** A failure. */
export interface Failure {
  readonly _tag: FailureTag
  /** A sentence for a person. */
  readonly message: string
  /** The broker's status code, or the close code; absent if neither is the reason. */
  readonly code?: number
  /** Whether it may have been sent; only of what timed out here. */
  readonly wasSent?: boolean
}

const tags: { readonly [code: number]: FailureTag } = {
  400: "BadRequestError",
  402: "UnauthorizedError",
  403: "ForbiddenError",
  429: "TooManyRequestsError",
  451: "InvalidChannelNameError",
  453: "NotSubscribedError",
  454: "ChannelNotFoundError",
  457: "NoWorkerError",
  458: "HandlerFailedError",
  459: "RequestTimeoutError"
}

/** Makes a failure. */
export const make = (_tag: FailureTag, message: string, code?: number): Failure =>
  code === undefined ? { _tag, message } : { _tag, message, code }

/** The failure that the broker's `:error` means. */
export const fromStatus = (code: number, message: string): Failure => make(tags[code] ?? "InternalError", message, code)

/** What can no longer happen on a closed connection. */
export const closed = ({ code, reason }: { readonly code: number; readonly reason: string }): Failure =>
  make("ConnectionClosedError", reason || "the connection is closed", code)

/** There is nobody to ask for a token. */
export const noToken: Failure = make("UnauthorizedError", "this needs a user: give the connection a token")
