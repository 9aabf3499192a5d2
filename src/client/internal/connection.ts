/**
 * Keeps a worker connected and puts what arrives into an inbox.
 *
 * A connection is lost when it ends, when the broker says `QT`, or when nothing was heard for too long; then another is
 * made, as the schedule says, which starts anew after every connection that was good. Only 402 ends it. Heartbeats have
 * a fiber of their own. While the inbox is full nothing is read, and the broker is not taken for silent.
 */

import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import {
  decodeFromServer,
  encodeFromClient,
  FromClient,
  type FromServer,
  maxAcknowledged,
  type ReadyOptions
} from "../../protocol/Command.ts"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import type { Frames } from "../../protocol/Frame.ts"
import { ConnectionError, MessageDecodeError, type UnauthorizedError } from "../../protocol/KosmonautError.ts"
import { decodeEvent, decodeOrigin, type Event, type Origin } from "../../protocol/Trigger.ts"
import type { Session, Transport } from "../../transport/Transport.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import { ConnectionState } from "../ConnectionState.ts"
import * as Deliveries from "./deliveries.ts"
import type { Prefetch } from "./prefetch.ts"
import { type AnswerError, statusError } from "./target.ts"

/** Why something that arrived is no event. */
export type ProtocolError = Exclude<AnswerError, UnauthorizedError> | MessageDecodeError

/** An event that has arrived, and where it comes from, as far as the broker says. */
export interface Arrived {
  readonly event: Event
  readonly origin: Origin | undefined
  /** The way to say what has become of it, where the broker wants to know. */
  readonly delivery: Deliveries.Delivered | undefined
}

/** What arrives. */
export type Item = Result.Result<Arrived, ProtocolError>

/** Items in the order of their arrival. It fails when the connection has ended for good. */
export type Inbox = Queue.Queue<Item, UnauthorizedError | Cause.Done>

/** A worker's standing connection. */
export interface Connection {
  /**
   * Wants no more events: what arrives from now on is given back. `false` from a broker that does not know how, and then
   * nothing has changed.
   */
  readonly pause: Effect.Effect<boolean>
  /** Says goodbye: the broker sends no more. */
  readonly quit: Effect.Effect<void>
  /** After `quit`, waits until all that was on its way has come into the inbox. */
  readonly ended: Effect.Effect<void>
}

/** What it needs to know. */
export interface Options {
  readonly transport: Transport["Service"]
  readonly endpoint: Endpoint
  readonly inbox: Inbox
  /** What it says of itself when it is ready, and how many events it wants then. */
  readonly ready: Omit<ReadyOptions, "prefetch">
  readonly prefetch: Prefetch
  readonly state: SubscriptionRef.SubscriptionRef<ConnectionState>
  readonly reconnect: Schedule.Schedule<unknown, ConnectionError>
  readonly heartbeatInterval: Duration.Duration
  readonly silenceTimeout: Duration.Duration
}

/** Connects, and stays connected until the scope ends. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Connection, never, Scope.Scope> {
  const { endpoint, inbox, state } = options
  const { address } = endpoint
  let session: Outgoing | undefined
  let quitting = false
  let lost: ConnectionError | undefined
  let troubled = false
  let wasConnected = false
  let paused = false
  // Whether the broker of this connection has shown that it wants to hear what becomes of events.
  let acknowledges = false
  const deliveries = Deliveries.make(options.prefetch.most)

  const read = Effect.fnUntraced(function*(from: Session, outgoing: Outgoing) {
    const frames = yield* Effect.timeoutOrElse(from.pull, {
      duration: options.silenceTimeout,
      orElse: () => Effect.fail(new ConnectionError({ address, reason: "Silent" }))
    })
    for (const message of frames) {
      const rest = receive(message, outgoing)
      if (rest !== undefined) yield* rest
    }
  })

  // What is still to be done, where that is anything: most events are just put into the inbox.
  const receive = (
    frames: Frames,
    outgoing: Outgoing
  ): Effect.Effect<unknown, ConnectionError | UnauthorizedError> | undefined => {
    const decoded = decodeFromServer(frames)
    if (Result.isFailure(decoded)) return troubling(decoded.failure)
    const command = decoded.success
    switch (command._tag) {
      case "Trigger":
        return arrived(command, outgoing)
      case "Heartbeat":
        return connected
      case "Quit":
        return Effect.fail(
          new ConnectionError({ address, reason: "Closed", cause: new Error("the broker said goodbye") })
        )
      case "Failure": {
        const error = statusError(command.code, "the worker", endpoint)
        return error._tag === "UnauthorizedError" ? Effect.fail(error) : troubling(error)
      }
      default:
        return troubling(new MessageDecodeError({ detail: `a worker was told ${command._tag}` }))
    }
  }
  const arrived = ({ delivery, json, origin }: Extract<FromServer, { _tag: "Trigger" }>, outgoing: Outgoing) => {
    const delivered = delivery && deliveries.arrivedUnsafe(delivery, wayOf(outgoing))
    acknowledges ||= delivery !== undefined
    // Its handler is at work, or has been.
    if (delivery !== undefined && delivered === undefined) return undefined
    const event = decodeEvent(json)
    if (Result.isFailure(event)) {
      // Nobody else could read it either.
      delivered?.giveBackUnsafe(event.failure.message)
      return troubling(event.failure)
    }
    if (paused && delivered !== undefined) {
      delivered.giveBackUnsafe("")
      return undefined
    }
    const from = origin === undefined ? undefined : decodeOrigin(origin)
    const item: Item = Result.succeed({ event: event.success, origin: from, delivery: delivered })
    // Where there is no room it waits for some, and nothing is read meanwhile.
    return Queue.offerUnsafe(inbox, item) ? undefined : Queue.offer(inbox, item)
  }
  const troubling = (error: ProtocolError) =>
    Effect.andThen(Metric.update(ClientMetrics.protocolErrors, 1), Queue.offer(inbox, Result.fail(error)))

  // Trouble is logged when it begins and when it is over, not at each attempt between.
  const connected = Effect.gen(function*() {
    if (SubscriptionRef.getUnsafe(state)._tag === "Connected") return
    yield* SubscriptionRef.set(state, ConnectionState.Connected())
    const again = wasConnected
    wasConnected = true
    if (!troubled) return
    troubled = false
    if (again) yield* Metric.update(ClientMetrics.reconnects, 1)
    yield* Effect.logInfo(`Connected to the broker at ${address}${again ? " again" : ""}`)
  })
  const disconnected = Effect.fnUntraced(function*(reason: ConnectionError) {
    yield* SubscriptionRef.set(state, ConnectionState.Disconnected({ reason }))
    if (!troubled) yield* Effect.logWarning(`${reason.message}. Trying again until it is back`)
    troubled = true
  })

  const ready = () =>
    FromClient.Ready({ options: { ...options.ready, prefetch: paused ? 0 : options.prefetch.current() } })
  // Says it again where it wants another number of events; not after its goodbye, which would be undone.
  const heartbeat = () => options.prefetch.beatUnsafe() && !quitting ? ready() : FromClient.Heartbeat()
  const say = (to: Outgoing, command: FromClient) =>
    Effect.suspend(() => {
      const sent = Deferred.makeUnsafe<void>()
      Queue.offerUnsafe(to.line, { command, sent })
      return Effect.raceFirst(Deferred.await(sent), Deferred.await(to.ended))
    })

  // One connection, from its making to its end, which is always a failure.
  const connect = Effect.gen(function*() {
    yield* SubscriptionRef.set(state, ConnectionState.Connecting())
    const opened = yield* options.transport.session(endpoint)
    const outgoing: Outgoing = { line: yield* Queue.unbounded<Saying>(), ended: yield* Deferred.make<void>() }
    yield* Effect.addFinalizer(() => Deferred.succeed(outgoing.ended, undefined))
    session = outgoing
    acknowledges = false
    yield* opened.send(encodeFromClient(ready()))
    // One that cannot be sent is no end: what has arrived is still to be read, and reading will say what is wrong.
    const beat = Effect.delay(
      Effect.suspend(() => {
        deliveries.giveBackUnsafe()
        return Effect.ignore(opened.send(encodeFromClient(heartbeat())))
      }),
      options.heartbeatInterval
    )
    const talk = Effect.gen(function*() {
      const acknowledged = yield* speak(opened, outgoing)
      const now = yield* Clock.currentTimeMillis
      if (options.prefetch.acknowledgedUnsafe(acknowledged, now) && !quitting) {
        yield* Effect.ignore(opened.send(encodeFromClient(ready())))
      }
    })
    return yield* Effect.raceAllFirst([
      Effect.forever(read(opened, outgoing)),
      Effect.forever(beat),
      Effect.forever(talk)
    ])
  }).pipe(
    Effect.scoped,
    Effect.ensuring(Effect.sync(() => session = undefined))
  )

  // After a good connection the schedule begins again, with that connection's end as its first failure.
  const attempt = Effect.suspend((): Effect.Effect<void, ConnectionError | UnauthorizedError> => {
    if (lost !== undefined) {
      const error = lost
      lost = undefined
      return Effect.fail(error)
    }
    return connect.pipe(Effect.catchTag(
      "ConnectionError",
      Effect.fnUntraced(function*(reason) {
        if (quitting) return
        const wasGood = SubscriptionRef.getUnsafe(state)._tag === "Connected"
        yield* disconnected(reason)
        if (!wasGood) return yield* reason
        lost = reason
      })
    ))
  })

  const keep = Effect.gen(function*() {
    while (!quitting) {
      yield* attempt.pipe(
        Effect.catchTag("UnauthorizedError", (error) => Effect.succeed(error)),
        Effect.retry(options.reconnect),
        // The schedule has ended and begins again, but not as fast as it can.
        Effect.catchTag("ConnectionError", () => Effect.sleep("100 millis")),
        Effect.flatMap((refused) => refused === undefined ? Effect.void : Effect.fail(refused))
      )
    }
  }).pipe(
    Effect.catch((error) => Queue.fail(inbox, error)),
    Effect.ensuring(SubscriptionRef.set(state, ConnectionState.Idle()))
  )

  const fiber = yield* Effect.forkScoped(keep)
  return {
    pause: Effect.suspend(() => {
      if (!acknowledges) return Effect.succeed(false)
      paused = true
      const said = session === undefined ? Effect.void : say(session, ready())
      return Effect.as(Effect.tap(said, () => Effect.sync(deliveries.pauseUnsafe)), true)
    }),
    quit: Effect.suspend(() => {
      quitting = true
      return session === undefined ? Fiber.interrupt(fiber) : say(session, FromClient.Quit())
    }),
    ended: Effect.asVoid(Fiber.await(fiber))
  }
})

/** What is to be said on one connection, in order. */
interface Outgoing {
  readonly line: Queue.Queue<Saying>
  /** Done when the connection has ended, and nothing more is said. */
  readonly ended: Deferred.Deferred<void>
}

interface Saying {
  readonly command: FromClient
  /** Done when it has been said. */
  readonly sent: Deferred.Deferred<void> | undefined
}

const wayOf = ({ ended, line }: Outgoing): Deliveries.Way => ({
  sayUnsafe: (command) => Queue.offerUnsafe(line, { command, sent: undefined }),
  hasGone: () => Deferred.isDoneUnsafe(ended)
})

// Says what is to be said, many acknowledgements at once, and gives how many those were. What cannot be said is no end:
// reading will say what is wrong.
const speak = (to: Session, { line }: Outgoing): Effect.Effect<number> =>
  Effect.flatMap(Queue.takeAll(line), (sayings) =>
    Effect.as(
      Effect.forEach(together(sayings), ({ command, sent }) =>
        Effect.andThen(
          Effect.ignore(to.send(encodeFromClient(command))),
          sent === undefined ? Effect.void : Deferred.succeed(sent, undefined)
        ), { discard: true }),
      sayings.filter(({ command }) => command._tag === "Acknowledge").length
    ))

const together = (sayings: ReadonlyArray<Saying>): ReadonlyArray<Saying> => {
  const said: Array<Saying> = []
  let deliveries: Array<string> = []
  for (const saying of sayings) {
    if (saying.command._tag === "Acknowledge" && deliveries.length > 0 && deliveries.length < maxAcknowledged) {
      deliveries.push(...saying.command.deliveries)
    } else if (saying.command._tag === "Acknowledge") {
      deliveries = [...saying.command.deliveries]
      said.push({ ...saying, command: FromClient.Acknowledge({ deliveries }) })
    } else {
      deliveries = []
      said.push(saying)
    }
  }
  return said
}
