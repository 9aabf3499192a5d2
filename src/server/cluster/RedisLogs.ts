/**
 * The logs that nodes share, in Redis. Each vhost has a stream; its entries are appended while the lease of their node is there, and
 * have the time of Redis.
 *
 * Memory is bounded by snapshots: when one is stored, the entries before the one before it go.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { RedisCommandError } from "../BrokerError.ts"
import type { SharedLog, SharedLogError } from "../engine/SharedLog.ts"
import type { Connection } from "./Connection.ts"
import * as Appender from "./internal/appender.ts"
import * as LogReader from "./internal/logReader.ts"
import * as LogScripts from "./internal/logScripts.ts"
import * as Keys from "./Keys.ts"
import type { Nodes } from "./Nodes.ts"

/** The logs. */
export interface RedisLogs {
  /** Makes the log of a vhost. */
  readonly logOf: (vhost: string) => SharedLog
  /** Deletes the log of a vhost. */
  readonly remove: (vhost: string) => Effect.Effect<void, SharedLogError>
  /** How many entries this node has read, as the sum of its positions. */
  readonly position: () => number
}

/** Makes the logs, until the scope ends. */
export const make = Effect.fnUntraced(function*(
  connection: Connection,
  nodes: Nodes
): Effect.fn.Return<RedisLogs, never, Scope.Scope> {
  const reader = yield* LogReader.make(connection, nodes)
  const append = yield* Appender.make(nodes, reader.lose)
  const logOf = (vhost: string): SharedLog => {
    const [head, log] = [Keys.head(vhost), Keys.log(vhost)]
    let current = ""
    return {
      self: nodes.self,
      append: (entry) => append(vhost, current, entry),
      follow: (epoch, after) =>
        Stream.unwrap(Effect.map(reader.follow(vhost, epoch, after), ({ take }) => Stream.fromEffectRepeat(take))),
      tail: Effect.mapError(
        Effect.map(connection.send("HGET", head, "offset"), (offset) => Number(offset ?? 0)),
        Appender.errorOf
      ),
      start: Effect.mapError(
        Effect.gen(function*() {
          const fresh = SecureRandom.uuidV4Unsafe()
          const started = yield* nodes.run(LogScripts.start, [head, Keys.logs], [vhost, fresh])
          const [epoch, offset] = started as readonly [string, string]
          current = epoch
          return { epoch, offset: Number(offset), parts: yield* read(connection, `${Keys.snapshot(vhost)}${offset}`) }
        }),
        Appender.errorOf
      ),
      storeSnapshot: (epoch, offset, parts) =>
        store(nodes, { head, log, name: Keys.snapshot(vhost) }, { epoch, offset, parts }),
      giveUp: nodes.giveUp
    }
  }
  const remove = (vhost: string) => {
    const keys = [Keys.head(vhost), Keys.log(vhost), Keys.logs, Keys.ended(vhost)]
    return Effect.asVoid(
      Effect.mapError(nodes.run(LogScripts.remove, keys, [vhost, Keys.snapshot(vhost)]), Appender.errorOf)
    )
  }
  return { logOf, remove, position: reader.position }
})

// One part at a time, so that nothing else waits long.
const read = Effect.fnUntraced(function*(connection: Connection, key: string) {
  const length = Number(yield* connection.send("LLEN", key))
  return yield* Effect.forEach(
    Array.from({ length }, (_, index) => String(index)),
    (index) =>
      Effect.flatMap(
        connection.send("LINDEX", key, index),
        (part) => typeof part === "string" ? Effect.succeed(part) : Effect.fail(replaced)
      )
  )
})

const replaced = new RedisCommandError({ detail: "the snapshot was replaced while it was read" })

const store = (
  nodes: Nodes,
  { head, log, name }: { readonly head: string; readonly log: string; readonly name: string },
  { epoch, offset, parts }: { readonly epoch: string; readonly offset: number; readonly parts: ReadonlyArray<string> }
): Effect.Effect<boolean, SharedLogError> => {
  const key = `${name}${SecureRandom.uuidV4Unsafe()}`
  return Effect.forEach(parts, (part) => nodes.run(LogScripts.storePart, [key], [part]), { discard: true }).pipe(
    Effect.andThen(nodes.run(LogScripts.completeSnapshot, [head, log, key], [epoch, offset, name])),
    Effect.map((stored) => stored === 1),
    Effect.mapError(Appender.errorOf)
  )
}
