/**
 * Keeps a worker connected: opens one session after another, until it is told to quit.
 *
 * After a session that was connected the schedule begins anew. Only 402 and a defect end the connection, and the inbox
 * fails with them: whatever is wrong, whoever listens hears of it.
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { FromClient } from "../../protocol/Command.ts"
import type { ConnectionError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import { ConnectionState } from "../ConnectionState.ts"
import * as Deliveries from "./deliveries.ts"
import * as Session from "./session.ts"

/** A worker's standing connection. */
export interface Connection {
  /**
   * Wants no more events: what arrives from now on is released. `false` from a broker that does not know how, and then
   * nothing has changed.
   */
  readonly pause: Effect.Effect<boolean>
  /** Says goodbye: the broker sends no more. */
  readonly quit: Effect.Effect<void>
  /** After `quit`, waits until all that was on its way has come into the inbox. */
  readonly ended: Effect.Effect<void>
  /** Releases the events whose handlers are at work: whatever becomes of those handlers, it is not reported any more. */
  readonly abandonUnsafe: () => void
}

/** What it needs to know. */
export interface Options extends Omit<Session.Options, "deliveries" | "onHeartbeat" | "mode"> {
  readonly state: SubscriptionRef.SubscriptionRef<ConnectionState>
  readonly reconnect: Schedule.Schedule<unknown, ConnectionError>
}

/** Connects, and stays connected until the scope ends. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Connection, never, Scope.Scope> {
  const { inbox, reconnect, state } = options
  const deliveries = Deliveries.make(options.prefetch.most)
  const health = makeHealth(state, options.endpoint.address)
  let mode: Session.Mode = "running"
  let session: Session.Session | undefined
  // The last one, after its end, too.
  let last: Session.Session | undefined
  const sessionOptions: Session.Options = { ...options, deliveries, onHeartbeat: health.connected, mode: () => mode }

  // One session. Gives why it ended, if it was connected; otherwise it fails.
  const attempt = Effect.gen(function*() {
    yield* SubscriptionRef.set(state, ConnectionState.Connecting())
    session = last = yield* Session.open(sessionOptions)
    return yield* session.run
  }).pipe(
    Effect.scoped,
    Effect.ensuring(Effect.sync(() => {
      session = undefined
    })),
    Effect.catchTag("ConnectionError", (reason) => mode === "quitting" ? Effect.succeed(reason) : health.lost(reason))
  )
  // Attempts until one was connected, as the schedule says; the end of a session before counts as a failed attempt.
  const series = (before: ConnectionError | undefined) => {
    let failed = before
    return Effect.suspend(() => {
      const error = failed
      failed = undefined
      return error === undefined ? attempt : Effect.fail(error)
    }).pipe(
      Effect.catchTag("UnauthorizedError", Effect.succeed),
      Effect.retry(reconnect),
      // The schedule has ended and begins again, but not as fast as it can.
      Effect.catchTag("ConnectionError", () => Effect.as(Effect.sleep("100 millis"), undefined))
    )
  }
  const keep = Effect.gen(function*() {
    let before: ConnectionError | undefined
    while (mode !== "quitting") {
      const ended: ConnectionError | UnauthorizedError | undefined = yield* series(before)
      if (ended?._tag === "UnauthorizedError") return yield* ended
      before = ended
    }
  }).pipe(
    Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.void : Queue.failCause(inbox, cause)),
    Effect.ensuring(SubscriptionRef.set(state, ConnectionState.Idle()))
  )

  const fiber = yield* Effect.forkScoped(keep)
  return {
    pause: Effect.suspend(() => {
      if (last?.acknowledges() !== true) return Effect.succeed(false)
      mode = "paused"
      const told = session === undefined ? Effect.void : session.outbound.send(Session.ready(sessionOptions))
      return Effect.as(Effect.tap(told, () => Effect.sync(deliveries.pauseUnsafe)), true)
    }),
    quit: Effect.suspend(() => {
      mode = "quitting"
      return session === undefined ? Fiber.interrupt(fiber) : session.outbound.send(FromClient.Quit())
    }),
    ended: Effect.asVoid(Fiber.await(fiber)),
    abandonUnsafe: deliveries.abandonUnsafe
  }
})

// Trouble is logged when it begins and when it is over, not at each attempt between.
const makeHealth = (state: Options["state"], address: string) => {
  let troubled = false
  let wasConnected = false
  const isConnected = () => SubscriptionRef.getUnsafe(state)._tag === "Connected"
  const connect = Effect.gen(function*() {
    yield* SubscriptionRef.set(state, ConnectionState.Connected())
    const again = wasConnected
    wasConnected = true
    if (!troubled) return
    troubled = false
    if (again) yield* Metric.update(ClientMetrics.reconnects, 1)
    yield* Effect.logInfo(`Connected to the broker at ${address}${again ? " again" : ""}`)
  })
  return {
    connected: Effect.suspend(() => isConnected() ? Effect.void : connect),
    /** Gives the reason, if it had been connected; otherwise fails with it. */
    lost: Effect.fnUntraced(function*(reason: ConnectionError) {
      const wasGood = isConnected()
      yield* SubscriptionRef.set(state, ConnectionState.Disconnected({ reason }))
      if (!troubled) yield* Effect.logWarning(`${reason.message}. Reconnecting until it is back`)
      troubled = true
      return wasGood ? reason : yield* reason
    })
  }
}
