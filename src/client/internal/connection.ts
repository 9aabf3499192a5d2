/**
 * Keeps a worker connected: opens one session after another until it quits.
 *
 * After a session that was connected the schedule restarts. Only 402, a broker that is not trusted, or a defect ends the connection;
 * then the inbox fails with it, and so does `listen`.
 *
 * A broker that is not trusted at first is a mistake in the configuration. Once the worker was connected it is a loss like any
 * other: a certificate has expired, or somebody is in between. What they cause must pass with them.
 */

import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { FromClient } from "../../protocol/Command.ts"
import type { ConnectionError, UnauthorizedError, UntrustedBrokerError } from "../../protocol/KosmonautError.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import { ConnectionState } from "../ConnectionState.ts"
import * as Deliveries from "./deliveries.ts"
import * as Session from "./session.ts"

/** A worker's connection over all its sessions. */
export interface Connection {
  /**
   * Accepts no more events, and releases those that still arrive. `false` if the broker does not support that; then nothing
   * has changed.
   */
  readonly pause: Effect.Effect<boolean>
  /** Sends `QT`: the broker sends no more events. */
  readonly quit: Effect.Effect<void>
  /** After `quit`, waits until all events that were on their way are in the inbox. */
  readonly ended: Effect.Effect<void>
  /** Fails when the connection has ended by itself, with the reason with which the inbox ends, too. */
  readonly failure: Effect.Effect<never, UnauthorizedError | UntrustedBrokerError>
  /** Releases the events whose handlers are running. The outcome of those handlers is not reported any more. */
  readonly abandonUnsafe: () => void
}

/** The options of a connection. */
export interface Options extends Omit<Session.Options, "deliveries" | "onHeartbeat" | "mode"> {
  readonly state: SubscriptionRef.SubscriptionRef<ConnectionState>
  readonly reconnect: Schedule.Schedule<unknown, ConnectionError>
}

/** Connects, and reconnects until the scope ends. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Connection, never, Scope.Scope> {
  const { inbox, reconnect, state } = options
  const deliveries = Deliveries.make(options.prefetch.most)
  const health = makeHealth(state, options.endpoint.address)
  let mode: Session.Mode = "running"
  let session: Session.Session | undefined
  // The last session, also after its end.
  let last: Session.Session | undefined
  const sessionOptions: Session.Options = { ...options, deliveries, onHeartbeat: health.connected, mode: () => mode }

  // One session. Returns why it ended if it was connected; otherwise fails.
  const attempt = Effect.gen(function*() {
    yield* SubscriptionRef.set(state, ConnectionState.Connecting())
    session = last = yield* Session.open(sessionOptions)
    return yield* session.run
  }).pipe(
    Effect.scoped,
    Effect.ensuring(Effect.sync(() => void (session = undefined))),
    Effect.catchTag(
      "ConnectionError",
      (error) => mode === "quitting" ? Effect.succeed(error) : health.disconnected(error)
    )
  )
  // Attempts on the schedule until one was connected. The end of the previous session counts as a failed attempt.
  const series = (before: ConnectionError | undefined) => {
    let failed = before
    return Effect.suspend(() => {
      const error = failed
      failed = undefined
      return error === undefined ? attempt : Effect.fail(error)
    }).pipe(
      Effect.catchTag(["UnauthorizedError", "UntrustedBrokerError"], Effect.succeed),
      Effect.retry(reconnect),
      // The schedule has ended and restarts, after a pause so that it cannot spin.
      Effect.catchTag("ConnectionError", () => Effect.as(Effect.sleep("100 millis"), undefined))
    )
  }
  const failed = yield* Deferred.make<never, UnauthorizedError | UntrustedBrokerError>()
  const fiber = yield* untilQuit(series, () => mode).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.andThen(Effect.sync(() => inbox.failUnsafe(cause)), Deferred.failCause(failed, cause))
    ),
    Effect.ensuring(SubscriptionRef.set(state, ConnectionState.Idle())),
    Effect.forkScoped
  )
  return {
    pause: Effect.suspend(() => {
      if (last?.acknowledges() !== true) return Effect.succeed(false)
      mode = "paused"
      const sent = session === undefined ? Effect.void : session.outbound.send(Session.ready(sessionOptions))
      return Effect.as(Effect.tap(sent, () => Effect.sync(deliveries.pauseUnsafe)), true)
    }),
    quit: Effect.suspend(() => {
      mode = "quitting"
      return session === undefined ? Fiber.interrupt(fiber) : session.outbound.send(FromClient.Quit())
    }),
    ended: Effect.asVoid(Fiber.await(fiber)),
    failure: Deferred.await(failed),
    abandonUnsafe: deliveries.abandonUnsafe
  }
})

type Ended = ConnectionError | UnauthorizedError | UntrustedBrokerError

// One series after the other. Each begins with the end of the one before, as a failed attempt.
const untilQuit = Effect.fnUntraced(function*(
  series: (before: ConnectionError | undefined) => Effect.Effect<Ended | undefined>,
  mode: () => Session.Mode
) {
  let before: ConnectionError | undefined
  while (mode() !== "quitting") {
    const ended = yield* series(before)
    if (ended !== undefined && ended._tag !== "ConnectionError") return yield* ended
    before = ended
  }
})

// Logs when the connection is lost and when it is back, not each attempt in between.
const makeHealth = (state: Options["state"], address: string) => {
  let isDown = false
  let wasConnected = false
  const isConnected = () => SubscriptionRef.getUnsafe(state)._tag === "Connected"
  const connect = Effect.gen(function*() {
    yield* SubscriptionRef.set(state, ConnectionState.Connected())
    const isReconnect = wasConnected
    wasConnected = true
    if (!isDown) return
    isDown = false
    if (isReconnect) yield* Metric.update(ClientMetrics.reconnects, 1)
    yield* Effect.logInfo(`Connected to the broker at ${address}${isReconnect ? " again" : ""}`)
  })
  return {
    connected: Effect.suspend(() => isConnected() ? Effect.void : connect),
    /** Returns the reason if the worker was connected; otherwise fails with it, and at first with a broker that is not trusted. */
    disconnected: Effect.fnUntraced(function*(reason: ConnectionError) {
      if (!wasConnected && reason.reason._tag === "UntrustedBrokerError") return yield* reason.reason
      const hadConnection = isConnected()
      yield* SubscriptionRef.set(state, ConnectionState.Disconnected({ reason }))
      if (!isDown) yield* Effect.logWarning(`${reason.message}. Reconnecting until it is back`)
      isDown = true
      return hadConnection ? reason : yield* reason
    })
  }
}
