/**
 * The errors of setting up and administering a broker. Those of Clients are in `KosmonautError`; a port that cannot be bound is
 * a `ListenError`.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"

const id = <Tag extends string>(tag: Tag) => `kosmonaut/server/BrokerError/${tag}` as const

/**
 * An option of the broker has a value that it cannot have.
 *
 * @since 0.1.0
 */
export { InvalidOptionError } from "../protocol/KosmonautError.ts"

/**
 * A vhost cannot be made this way: its path or its token is not of the form the protocol needs.
 *
 * @since 0.1.0
 */
export class InvalidVhostError extends Schema.TaggedError<InvalidVhostError>(id("InvalidVhostError"))(
  "InvalidVhostError",
  { path: Schema.String, detail: Schema.String }
) {
  override get message(): string {
    return `Cannot make the vhost ${JSON.stringify(this.path.slice(0, 130))}: ${this.detail}`
  }
}

/**
 * The access tokens of a vhost cannot be changed this way: the new one is not of the form the protocol needs, there are too many,
 * or the one to remove is the only one.
 *
 * @since 0.1.0
 */
export class InvalidVhostTokenError
  extends Schema.TaggedError<InvalidVhostTokenError>(id("InvalidVhostTokenError"))("InvalidVhostTokenError", {
    path: Schema.String,
    detail: Schema.String
  })
{
  override get message(): string {
    return `Cannot change the access tokens of the vhost ${this.path}: ${this.detail}`
  }
}

/**
 * There is a vhost of this path already.
 *
 * @since 0.1.0
 */
export class VhostExistsError extends Schema.TaggedError<VhostExistsError>(id("VhostExistsError"))("VhostExistsError", {
  path: Schema.String
}) {
  override get message(): string {
    return `The vhost ${this.path} exists already`
  }
}

/**
 * There is no vhost of this path.
 *
 * @since 0.1.0
 */
export class VhostNotFoundError
  extends Schema.TaggedError<VhostNotFoundError>(id("VhostNotFoundError"))("VhostNotFoundError", {
    path: Schema.String
  })
{
  override get message(): string {
    return `There is no vhost ${JSON.stringify(this.path.slice(0, 130))}`
  }
}

/**
 * Redis cannot be reached, or did not answer in time. `maybeExecuted` says whether it may have executed the command.
 *
 * @since 0.1.0
 */
export class RedisConnectionError
  extends Schema.TaggedError<RedisConnectionError>(id("RedisConnectionError"))("RedisConnectionError", {
    detail: Schema.String,
    maybeExecuted: Schema.Boolean
  })
{
  override get message(): string {
    return `Redis cannot be reached: ${this.detail}`
  }
}

/**
 * Redis has rejected a command, for example because its memory is full. Nothing was changed.
 *
 * @since 0.1.0
 */
export class RedisCommandError
  extends Schema.TaggedError<RedisCommandError>(id("RedisCommandError"))("RedisCommandError", { detail: Schema.String })
{
  override get message(): string {
    return `Redis has rejected a command: ${this.detail}`
  }
}

/**
 * This Redis cannot be used by a broker: its version, its configuration, or the version of what it holds.
 *
 * @since 0.1.0
 */
export class UnsuitableRedisError
  extends Schema.TaggedError<UnsuitableRedisError>(id("UnsuitableRedisError"))("UnsuitableRedisError", {
    detail: Schema.String
  })
{
  override get message(): string {
    return `This Redis cannot be used: ${this.detail}`
  }
}

/**
 * The lease of this node has ended, so that others took over what was its own. Nothing that it does counts any more.
 *
 * @since 0.1.0
 */
export class LeaseLostError extends Schema.TaggedError<LeaseLostError>(id("LeaseLostError"))("LeaseLostError", {
  node: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `The node ${this.node} has lost its lease: ${this.detail}`
  }
}
