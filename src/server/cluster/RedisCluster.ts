/**
 * What nodes share, in Redis, as the services that the engine looks for.
 *
 * The node joins when the layer is built, and ends its lease when the scope ends.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { InternalError } from "../../protocol/KosmonautError.ts"
import {
  InvalidOptionError,
  type RedisCommandError,
  type RedisConnectionError,
  type UnsuitableRedisError
} from "../BrokerError.ts"
import { SharedAccessTokens } from "../engine/AccessTokens.ts"
import { Cluster } from "../engine/Cluster.ts"
import { SharedLogs } from "../engine/SharedLog.ts"
import { SharedQueues } from "../engine/SharedQueue.ts"
import { SharedVhosts } from "../engine/SharedVhosts.ts"
import * as Connection from "./Connection.ts"
import * as Nodes from "./Nodes.ts"
import * as RedisLogs from "./RedisLogs.ts"
import * as RedisQueues from "./RedisQueues.ts"
import * as RedisTokens from "./RedisTokens.ts"
import * as RedisVhosts from "./RedisVhosts.ts"

/**
 * Where the Redis is, and how this node is called.
 *
 * @since 0.1.0
 */
export interface Options extends Nodes.Options {
  readonly url: Redacted.Redacted
}

const make = Effect.fnUntraced(function*({ url, ...options }: Options) {
  yield* check(url)
  const connection = yield* Connection.make(url)
  const nodes = yield* Nodes.make(connection, options)
  const logs = yield* RedisLogs.make(connection, nodes)
  const queues = RedisQueues.make({ connection, nodes })
  yield* Effect.forkScoped(queues.listen)
  yield* Effect.logInfo(`This is the node ${nodes.self}, ${options.name}`)
  return Context.make(Cluster, {
    self: nodes.self,
    nodes: Effect.mapError(nodes.list, ({ message }) => new InternalError({ detail: message })),
    fenced: nodes.fenced,
    report: (load) => nodes.report(() => ({ ...load(), position: logs.position() })),
    problem: () =>
      nodes.isFenced()
        ? "the lease of this node is lost"
        : connection.isConnected()
        ? undefined
        : "Redis cannot be reached"
  }).pipe(
    Context.add(SharedLogs, { logOf: (vhost) => Effect.succeed(logs.logOf(vhost)), remove: logs.remove }),
    Context.add(SharedAccessTokens, { tokensOf: (vhost, options) => RedisTokens.make(nodes, vhost, options) }),
    Context.add(SharedQueues, queues),
    Context.add(SharedVhosts, RedisVhosts.make(nodes, queues))
  )
})

// A secret, so that the message does not have it.
const check = (url: Redacted.Redacted): Effect.Effect<void, InvalidOptionError> => {
  const text = Redacted.value(url)
  const isUrl = /^rediss?:\/\//.test(text) && URL.canParse(text) && /^\/?\d*$/.test(new URL(text).pathname)
  return isUrl ? Effect.void : Effect.fail(
    new InvalidOptionError({
      option: "redis.url",
      value: "what was given",
      allowed: "a URL that begins with redis://, or rediss:// for TLS, and whose database, if it names one, is a number"
    })
  )
}

/**
 * The services.
 *
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<
  Cluster | SharedAccessTokens | SharedLogs | SharedQueues | SharedVhosts,
  InvalidOptionError | RedisConnectionError | RedisCommandError | UnsuitableRedisError
> => Layer.effectContext(make(options))
