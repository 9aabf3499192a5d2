/**
 * The nodes that share a Redis, and the lease of this one.
 *
 * A node has an incarnation, a random name that is used once, and a lease of 6 seconds by Redis' time, which it renews every 2.
 * Scripts that change something do it only while the lease is there. If another node finds that it is over, it ends it, and with it
 * all that depends on it: then `fenced` fails, and nothing that this node does counts any more. So it does if Redis could not be
 * reached for 30 seconds, so that browsers find another node.
 *
 * When the scope ends, so does the lease, and nobody has to wait for its end.
 */

import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as AwakeClock from "../../transport/AwakeClock.ts"
import { LeaseLostError, UnsuitableRedisError } from "../BrokerError.ts"
import type { Load, Node } from "../engine/Cluster.ts"
import type { Connection } from "./Connection.ts"
import * as LeaseScripts from "./internal/leaseScripts.ts"
import type { CommandError } from "./internal/link.ts"
import * as Keys from "./Keys.ts"
import * as Script from "./Script.ts"

/** The nodes. */
export interface Nodes {
  /** The incarnation of this node. */
  readonly self: string
  /**
   * Runs a script made by `Script.fenced`, with its own keys and arguments. It is executed only while this node has its lease, and
   * fails at once when the node knows that it has lost it.
   */
  readonly run: (
    script: Script.Script,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<unknown, CommandError | LeaseLostError>
  /** Fails when this node has lost its lease. */
  readonly fenced: Effect.Effect<never, LeaseLostError>
  /** Whether it has lost it. */
  readonly isFenced: () => boolean
  /** This node cannot go on: it gives its lease up, as if it had lost it. */
  readonly giveUp: (detail: string) => Effect.Effect<void>
  /** All living nodes, in the order in which their leases end. */
  readonly list: Effect.Effect<ReadonlyArray<Node>, CommandError>
  /** Says from now on with each renewal what this node has to do. */
  readonly report: (load: () => Load) => void
}

/** How the node is called, and by what times it lives. */
export interface Options {
  readonly name: string
  readonly version: string
  /** How long a lease lasts, in milliseconds. Default 6000. */
  readonly lease?: number | undefined
  /** For how long the node goes on without Redis, in milliseconds. Default 30 000. */
  readonly isolation?: number | undefined
}

/** How long a node waits at most to give its lease up when it ends, in milliseconds, without the time in which the process stood still. */
const leaveTimeout = 1000

/** Takes a lease, and renews it until the scope ends. Fails if what is in Redis was written by another layout. */
export const make = Effect.fnUntraced(function*(connection: Connection, options: Options): Effect.fn.Return<
  Nodes,
  CommandError | UnsuitableRedisError,
  Scope.Scope
> {
  const { isolation = 30_000, lease = 6000, name, version } = options
  const clock = AwakeClock.make(yield* Clock.Clock)
  const lost = Deferred.makeUnsafe<never, LeaseLostError>()
  const startedAt = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  let load = (): Load => ({})
  const info = () => JSON.stringify({ name, version, startedAt, load: load() })
  const self = yield* join(connection, info(), lease)
  let loss: LeaseLostError | undefined
  const fence = (detail: string) => {
    loss ??= new LeaseLostError({ node: self, detail })
    Deferred.doneUnsafe(lost, Exit.fail(loss))
    return loss
  }

  const run: Nodes["run"] = (script, keys, args) =>
    Effect.suspend(() =>
      loss !== undefined ? Effect.fail(loss) : Effect.mapError(
        connection.run(script, [Keys.leases, ...keys], [self, ...args]),
        (error) =>
          error._tag === "RedisCommandError" && error.detail.startsWith(Script.leaseLost)
            ? fence(error.detail.slice(Script.leaseLost.length + 1))
            : error
      )
    )
  // Returns how long to wait for the next time. What was lost with a connection is soon repeated: the lease goes on.
  const renew = Effect.matchEffect(Effect.suspend(() => run(LeaseScripts.renew, [], [info(), lease])), {
    onSuccess: (ended) => Effect.as(logEnded(ended as ReadonlyArray<string>), lease / 3),
    onFailure: (error) => {
      if (error._tag === "RedisCommandError") return Effect.as(Effect.logError(error.message), lease / 3)
      if (connection.lostFor() > isolation) fence(`Redis could not be reached for ${isolation / 1000} s`)
      return Effect.succeed(lease / 60)
    }
  })
  yield* Effect.addFinalizer(() =>
    // Otherwise it ends by its time, and nobody has to wait here.
    connection.isConnected()
      ? Effect.interruptible(Effect.raceFirst(
        Effect.ignore(run(LeaseScripts.leave, [], [])),
        AwakeClock.sleepFor(clock, leaveTimeout)
      ))
      : Effect.void
  )
  yield* Effect.forkScoped(
    Effect.raceFirst(Effect.forever(Effect.flatMap(renew, Effect.sleep)), Effect.exit(Deferred.await(lost)))
  )
  return {
    self,
    run,
    fenced: Deferred.await(lost),
    isFenced: () => loss !== undefined,
    giveUp: (detail) => Effect.sync(() => void fence(detail)),
    list: Effect.map(connection.run(LeaseScripts.list, [], []), (answer) => nodesOf(answer as Listed)),
    report: (given) => {
      load = given
    }
  }
})

const logEnded = (nodes: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.forEach(nodes, (node) => Effect.logWarning(`The lease of the node ${node} has ended`), { discard: true })

// A name that was never used; the digits begin the `sid`s of its browsers.
const join = (connection: Connection, info: string, lease: number): Effect.Effect<
  string,
  CommandError | UnsuitableRedisError
> =>
  Effect.suspend(() => {
    const self = Hex.encode(SecureRandom.randomBytesUnsafe(4))
    return Effect.matchEffect(connection.run(LeaseScripts.join, [], [self, info, lease, Keys.layoutVersion]), {
      onSuccess: (joined) => joined === 1 ? Effect.succeed(self) : join(connection, info, lease),
      onFailure: (error) => Effect.fail(layoutErrorOf(error) ?? error)
    })
  })

const layoutErrorOf = (error: CommandError): UnsuitableRedisError | undefined =>
  error._tag === "RedisCommandError" && error.detail.startsWith(LeaseScripts.otherLayout)
    ? new UnsuitableRedisError({
      detail: `what is in it has the layout ${
        error.detail.slice(LeaseScripts.otherLayout.length + 1)
      }, and this version of kosmonaut has the layout ${Keys.layoutVersion}. Run the other version, or another database`
    })
    : undefined

type Listed = readonly [time: string, leases: ReadonlyArray<string>, infos: ReadonlyArray<string>]

const nodesOf = ([time, leases, infos]: Listed): ReadonlyArray<Node> => {
  const infoOf = new Map(pairs(infos))
  return pairs(leases).map(([node, ends]) => ({
    node,
    lease: Number(ends) - Number(time),
    ...said(infoOf.get(node))
  }))
}

const Said = Schema.fromJsonString(Schema.Struct({
  name: Schema.String,
  version: Schema.String,
  startedAt: Schema.Number,
  load: Schema.Record(Schema.String, Schema.Number)
}))

const said = (text = ""): typeof Said.Type =>
  Option.getOrElse(Schema.decodeOption(Said)(text), () => ({ name: "", version: "", startedAt: 0, load: {} }))

const pairs = (flat: ReadonlyArray<string>): ReadonlyArray<readonly [string, string]> =>
  Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index]!, flat[2 * index + 1]!])
