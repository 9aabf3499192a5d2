/**
 * The errors of setting up and administering a broker. Those of Clients are in `KosmonautError`; a port that cannot be bound is
 * a `ListenError`.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import * as TaggedError from "../protocol/TaggedError.ts"

const tagged = TaggedError.make("kosmonaut/server/BrokerError")

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
export class InvalidVhostError extends tagged<InvalidVhostError>()(
  "InvalidVhostError",
  { path: Schema.String, detail: Schema.String },
  ({ detail, path }) => `Cannot make the vhost ${JSON.stringify(path.slice(0, 130))}: ${detail}`
) {}

/**
 * The access tokens of a vhost cannot be changed this way: the new one is not of the form the protocol needs, there are too many,
 * or the one to remove is the only one.
 *
 * @since 0.1.0
 */
export class InvalidVhostTokenError extends tagged<InvalidVhostTokenError>()("InvalidVhostTokenError", {
  path: Schema.String,
  detail: Schema.String
}, ({ detail, path }) => `Cannot change the access tokens of the vhost ${path}: ${detail}`) {}

/**
 * There is a vhost of this path already.
 *
 * @since 0.1.0
 */
export class VhostExistsError extends tagged<VhostExistsError>()("VhostExistsError", {
  path: Schema.String
}, ({ path }) => `The vhost ${path} exists already`) {}

/**
 * There is no vhost of this path.
 *
 * @since 0.1.0
 */
export class VhostNotFoundError extends tagged<VhostNotFoundError>()("VhostNotFoundError", {
  path: Schema.String
}, ({ path }) => `There is no vhost ${JSON.stringify(path.slice(0, 130))}`) {}

/**
 * Redis cannot be reached, or did not answer in time. `maybeExecuted` says whether it may have executed the command.
 *
 * @since 0.1.0
 */
export class RedisConnectionError extends tagged<RedisConnectionError>()("RedisConnectionError", {
  detail: Schema.String,
  maybeExecuted: Schema.Boolean
}, ({ detail }) => `Redis cannot be reached: ${detail}`) {}

/**
 * Redis has rejected a command, for example because its memory is full. Nothing was changed.
 *
 * @since 0.1.0
 */
export class RedisCommandError extends tagged<RedisCommandError>()(
  "RedisCommandError",
  { detail: Schema.String },
  ({ detail }) => `Redis has rejected a command: ${detail}`
) {}

/**
 * This Redis cannot be used by a broker: its version, its configuration, or the version of what it holds.
 *
 * @since 0.1.0
 */
export class UnsuitableRedisError extends tagged<UnsuitableRedisError>()("UnsuitableRedisError", {
  detail: Schema.String
}, ({ detail }) => `This Redis cannot be used: ${detail}`) {}

/**
 * The lease of this node has ended, so that others took over what was its own. Nothing that it does counts any more.
 *
 * @since 0.1.0
 */
export class LeaseLostError extends tagged<LeaseLostError>()("LeaseLostError", {
  node: Schema.String,
  detail: Schema.String
}, ({ detail, node }) => `The node ${node} has lost its lease: ${detail}`) {}
