/**
 * One connection to Redis, from its opening to its end. It does not reconnect: its owner opens another one.
 */

import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { messageOf } from "../../../protocol/ErrorText.ts"
import { RedisCommandError, RedisConnectionError, UnsuitableRedisError } from "../../BrokerError.ts"
import * as Keys from "../Keys.ts"
import * as RedisModule from "./redisModule.ts"
import * as ServerInfo from "./serverInfo.ts"

/** Why a command has failed. */
export type CommandError = RedisConnectionError | RedisCommandError

/** The connection. */
export interface Link {
  readonly redis: Redis.Redis["Service"]
  readonly info: ServerInfo.ServerInfo
  /** Ends it. What was sent and not answered fails. */
  readonly end: (why: string) => void
  /** Waits until it has ended, and says why. */
  readonly ended: Effect.Effect<string>
  /** Ends it, and waits until nothing is left of it. */
  readonly close: Effect.Effect<void>
}

/** How long nothing may come on a connection that waits for something, in milliseconds. */
const silence = 5000

const optionsOf = (url: Redacted.Redacted) => ({
  url: Redacted.value(url),
  name: "kosmonaut",
  RESP: 2,
  // Without a connection commands wait here, where their time is bounded, and not in the package.
  disableOfflineQueue: true,
  // A timer and an AbortSignal for each command, which `silence` and the owner's probes make unnecessary.
  commandOptions: { timeout: 0 },
  maxConnections: 100,
  socket: { connectTimeout: silence, socketTimeout: silence, reconnectStrategy: false }
} as const)

/** Opens connections to the Redis of a URL that a broker can use. */
export const opener = (url: Redacted.Redacted) =>
  Effect.map(RedisModule.load, (module) => {
    // Its own log would repeat at each attempt what its owner logs once.
    const layer = Layer.fresh(Layer.provide(module.layer(optionsOf(url)), Logger.layer([])))
    const open = Effect.fnUntraced(function*(scope: Scope.Closeable) {
      const ended = Deferred.makeUnsafe<string>()
      const context = yield* Effect.mapError(Layer.buildWithScope(layer, scope), connectionError)
      const [{ client }, redis] = [Context.get(context, module.NodeRedis), Context.get(context, Redis.Redis)]
      const end = (why: string) => {
        Deferred.doneUnsafe(ended, Exit.succeed(why))
        // Closing in order would wait for what is not answered.
        client.destroy()
      }
      client.on("error", (cause: unknown) => void Deferred.doneUnsafe(ended, Exit.succeed(textOf(cause))))
      yield* Scope.addFinalizer(scope, Effect.sync(() => end("it was closed")))
      const info = ServerInfo.parse(String(yield* Effect.mapError(redis.send("INFO"), connectionError)))
      if (info.notReady !== undefined) {
        return yield* new RedisConnectionError({ detail: info.notReady, maybeExecuted: false })
      }
      const refusal = ServerInfo.unsuitable(info)
      if (refusal !== undefined) return yield* refusal
      yield* Effect.mapError(redis.send("PUBLISH", Keys.wake(""), ""), publishError)
      return { redis, info, end, ended: Deferred.await(ended), close: Scope.close(scope, Exit.void) }
    })
    const attempt = Effect.gen(function*(): Effect.fn.Return<Link, RedisConnectionError | UnsuitableRedisError> {
      const scope = yield* Scope.make()
      return yield* Effect.onError(open(scope), () => Scope.close(scope, Exit.void))
    })
    // Its own timeouts end it: nobody who gives up waits for an answer that may never come.
    return Effect.flatMap(Effect.forkDetach(attempt), (fiber) =>
      Effect.onInterrupt(Fiber.join(fiber), () =>
        Effect.forkDetach(Effect.flatMap(Fiber.join(fiber), ({ close }) =>
          close))))
  })

/** What a failure of a command means. */
export const commandError = ({ cause }: Redis.RedisError): CommandError => {
  const detail = textOf(cause)
  // An error that Redis answers begins with its kind, a word in capitals; those of the package and of Node.js do not.
  return /^[A-Z][A-Z0-9_]*( |$)/.test(detail)
    ? new RedisCommandError({ detail })
    : new RedisConnectionError({ detail, maybeExecuted: true })
}

/** What a failure to connect means. */
export const connectionError = ({ cause }: Redis.RedisError): RedisConnectionError =>
  new RedisConnectionError({ detail: textOf(cause), maybeExecuted: false })

// A user of Redis has the rights on channels apart from those on keys, and by default none.
const publishError = (error: Redis.RedisError): RedisConnectionError | UnsuitableRedisError =>
  textOf(error.cause).startsWith("NOPERM")
    ? new UnsuitableRedisError({
      detail:
        `its user may not publish and subscribe to channels that begin with ${Keys.prefix}. Allow it &${Keys.prefix}*`
    })
    : connectionError(error)

// An error of several addresses has no message of its own.
const textOf = (cause: unknown): string =>
  cause instanceof AggregateError && cause.message === ""
    ? cause.errors.map(textOf).join(", ")
    : cause instanceof Error
    ? cause.message || cause.name
    : messageOf(cause)
