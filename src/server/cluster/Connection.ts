/**
 * The connection of a node to Redis. It is measured, never assumed: once a second a command goes there and back, and a
 * connection on which that takes longer than three seconds is replaced. So is one that has ended.
 *
 * Commands of one turn of the event loop are sent together, in their order. Without a connection a command waits for the next one,
 * for at most five seconds. Nothing is sent twice: commands that were sent on a connection that is lost fail, and say that they may
 * have been executed.
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Redis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as AwakeClock from "../../transport/AwakeClock.ts"
import { RedisConnectionError, type UnsuitableRedisError } from "../BrokerError.ts"
import { supervised } from "../engine/Supervisor.ts"
import * as Link from "./internal/link.ts"
import type { Script } from "./Script.ts"

/** A connection of its own, for commands that block for at most `longestBlock`. */
export interface Reserved {
  readonly send: (command: string, ...args: ReadonlyArray<string>) => Effect.Effect<unknown, Link.CommandError>
}

/** The connection. */
export interface Connection extends Reserved {
  /** Runs a script. */
  readonly run: (
    script: Script,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<unknown, Link.CommandError>
  /**
   * Opens a connection of its own, until the scope ends. It is not replaced: when it is lost, or the connection is replaced, its commands
   * fail.
   */
  readonly reserve: Effect.Effect<Reserved, RedisConnectionError, Scope.Scope>
  /**
   * Hears a channel on a connection of its own, until that or the connection is lost or replaced: then it fails. `begun` is called once
   * everything that is published from then on is heard. What is published meanwhile to a channel that nobody hears is lost.
   */
  readonly hear: (
    channel: string,
    begun: () => void,
    heard: (message: string) => void
  ) => Effect.Effect<never, Link.CommandError>
  /** Replaces the connection, since it was found not to work. */
  readonly replace: (why: string) => Effect.Effect<void>
  /** Whether there is one that works. */
  readonly isConnected: () => boolean
  /** How long there has been none, in milliseconds, without the time in which the process stood still; 0 if there is one. */
  readonly lostFor: () => number
}

/** How long a command waits for a connection, in milliseconds. */
const patience = 5000

/** The longest that a command on a reserved connection may block, in milliseconds. */
export const longestBlock = 2000

/** How often a command goes there and back, in milliseconds. */
const probeInterval = 1000

/** How long that may take, in milliseconds. */
const probeTimeout = 3000

/** When to try again to connect. */
const reconnect = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")]).pipe(
  Schedule.jittered
)

/**
 * Connects to the Redis of a URL, and reconnects for as long as the scope lasts. Fails if the first attempt does, or if a broker
 * cannot use that Redis.
 */
export const make = Effect.fnUntraced(function*(
  url: Redacted.Redacted
): Effect.fn.Return<Connection, RedisConnectionError | UnsuitableRedisError, Scope.Scope> {
  const clock = AwakeClock.make(yield* Clock.Clock)
  const open = yield* Link.opener(url)
  const hasLink = Latch.makeUnsafe(false)
  let link: Link.Link | undefined
  let lostAt = clock.nowUnsafe()
  const use = (opened: Link.Link) => {
    link = opened
    hasLink.openUnsafe()
  }
  const lose = Effect.fnUntraced(function*(lost: Link.Link, why: string) {
    hasLink.closeUnsafe()
    link = undefined
    lostAt = clock.nowUnsafe()
    lost.end(why)
    // It waits for those who have reserved a connection.
    yield* Effect.forkDetach(lost.close)
    yield* Effect.logWarning(`The connection to Redis is lost: ${why}. Reconnecting`)
  })

  yield* Effect.addFinalizer(() => Effect.suspend(() => link?.close ?? Effect.void))
  const first = yield* open
  use(first)
  yield* warnOfNoPersistence(first)
  const keeping = Effect.gen(function*() {
    if (link !== undefined) yield* lose(link, yield* Effect.raceFirst(link.ended, probing(link.redis, clock)))
    use(yield* reopening(open))
    yield* Effect.logInfo("Connected to Redis again")
  })
  yield* Effect.forkScoped(supervised("The connection to Redis", Effect.forever(keeping)))

  const waited = Effect.flatMap(
    Effect.timeoutOption(hasLink.await, Duration.millis(patience)),
    () => link === undefined ? Effect.fail(noConnection) : Effect.succeed(link)
  )
  const current = Effect.suspend(() => link === undefined ? waited : Effect.succeed(link))
  return {
    send: (command, ...args) => Effect.flatMap(current, (on) => sent(on, on.redis.send(command, ...args))),
    run: (script, keys, args) => Effect.flatMap(current, (on) => sent(on, on.redis.eval(script)(keys, args))),
    reserve: Effect.flatMap(
      current,
      (on) =>
        Effect.map(reserving(on), (reserved) => ({
          send: (command, ...args) =>
            Effect.suspend(() =>
              link === on
                ? Effect.mapError(reserved.send(command, ...args), Link.commandError)
                : Effect.fail(replaced)
            )
        }))
    ),
    hear: (...listener) => Effect.flatMap(current, (on) => hearing(on, clock, listener)),
    replace: (why) => Effect.sync(() => link?.end(why)),
    isConnected: () => link !== undefined,
    lostFor: () => link === undefined ? clock.nowUnsafe() - lostAt : 0
  }
})

const noConnection = new RedisConnectionError({
  detail: `there was no connection for ${patience / 1000} s`,
  maybeExecuted: false
})

// It may be to another Redis than the one that is used now.
const replaced = new RedisConnectionError({ detail: "the connection was replaced", maybeExecuted: false })

// The pool of a connection that ends meanwhile interrupts whoever waits for it. A fiber that is interrupted itself does not come here.
const reserving = ({ ended, redis }: Link.Link) =>
  Effect.raceFirst(
    Effect.mapError(redis.reserve, Link.connectionError),
    Effect.andThen(ended, Effect.fail(replaced))
  ).pipe(Effect.catchCauseIf(Cause.hasInterruptsOnly, () => Effect.fail(replaced)))

// What a node says to itself shows that it hears: nobody says that a connection is lost if the network is.
const hearing = (
  { ended, redis }: Link.Link,
  clock: AwakeClock.AwakeClock,
  [channel, begun, heard]: Parameters<Connection["hear"]>
): Effect.Effect<never, Link.CommandError> => {
  const hear = Effect.gen(function*() {
    const messages = yield* redis.subscribe(channel)
    let probes = 0
    const hearAll = Effect.map(Queue.takeAll(messages), (all) => {
      for (const { message } of all) {
        if (message !== "") heard(message)
        else if (probes++ === 0) begun()
      }
    })
    const probe = Effect.gen(function*() {
      const before = probes
      yield* redis.send("PUBLISH", channel, "")
      yield* AwakeClock.sleepFor(clock, probeTimeout)
      if (probes === before) return yield* Effect.fail(unheard)
    })
    return yield* Effect.raceFirst(Effect.forever(hearAll), Effect.forever(probe))
  }).pipe(
    Effect.mapError((error) => error._tag === "RedisError" ? Link.commandError(error) : error),
    Effect.scoped
  )
  return Effect.raceFirst(detached(hear), Effect.andThen(ended, Effect.fail(replaced)))
}

// Whoever gives it up does not wait: to subscribe takes long where Redis stands still, and cannot be interrupted.
const detached = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkDetach(effect),
      (fiber) => Effect.onInterrupt(restore(Fiber.join(fiber)), () => Effect.sync(() => fiber.interruptUnsafe()))
    )
  )

const unheard = new RedisConnectionError({
  detail: `what was published was not heard within ${probeTimeout / 1000} s`,
  maybeExecuted: false
})

// A primary that has become a replica does not say so by itself.
const sent = (link: Link.Link, command: Effect.Effect<unknown, Redis.RedisError>) =>
  Effect.catchTag(command, "RedisError", (cause) => {
    const error = Link.commandError(cause)
    if (error._tag === "RedisCommandError" && /^(READONLY|MASTERDOWN|LOADING)/.test(error.detail)) {
      link.end(error.detail)
    }
    return Effect.fail(error)
  })

// Ends when an answer does not come, and says so.
const probing = (redis: Redis.Redis["Service"], clock: AwakeClock.AwakeClock): Effect.Effect<string> => {
  const probe = Effect.raceFirst(
    Effect.matchEager(redis.send("PING"), {
      onFailure: (error) => Link.commandError(error).message,
      onSuccess: () => undefined
    }),
    Effect.as(AwakeClock.sleepFor(clock, probeTimeout), `it did not answer within ${probeTimeout / 1000} s`)
  )
  return Effect.flatMap(
    Effect.andThen(AwakeClock.sleepFor(clock, probeInterval), probe),
    (why) => why === undefined ? probing(redis, clock) : Effect.succeed(why)
  )
}

// Says once why it does not work, and tries for as long as it takes.
const reopening = (open: Effect.Effect<Link.Link, RedisConnectionError | UnsuitableRedisError>) => {
  let said = ""
  return open.pipe(
    Effect.tapError((error) => {
      if (said === error.message) return Effect.void
      said = error.message
      return Effect.logWarning(error.message)
    }),
    Effect.retry(reconnect),
    Effect.orDie
  )
}

const warnOfNoPersistence = ({ info, redis }: Link.Link) =>
  info.hasAof ? Effect.void : Effect.flatMap(
    // Some providers of Redis forbid the command: then nobody knows.
    Effect.option(redis.send<ReadonlyArray<string>>("CONFIG", "GET", "save")),
    (save) =>
      save._tag === "Some" && save.value[1] === ""
        ? Effect.logWarning(
          "Redis persists nothing: when it restarts, all events and the state of all channels are lost. Set appendonly yes"
        )
        : Effect.void
  )
