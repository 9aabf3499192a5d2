/**
 * The errors that have a status code, one class for each, and the table from code to class. They carry `code`: the broker
 * raises them, and the library raises the same class for the same code. Part of `KosmonautError`.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import { quote } from "./ErrorText.ts"
import type * as Status from "./Status.ts"
import * as TaggedError from "./TaggedError.ts"

/**
 * What the errors that have a status code have in common.
 *
 * @since 0.1.0
 */
export interface HasCode<Code extends Status.ErrorCode> {
  /** The status code on the wire. */
  readonly code: Code
}

// What makes a class is marked as pure, so that bundles for browsers go without those that they do not use.
const tagged = TaggedError.make("kosmonaut/protocol/KosmonautError")

// `text` is that of the status, which the table cannot give: bundles for browsers go without it.
const withCode =
  <Self>() =>
  <const Tag extends string, Code extends Status.ErrorCode, const Fields extends Schema.Struct.Fields>(
    tag: Tag,
    code: Code,
    text: (typeof Status.text)[Code],
    fields: Fields,
    explain: (fields: Schema.TaggedStruct<Tag, Fields>["Type"]) => string
  ) =>
    tagged<Self>()(
      tag,
      fields,
      (error): string => `${text} (${code}): ${explain(error)}`,
      { code } as HasCode<Code>
    )

const withDetail =
  <Self>() =>
  <const Tag extends string, Code extends Status.ErrorCode>(tag: Tag, code: Code, text: (typeof Status.text)[Code]) =>
    withCode<Self>()(tag, code, text, { detail: Schema.String }, ({ detail }) => detail)

/**
 * 400: the broker could not understand a request, or an argument is missing or empty. Also what a broker answers to a
 * command that it does not know. `detail` is what was wrong, as far as this side knows.
 *
 * @since 0.1.0
 */
export class BadRequestError
  extends /* @__PURE__ */ withDetail<BadRequestError>()("BadRequestError", 400, "Bad request")
{}

/**
 * 402: the access token does not open this vhost, the vhost does not exist, or a browser's single access token is
 * unknown, used or expired. Trying again with the same token cannot help.
 *
 * @since 0.1.0
 */
export class UnauthorizedError
  extends /* @__PURE__ */ withDetail<UnauthorizedError>()("UnauthorizedError", 402, "Unauthorized")
{}

/**
 * 403: the sender is known but not permitted to do this.
 *
 * @since 0.1.0
 */
export class ForbiddenError extends /* @__PURE__ */ withDetail<ForbiddenError>()("ForbiddenError", 403, "Forbidden") {}

/**
 * 429: a limit of the broker is reached. `detail` names it.
 *
 * @since 0.1.0
 */
export class TooManyRequestsError
  extends /* @__PURE__ */ withDetail<TooManyRequestsError>()("TooManyRequestsError", 429, "Too many requests")
{}

/**
 * 451: a channel cannot have this name.
 *
 * @since 0.1.0
 */
export class InvalidChannelNameError extends /* @__PURE__ */ withCode<InvalidChannelNameError>()(
  "InvalidChannelNameError",
  451,
  "Invalid channel name",
  { channel: Schema.String },
  ({ channel }) =>
    `${
      quote(channel)
    }. A name begins with a letter, a digit or "_", goes on with these or "-" and ".", and has at most 255 characters`
) {}

/**
 * 453: a browser used a channel that it is not subscribed to. Browsers alone get this one.
 *
 * @since 0.1.0
 */
export class NotSubscribedError extends /* @__PURE__ */ withCode<NotSubscribedError>()(
  "NotSubscribedError",
  453,
  "Not subscribed",
  { channel: Schema.String },
  ({ channel }) => `subscribe to ${quote(channel)} first`
) {}

/**
 * 454: the vhost has no open channel of this name.
 *
 * @since 0.1.0
 */
export class ChannelNotFoundError extends /* @__PURE__ */ withCode<ChannelNotFoundError>()(
  "ChannelNotFoundError",
  454,
  "Channel not found",
  { channel: Schema.String },
  ({ channel }) =>
    `${quote(channel)} is not open. A backend opens it first (openChannel), or it has a rule with openOnDemand`
) {}

/**
 * 455: no browser of this `sid` is connected (any more). An addition of ours; the original has no command that could answer
 * it.
 *
 * @since 0.1.0
 */
export class BrowserNotFoundError extends /* @__PURE__ */ withCode<BrowserNotFoundError>()(
  "BrowserNotFoundError",
  455,
  "Browser not found",
  { sid: Schema.String },
  ({ sid }) => `no browser with the sid ${quote(sid)} is connected; it may have gone`
) {}

/**
 * 456: the vhost has no dead letter of this id (any more). An addition of ours; the original has no dead letters.
 *
 * @since 0.1.0
 */
export class DeadLetterNotFoundError extends /* @__PURE__ */ withCode<DeadLetterNotFoundError>()(
  "DeadLetterNotFoundError",
  456,
  "Dead letter not found",
  { id: Schema.String },
  ({ id }) => `no dead letter has the id ${quote(id)}; it may be an event again, be discarded, or have been dropped`
) {}

/**
 * 457: no worker takes this request, so it was not queued. An addition of ours, as 458 and 459.
 *
 * @since 0.1.0
 */
export class NoWorkerError extends /* @__PURE__ */ withCode<NoWorkerError>()(
  "NoWorkerError",
  457,
  "No worker",
  { event: Schema.String },
  ({ event }) => `no worker that is connected takes the request ${quote(event)}`
) {}

/**
 * 458: the handler of a request failed with an error that the request does not declare, or with a defect, or its response
 * was too large. `detail` has no more than that: the cause is in the worker's log.
 *
 * @since 0.1.0
 */
export class HandlerFailedError
  extends /* @__PURE__ */ withCode<HandlerFailedError>()("HandlerFailedError", 458, "Handler failed", {
    event: Schema.String,
    detail: Schema.String
  }, ({ detail, event }) => `${quote(event)}: ${detail}`)
{}

/**
 * 459: the deadline of a request passed before a worker responded. Its handler may or may not have run.
 *
 * @since 0.1.0
 */
export class DeadlineExceededError extends /* @__PURE__ */ withCode<DeadlineExceededError>()(
  "DeadlineExceededError",
  459,
  "Deadline exceeded",
  { event: Schema.String },
  ({ event }) => `no worker responded to ${quote(event)} in time`
) {}

/**
 * 597: the broker could not execute the request: a permission pattern that does not compile, or one of the broker's
 * bounds reached.
 *
 * @since 0.1.0
 */
export class InternalError
  extends /* @__PURE__ */ withDetail<InternalError>()("InternalError", 597, "Internal error")
{}

/**
 * 598: the broker met the end of its input in the middle of a request.
 *
 * @since 0.1.0
 */
export class EndOfFileError extends /* @__PURE__ */ withCode<EndOfFileError>()(
  "EndOfFileError",
  598,
  "End of file",
  {},
  () => "the broker's input ended in the middle of the request"
) {}

/**
 * A status code that the protocol does not define for this operation.
 *
 * @since 0.1.0
 */
export class UnknownServerError extends /* @__PURE__ */ tagged<UnknownServerError>()(
  "UnknownServerError",
  { code: Schema.Int },
  ({ code }) => `The broker answered with status ${code}, which the protocol does not define for this request`
) {}

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
