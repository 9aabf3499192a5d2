/**
 * One connection of a worker, from its opening to its end: reads what arrives into the inbox, sends heartbeats and
 * acknowledgements, and watches whether the broker is alive.
 *
 * Each of these has a fiber of its own, so that none starves another. A connection ends with a failure: when the broker
 * closes it, sends `QT` or 402, or sends nothing for too long. While the inbox is full nothing is read, and the silence timeout
 * does not run. A defect of one of these fibers ends the connection with that defect.
 */

import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { FromClient, type FromServer, type ReadyOptions } from "../../protocol/Command.ts"
import { decodeFromServer, encodeFromClient } from "../../protocol/CommandCodec.ts"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import type { Frames } from "../../protocol/Frame.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionTimeoutError,
  MessageDecodeError,
  type UnauthorizedError
} from "../../protocol/KosmonautError.ts"
import { decodeEvent, decodeOrigin } from "../../protocol/Trigger.ts"
import * as AwakeClock from "../../transport/AwakeClock.ts"
import * as Transport from "../../transport/Transport.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import * as Deliveries from "./deliveries.ts"
import * as HandledRequest from "./handledRequest.ts"
import type { Inbox, Item, ProtocolError } from "./inbox.ts"
import * as Outbound from "./outbound.ts"
import type { Prefetch } from "./prefetch.ts"
import { statusError } from "./target.ts"

/** The options of a session. */
export interface Options {
  readonly transport: Transport.Transport["Service"]
  readonly endpoint: Endpoint
  readonly inbox: Inbox
  readonly deliveries: Deliveries.Deliveries
  /** The options that it sends with `RD`. */
  readonly ready: Omit<ReadyOptions, "prefetch">
  readonly prefetch: Prefetch
  readonly heartbeatInterval: Duration.Duration
  readonly silenceTimeout: Duration.Duration
  /** Run at each heartbeat of the broker. */
  readonly onHeartbeat: Effect.Effect<void>
  /** Whether it wants events, and whether `QT` was sent. */
  readonly mode: () => Mode
}

/** `running`: it wants events. `paused`: it does not. `quitting`: `QT` was sent, too. */
export type Mode = "running" | "paused" | "quitting"

/** An open session. */
export interface Session {
  readonly outbound: Outbound.Outbound
  /** Whether the broker has shown that it waits for acks. */
  readonly acknowledges: () => boolean
  /** Runs until the connection ends. */
  readonly run: Effect.Effect<never, ConnectionError | UnauthorizedError>
}

/** The `RD` of a worker. */
export const ready = ({ mode, prefetch, ready }: Options): FromClient =>
  FromClient.Ready({ options: { ...ready, prefetch: mode() === "running" ? prefetch.current() : 0 } })

/** Opens a session, which is closed with its scope. */
export const open = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Session, ConnectionError, Scope.Scope> {
  const connection = yield* options.transport.connect(options.endpoint, { kind: "dlr" })
  const clock = yield* Clock.Clock
  // Not after `QT`, which it would undo.
  const isReadyAgain = (hasChanged: boolean) => hasChanged && options.mode() !== "quitting"
  const outbound = Outbound.make(connection, {
    maxMessageSize: options.transport.maxMessageSize,
    onAcknowledged: (count) => {
      const now = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      if (isReadyAgain(options.prefetch.acknowledgedUnsafe(count, now))) outbound.sendUnsafe(ready(options))
    }
  })
  yield* Effect.addFinalizer(() => Effect.sync(outbound.endUnsafe))
  yield* Transport.send(connection, encodeFromClient(ready(options)))
  const intake = makeIntake(options, outbound, clock)
  const liveness = makeLiveness(AwakeClock.make(clock), options)

  // A heartbeat that cannot be sent does not end the session: received messages are still read, and then reading fails.
  const heartbeat = Effect.delay(
    Effect.suspend(() => {
      options.deliveries.releaseUnsafe()
      return outbound.send(
        isReadyAgain(options.prefetch.heartbeatUnsafe()) ? ready(options) : FromClient.Heartbeat()
      )
    }),
    options.heartbeatInterval
  )
  return {
    outbound,
    acknowledges: intake.acknowledges,
    run: Effect.raceAllFirst([
      readAll(connection, intake, liveness),
      Effect.forever(heartbeat),
      outbound.defect,
      liveness.watch
    ])
  }
})

const readAll = Effect.fnUntraced(function*(
  { pull }: Transport.Connection,
  intake: ReturnType<typeof makeIntake>,
  liveness: ReturnType<typeof makeLiveness>
) {
  for (;;) {
    liveness.waitsUnsafe()
    const messages = yield* pull
    liveness.receivedUnsafe()
    for (const { frames } of messages) {
      const rest = intake.receive(frames)
      if (rest === undefined) continue
      intake.flushUnsafe()
      yield* rest
    }
    intake.flushUnsafe()
  }
})

const makeLiveness = (clock: AwakeClock.AwakeClock, { endpoint, silenceTimeout }: Options) => {
  const timeout = Duration.toMillis(silenceTimeout)
  // Since when nothing was received, while reading.
  let silentSince: number | undefined
  return {
    /** It waits for messages. */
    waitsUnsafe: (): void => {
      silentSince = clock.nowUnsafe()
    },
    /** They have come. */
    receivedUnsafe: (): void => {
      silentSince = undefined
    },
    watch: Effect.gen(function*() {
      for (;;) {
        const left = silentSince === undefined ? timeout : silentSince + timeout - clock.nowUnsafe()
        if (left <= aMicrosecond) {
          return yield* new ConnectionError({ reason: new ConnectionTimeoutError({ address: endpoint.address }) })
        }
        yield* clock.sleep(left)
      }
    })
  }
}

const aMicrosecond = 0.001

// Handles the broker's messages; events and errors go into the inbox.
const makeIntake = (options: Options, outbound: Outbound.Outbound, clock: Clock.Clock) => {
  const { deliveries, endpoint, inbox, mode } = options
  const { address } = endpoint
  let acknowledges = false
  // For events that have no id of their own.
  const name = SecureRandom.uuidV4Unsafe()
  let count = 0

  const reportError = (error: ProtocolError) =>
    Effect.andThen(Metric.update(ClientMetrics.protocolErrors, 1), inbox.offer(Result.fail(error)))

  const arrive = ({ delivery, json, origin }: Extract<FromServer, { _tag: "Trigger" }>) => {
    const delivered = delivery && deliveries.arrivedUnsafe(delivery, outbound)
    acknowledges ||= delivery !== undefined
    // Its handler is running, or has succeeded.
    if (delivery !== undefined && delivered === undefined) return undefined
    const event = decodeEvent(json)
    if (Result.isFailure(event)) {
      // No other worker could decode it, so it is not redelivered.
      delivered?.nackUnsafe(event.failure)
      return reportError(event.failure)
    }
    if (mode() !== "running" && delivered !== undefined) {
      delivered.releaseUnsafe()
      return undefined
    }
    const decoded = origin === undefined ? undefined : decodeOrigin(origin)
    const item: Item = Result.succeed({
      id: delivery?.id ?? `${name}-${(++count).toString(36)}`,
      event: event.success,
      origin: decoded,
      deadline: decoded?.request === undefined ? undefined : HandledRequest.now(clock) + decoded.request,
      delivery: delivered
    })
    // If there is no room it waits for some, and nothing is read meanwhile.
    return inbox.offerUnsafe(item) ? undefined : inbox.offer(item)
  }

  // What is still to be done, if anything: most events are just put into the inbox.
  const receive = (frames: Frames): Effect.Effect<unknown, ConnectionError | UnauthorizedError> | undefined => {
    const decoded = decodeFromServer(frames)
    if (Result.isFailure(decoded)) return reportError(decoded.failure)
    const command = decoded.success
    switch (command._tag) {
      case "Trigger":
        return arrive(command)
      case "Heartbeat":
        return options.onHeartbeat
      case "Quit":
        return Effect.fail(
          new ConnectionError({
            reason: new ConnectionClosedError({ address, cause: new Error("the broker dismissed this worker") })
          })
        )
      case "Failure": {
        const error = statusError(command, "the worker", endpoint)
        return error._tag === "UnauthorizedError" ? Effect.fail(error) : reportError(error)
      }
      default:
        return reportError(new MessageDecodeError({ detail: `a worker received ${command._tag}` }))
    }
  }
  return {
    receive,
    /** Handlers begin with what has arrived, now and not in the next turn of the event loop. */
    flushUnsafe: inbox.flushUnsafe,
    acknowledges: () => acknowledges
  }
}
