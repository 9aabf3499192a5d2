/**
 * Why a request of an administrator failed: what `AdminApi` answers, with a sentence for a person as `message`.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"

const id = <Tag extends string>(tag: Tag) => `kosmonaut/server/admin/AdminError/${tag}` as const

const fields = { message: Schema.String }

/**
 * There is no such vhost, channel, browser or dead letter; HTTP 404.
 *
 * @since 0.1.0
 */
export class NotFoundError extends Schema.TaggedError<NotFoundError>(id("NotFoundError"))("NotFoundError", fields, {
  description: "There is no such vhost, channel, browser, token or dead letter",
  httpApiStatus: 404
}) {}

/**
 * There is one of this name already; HTTP 409.
 *
 * @since 0.1.0
 */
export class AlreadyExistsError
  extends Schema.TaggedError<AlreadyExistsError>(id("AlreadyExistsError"))("AlreadyExistsError", fields, {
    description: "There is one of this name already",
    httpApiStatus: 409
  })
{}

/**
 * A name or a token is not of the form that it must have; HTTP 400.
 *
 * @since 0.1.0
 */
export class InvalidError extends Schema.TaggedError<InvalidError>(id("InvalidError"))("InvalidError", fields, {
  description: "Something in the request does not have the form that it must have",
  httpApiStatus: 400
}) {}

/**
 * The broker cannot do it now: a limit is reached, or its storage cannot be written to, and then it may have happened all the
 * same; HTTP 503.
 *
 * @since 0.1.0
 */
export class UnavailableError
  extends Schema.TaggedError<UnavailableError>(id("UnavailableError"))("UnavailableError", fields, {
    description: "A limit is reached, or the storage cannot be written to",
    httpApiStatus: 503
  })
{}
