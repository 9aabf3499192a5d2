/**
 * Reads the logs of all vhosts on one reserved connection, and gives each follower what comes after its position, in order, each entry
 * once.
 *
 * It is measured: once a second this node writes something and waits to read it here, on the way that entries come. If that takes longer
 * than three seconds, the connection is replaced. After a connection was replaced each position is looked at before anything is read
 * from there: if Redis has lost entries that this node has read, the log gets another epoch, and its follower fails.
 */

import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as AwakeClock from "../../../transport/AwakeClock.ts"
import { type LogEntry, maxEntrySize } from "../../engine/SharedLog.ts"
import { supervised } from "../../engine/Supervisor.ts"
import { type Connection, longestBlock, type Reserved } from "../Connection.ts"
import * as Keys from "../Keys.ts"
import type { Nodes } from "../Nodes.ts"
import * as Follower from "./follower.ts"
import type { CommandError } from "./link.ts"
import * as LogScripts from "./logScripts.ts"

/** Reads the logs. */
export interface LogReader {
  /** Follows the log of a vhost with this epoch from after an offset, until the scope ends. */
  readonly follow: (
    vhost: string,
    epoch: string,
    after: number
  ) => Effect.Effect<Follower.Follower, never, Scope.Scope>
  /** The log of a vhost has another epoch than this one: those who follow it fail. */
  readonly lose: (vhost: string, epoch: string) => void
  /** How many entries the followers have read, as the sum of their positions. */
  readonly position: () => number
}

/** How often this node writes what it waits for, in milliseconds. */
const probeInterval = 1000

/** How long that may take, in milliseconds. */
const probeTimeout = 3000

/** How many entries of a log are read at once. Fewer if they are large. */
const maxCount = 64

/** Begins to read, until the scope ends. */
export const make = Effect.fnUntraced(function*(
  connection: Connection,
  nodes: Pick<Nodes, "self" | "run">
): Effect.fn.Return<LogReader, never, Scope.Scope> {
  const clock = AwakeClock.make(yield* Clock.Clock)
  const followers = new Set<Follower.Follower>()
  const doubted = new Set<Follower.Follower>()
  const own = makeProbe(nodes, clock)
  const isWanted = Latch.makeUnsafe(false)
  const read = Effect.scoped(Effect.gen(function*() {
    const reserved = yield* connection.reserve
    followers.forEach((follower) => doubted.add(follower))
    for (;;) {
      for (const follower of doubted) {
        yield* verify(connection, nodes, follower)
        doubted.delete(follower)
      }
      const reading = [...followers].filter((follower) => follower.hasRoom() && !follower.hasFailed())
      for (const follower of yield* readOnce(reserved, own, reading)) doubted.add(follower)
    }
  }))
  // Whoever is added, or has room again, is not in what the connection waits for now.
  const waking = Effect.andThen(
    isWanted.await,
    Effect.suspend(() => {
      isWanted.closeUnsafe()
      return own.write
    })
  )
  const probing = Effect.andThen(Effect.sleep(probeInterval), own.check(connection))
  const reading = Effect.catch(read, () => Effect.sleep("100 millis"))
  for (const work of [waking, probing, reading]) {
    yield* Effect.forkScoped(supervised("The reader of the logs in Redis", Effect.forever(work)))
  }

  return {
    follow: (vhost, epoch, after) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const follower = Follower.make(vhost, epoch, after, () => void isWanted.openUnsafe())
          followers.add(follower)
          doubted.add(follower)
          isWanted.openUnsafe()
          return follower
        }),
        (follower) =>
          Effect.sync(() => {
            followers.delete(follower)
            doubted.delete(follower)
          })
      ),
    lose: (vhost, epoch) => {
      for (const follower of followers) {
        if (follower.vhost === vhost && follower.epoch === epoch) follower.fail(anotherEpoch)
      }
    },
    position: () => Array.from(followers, (follower) => follower.position()).reduce((sum, one) => sum + one, 0)
  }
})

const anotherEpoch = "it is another log now"

/** What this node writes in order to read it. */
interface Probe {
  readonly key: string
  /** The number of the last one that was read. */
  readonly seen: () => number
  readonly see: (number: number) => void
  /** Writes the next one. */
  readonly write: Effect.Effect<void>
  /** Writes one, and replaces the connection if an earlier one did not come. */
  readonly check: (connection: Connection) => Effect.Effect<void>
}

const makeProbe = (nodes: Pick<Nodes, "self" | "run">, clock: AwakeClock.AwakeClock): Probe => {
  const key = Keys.probe(nodes.self)
  let written = 0
  let seen = 0
  let awaited: { readonly number: number; readonly since: number } | undefined
  const write = Effect.suspend(() => {
    const number = ++written
    // Only a connection can be measured.
    return Effect.match(nodes.run(LogScripts.probe, [key], [number]), {
      onFailure: () => {},
      onSuccess: () => {
        if (number > seen) awaited ??= { number, since: clock.nowUnsafe() }
      }
    })
  })
  return {
    key,
    seen: () => seen,
    see: (number) => {
      seen = number
      if (awaited !== undefined && awaited.number <= number) awaited = undefined
    },
    write,
    check: (connection) =>
      Effect.suspend(() => {
        if (awaited === undefined || clock.nowUnsafe() - awaited.since <= probeTimeout) return write
        awaited = undefined
        return connection.replace(`what was written could not be read within ${probeTimeout / 1000} s`)
      })
  }
}

type Streams = ReadonlyArray<readonly [key: string, entries: ReadonlyArray<Raw>]>
type Raw = readonly [id: string, fields: ReadonlyArray<string>]

// Returns the followers whose positions are doubtful.
const readOnce = (
  reserved: Reserved,
  probe: Probe,
  followers: ReadonlyArray<Follower.Follower>
): Effect.Effect<ReadonlyArray<Follower.Follower>, CommandError> => {
  const [byKey, size] = [new Map(followers.map((one) => [Keys.log(one.vhost), one])), largestOf(followers)]
  const count = Math.max(1, Math.min(maxCount, Math.floor(maxEntrySize / size)))
  return Effect.map(
    reserved.send(
      ...["XREAD", "COUNT", String(count), "BLOCK", String(longestBlock), "STREAMS"] as const,
      ...[probe.key, ...byKey.keys()],
      ...[probe.seen(), ...Array.from(byKey.values(), (one) => one.position())].map((offset) => `${offset}-0`)
    ),
    (streams) =>
      ((streams ?? []) as Streams).flatMap(([key, raw]) => {
        const follower = byKey.get(key)
        if (follower === undefined) probe.see(offsetOf(raw.at(-1)!))
        else if (!follower.push(raw.map(entryOf))) return [follower]
        return []
      })
  )
}

// By the last ones that were read: what comes next is likely as large.
const largestOf = (followers: ReadonlyArray<Follower.Follower>): number =>
  Math.max(1, ...followers.map((follower) => follower.last()?.entry?.length ?? 0))

const offsetOf = ([id]: Raw): number => Number.parseInt(id, 10)

const entryOf = (raw: Raw): LogEntry => {
  const [, node, , time, , entry] = raw[1]
  return { offset: offsetOf(raw), time: Number(time), node: node!, entry }
}

// What a node has read must still be there, and what comes after that must be the next.
const verify = Effect.fnUntraced(function*(
  connection: Connection,
  nodes: Pick<Nodes, "run">,
  follower: Follower.Follower
) {
  const [last, position] = [follower.last(), follower.position()]
  const keys = [Keys.head(follower.vhost), Keys.log(follower.vhost)]
  const [epoch, offset, at, next] = (yield* connection.run(LogScripts.look, keys, [position, position + 1])) as Look
  if (epoch !== follower.epoch) return follower.fail(anotherEpoch)
  const now = at[0] && entryOf(at[0])
  if (Number(offset) < position || now && last && (now.time !== last.time || now.node !== last.node)) {
    // Others may not have read them. But browsers may, and ask for what came after.
    yield* Effect.ignore(nodes.run(LogScripts.renewEpoch, keys.slice(0, 1), [epoch, SecureRandom.uuidV4Unsafe()]))
    return follower.fail("Redis has lost its last entries")
  }
  const isWhole = next[0] === undefined ? Number(offset) === position : offsetOf(next[0]) === position + 1
  if (!isWhole) follower.fail("the next entries were trimmed")
})

type Look = readonly [epoch: string, offset: string, at: ReadonlyArray<Raw>, next: ReadonlyArray<Raw>]
