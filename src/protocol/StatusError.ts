/**
 * The errors that have a status code, one class for each, and the table from code to class. They carry `code`: the broker
 * raises them, and the library raises the same class for the same code. Part of `KosmonautError`.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import { quote } from "./ErrorText.ts"
import type * as Status from "./Status.ts"

const id = <Tag extends string>(tag: Tag) => `kosmonaut/protocol/KosmonautError/${tag}` as const

/**
 * 400: the broker could not understand a request, or an argument is missing or empty. Also what a broker answers to a
 * command that it does not know. `detail` is what was wrong, as far as this side knows.
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
 * 429: a limit of the broker is reached. `detail` names it.
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
 * 453: a browser used a channel that it is not subscribed to. Browsers alone get this one.
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
    } is not open. A backend opens it first (openChannel), or it has a rule with openOnDemand`
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
 * 456: the vhost has no dead letter of this id (any more). An addition of ours; the original has no dead letters.
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
    return `Dead letter not found (456): no dead letter has the id ${
      quote(this.id)
    }; it may be an event again, be discarded, or have been dropped`
  }
}

/**
 * 457: no worker takes this request, so it was not queued. An addition of ours, as 458 and 459.
 *
 * @since 0.1.0
 */
export class NoWorkerError extends Schema.TaggedError<NoWorkerError>(id("NoWorkerError"))("NoWorkerError", {
  event: Schema.String
}) {
  /** The status code on the wire. */
  readonly code = 457 as const satisfies Status.ErrorCode
  override get message(): string {
    return `No worker (457): no worker that is connected takes the request ${quote(this.event)}`
  }
}

/**
 * 458: the handler of a request failed with an error that the request does not declare, or with a defect, or its response
 * was too large. `detail` has no more than that: the cause is in the worker's log.
 *
 * @since 0.1.0
 */
export class HandlerFailedError
  extends Schema.TaggedError<HandlerFailedError>(id("HandlerFailedError"))("HandlerFailedError", {
    event: Schema.String,
    detail: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 458 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Handler failed (458): ${quote(this.event)}: ${this.detail}`
  }
}

/**
 * 459: the deadline of a request passed before a worker responded. Its handler may or may not have run.
 *
 * @since 0.1.0
 */
export class DeadlineExceededError
  extends Schema.TaggedError<DeadlineExceededError>(id("DeadlineExceededError"))("DeadlineExceededError", {
    event: Schema.String
  })
{
  /** The status code on the wire. */
  readonly code = 459 as const satisfies Status.ErrorCode
  override get message(): string {
    return `Deadline exceeded (459): no worker responded to ${quote(this.event)} in time`
  }
}

/**
 * 597: the broker could not execute the request: a permission pattern that does not compile, or one of the broker's
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
 * The errors that have a status code, as a broker raises them.
 *
 * @since 0.1.0
 */
export type StatusError = ReturnType<typeof classes[Status.ErrorCode]>

/**
 * The errors of these status codes.
 *
 * @since 0.1.0
 */
export type WithCode<Code extends Status.ErrorCode> = Extract<StatusError, { readonly code: Code }>

/**
 * What is known of a request or message that failed.
 *
 * @since 0.1.0
 */
export interface About {
  /** Why it failed, in the broker's or our words. */
  readonly detail: string
  readonly channel?: string | undefined
  readonly sid?: string | undefined
  readonly id?: string | undefined
  readonly event?: string | undefined
}

/**
 * The error of a status code. Every code has one class, and a code that is none of an error becomes `UnknownServerError`.
 *
 * @since 0.1.0
 */
export const fromCode = (code: number, about: About): StatusError | UnknownServerError =>
  Object.hasOwn(classes, code) ? classes[code as Status.ErrorCode](about) : new UnknownServerError({ code })

// The one table of status codes and classes.
const classes = {
  400: ({ detail }: About) => new BadRequestError({ detail }),
  402: ({ detail }: About) => new UnauthorizedError({ detail }),
  403: ({ detail }: About) => new ForbiddenError({ detail }),
  429: ({ detail }: About) => new TooManyRequestsError({ detail }),
  451: ({ channel = "" }: About) => new InvalidChannelNameError({ channel }),
  453: ({ channel = "" }: About) => new NotSubscribedError({ channel }),
  454: ({ channel = "" }: About) => new ChannelNotFoundError({ channel }),
  455: ({ sid = "" }: About) => new BrowserNotFoundError({ sid }),
  456: ({ id = "" }: About) => new DeadLetterNotFoundError({ id }),
  457: ({ event = "" }: About) => new NoWorkerError({ event }),
  458: ({ detail, event = "" }: About) => new HandlerFailedError({ event, detail }),
  459: ({ event = "" }: About) => new DeadlineExceededError({ event }),
  597: ({ detail }: About) => new InternalError({ detail }),
  598: () => new EndOfFileError({})
}
