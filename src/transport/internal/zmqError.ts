/**
 * What a ZeroMQ socket fails with.
 */

import * as Schema from "effect/Schema"

/** The socket can do no more, or a message could not be sent; `code` is ZeroMQ's or the system's. */
export class ZmqError extends Schema.TaggedError<ZmqError>("kosmonaut/transport/ZmqError")("ZmqError", {
  code: Schema.String
}) {
  override get message(): string {
    return this.code
  }
}
