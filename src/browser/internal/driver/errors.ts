/**
 * The errors of `kosmonaut/browser` from the failures of the state machine: one table from its tags to classes.
 */

import * as Duration from "effect/Duration"
import {
  BadRequestError,
  ChannelNotFoundError,
  ForbiddenError,
  HandlerFailedError,
  InternalError,
  MessageEncodeError,
  NotSubscribedError,
  NoWorkerError,
  ProtocolError,
  RequestTimeoutError,
  TooManyRequestsError,
  UnauthorizedError
} from "../../../protocol/KosmonautError.ts"
import * as BrowserError from "../../BrowserError.ts"
import type { Failure, FailureTag } from "../failure.ts"

/** What failed. */
export interface Subject {
  /** `trigger`, `request`, `broadcast`, `update`, `subscribe` or `connect`. */
  readonly operation: string
  readonly event: string
  readonly channel: string
  /** Milliseconds that it had. */
  readonly timeout: number
}

/** The error that a failure means. */
export const fromFailure = (failure: Failure, subject: Subject): BrowserError.ConnectionFailure =>
  errors[failure._tag](failure, subject)

/** The error of a call that is no broadcast and no request. */
export const callError = (failure: Failure, subject: Subject): BrowserError.CallError => {
  const error = fromFailure(failure, subject)
  switch (error._tag) {
    case "NoWorkerError":
    case "HandlerFailedError":
    case "NotSubscribedError":
    case "ChannelNotFoundError":
      return unexpected(failure)
    default:
      return error
  }
}

/** The error of a request, but for the one that it declares. */
export const requestError = (failure: Failure, subject: Subject): BrowserError.RequestError => {
  const error = fromFailure(failure, subject)
  return error._tag === "NoWorkerError" || error._tag === "HandlerFailedError" ? error : callError(failure, subject)
}

/** The error of a broadcast. */
export const broadcastError = (failure: Failure, subject: Subject): BrowserError.BroadcastError => {
  const error = fromFailure(failure, subject)
  switch (error._tag) {
    case "NotSubscribedError":
    case "ChannelNotFoundError":
      return error
    default:
      return callError(failure, subject)
  }
}

/** The error of an update. */
export const updateError = (failure: Failure, subject: Subject): BrowserError.UpdateError => {
  const error = broadcastError(failure, subject)
  return error._tag === "ConnectionLostError" ? unexpected(failure) : error
}

/** The error of a subscription. */
export const subscribeError = (failure: Failure, subject: Subject): BrowserError.SubscribeError => {
  const error = fromFailure(failure, subject)
  switch (error._tag) {
    case "NoWorkerError":
    case "HandlerFailedError":
    case "NotSubscribedError":
    case "ConnectionLostError":
    case "TooManyCallsError":
      return unexpected(failure)
    default:
      return error
  }
}

/** Something cannot be sent as it is, or cannot be decoded. */
export const protocolError = (reason: ProtocolError["reason"]): ProtocolError => new ProtocolError({ reason })

const unexpected = ({ message }: Failure): ProtocolError => protocolError(new InternalError({ detail: message }))

const timeout = ({ code, wasSent }: Failure, { operation, timeout }: Subject): RequestTimeoutError =>
  new RequestTimeoutError({
    command: operation,
    after: Duration.millis(timeout),
    wasSent: code === undefined && wasSent === false ? "no" : "maybe"
  })

const errors: { readonly [Tag in FailureTag]: (failure: Failure, subject: Subject) => BrowserError.ConnectionFailure } =
  {
    BadRequestError: ({ message: detail }) => protocolError(new BadRequestError({ detail })),
    UnauthorizedError: ({ message: detail }) => new UnauthorizedError({ detail }),
    ForbiddenError: ({ message: detail }) => new ForbiddenError({ detail }),
    TooManyRequestsError: ({ message: detail }) => protocolError(new TooManyRequestsError({ detail })),
    // No broker says this to a browser: it does not find such a channel.
    InvalidChannelNameError: (_, { channel }) => new ChannelNotFoundError({ channel }),
    NotSubscribedError: (_, { channel }) => new NotSubscribedError({ channel }),
    ChannelNotFoundError: (_, { channel }) => new ChannelNotFoundError({ channel }),
    NoWorkerError: (_, { event }) => new NoWorkerError({ event }),
    HandlerFailedError: ({ message: detail }, { event }) => new HandlerFailedError({ event, detail }),
    RequestTimeoutError: timeout,
    InternalError: ({ message: detail }) => protocolError(new InternalError({ detail })),
    ConnectionLostError: (_, { channel, event }) => new BrowserError.ConnectionLostError({ subject: event || channel }),
    ConnectionClosedError: ({ code = 1000, message: reason }) =>
      new BrowserError.ConnectionClosedError({ code, reason }),
    TooManyCallsError: (_, { event }) => new BrowserError.TooManyCallsError({ event }),
    MessageTooLargeError: ({ message: detail }, { event }) =>
      protocolError(new MessageEncodeError({ argument: event || "a message", detail })),
    UnsupportedError: ({ message: detail }) => protocolError(new BadRequestError({ detail }))
  }
