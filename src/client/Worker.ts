/**
 * Handles what browsers trigger: every event of a vhost goes to one of its workers.
 *
 * A worker stays connected by itself: it reconnects after every loss, without end. `listen` ends if the access token is not
 * good (`UnauthorizedError`), with the failure of a handler that nobody handles, and with a defect: also one of the
 * `reconnect` schedule or of the transport. To stop it, interrupt `listen`: it takes no more events, releases those it has
 * not begun, finishes those in flight and says goodbye. That takes at most `drainTimeout` and a second; a handler that
 * cannot be interrupted is left behind, its event released.
 *
 * Delivery is at least once: an event is the broker's until the worker has acknowledged it, which it does when the handler
 * has ended well. If its worker or its connection dies, or it is released, it is redelivered with the same `id` and
 * `attempt` one higher; so a handler may run twice for one event. After a lost connection this worker begins nothing that
 * it had only received, and no second handler for an event that is in flight or that it has finished. A handler that
 * interrupts itself releases its event, at the next heartbeat. So does one that fails because the broker was not there: if
 * all its failures are `ConnectionError` (but for `MalformedMessageError`) or `RequestTimeoutError`, as a Client's are. A reply to the
 * event's own browser that fails with `BrowserNotFoundError` is no failure: the browser has gone. Any other event whose
 * handler fails is a dead letter of its vhost, with a reason that begins with the error's tag, unless `retry` or
 * `maxAttempts` say to try again. A broker that knows no acknowledgements, as the original, delivers each event once: then
 * delivery is at most once, and stopping finishes all that was received.
 *
 * Where the application has a tracer, each handler runs in a span, `Worker.handle`. It goes on from the broker's for the
 * trigger, or else begins a trace; it is not below the span that `listen` is in. What a handler logs is annotated with
 * `kosmonaut.event`.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { Message } from "../events/Message.ts"
import {
  type ConnectionError,
  type InvalidEndpointError,
  ProtocolError,
  type UnauthorizedError
} from "../protocol/KosmonautError.ts"
import type { Transport } from "../transport/Transport.ts"
import { ConnectionState } from "./ConnectionState.ts"
import * as Connection from "./internal/connection.ts"
import * as Consumers from "./internal/consumers.ts"
import type { Delivered } from "./internal/deliveries.ts"
import * as Handler from "./internal/handler.ts"
import type { Inbox, Item } from "./internal/inbox.ts"
import * as InboxGauge from "./internal/inboxGauge.ts"
import * as Prefetch from "./internal/prefetch.ts"
import { resolve } from "./internal/target.ts"
import { make as makeMessage } from "./Message.ts"

/**
 * What to do with events, with protocol errors and with failures.
 *
 * @since 0.1.0
 */
export interface Handlers<E, R, E2, R2, E3, R3> {
  /** Handles an event. */
  readonly onMessage: (message: Message) => Effect.Effect<unknown, E, R>
  /** When to retry `onMessage` that has failed, before the event counts as failed. Default: not at all. */
  readonly retry?: Schedule.Schedule<unknown, E> | undefined
  /**
   * Whether to take lifecycle events, too (see `Lifecycle`): channels that are occupied or vacated, members that join or
   * leave, browsers that connect or disconnect. Default no. Each goes to exactly one of the workers that take them; the
   * original broker has none.
   */
  readonly lifecycle?: boolean | undefined
  /**
   * Called with each protocol error: an error that the broker sends, except that the access token is rejected, or something
   * that cannot be decoded. Default: a warning in the log.
   */
  readonly onError?: ((error: ProtocolError) => Effect.Effect<unknown, E2, R2>) | undefined
  /**
   * Called with each failure and defect of the other two. The worker then goes on, unless this fails itself. Default: the
   * first failure ends `listen` with it.
   */
  readonly onException?: ((cause: Cause.Cause<E | E2>) => Effect.Effect<unknown, E3, R3>) | undefined
}

/**
 * An event of `Worker.messages`. It is unacknowledged until it is acked or nacked; the first of the two counts.
 *
 * @since 0.1.0
 */
export interface Delivery extends Message {
  /** Acks the event: it was handled. */
  readonly ack: Effect.Effect<void>
  /** Nacks the event: it could not be handled. It is redelivered or becomes a dead letter, as `maxAttempts` says. */
  readonly nack: (reason: string) => Effect.Effect<void>
}

/**
 * A broker's worker.
 *
 * @since 0.1.0
 */
export class Worker extends Context.Service<Worker, {
  /**
   * Takes events and handles them, `concurrency` at a time, until interrupted. One Worker is one listener: to listen a
   * second time while it does, here or by `messages`, is a defect.
   *
   * Without `onException` the first failure of a handler ends it; other handlers in flight are finished. Interruption
   * finishes what is in flight, in at most `drainTimeout`, and releases the rest at once; with a broker that does not know
   * acknowledgements it finishes all events that were received.
   */
  readonly listen: <E, R, E2 = never, R2 = never, E3 = E | E2, R3 = never>(
    handlers: Handlers<E, R, E2, R2, E3, R3>
  ) => Effect.Effect<never, UnauthorizedError | E3, R | R2 | R3>
  /**
   * The events as a stream, in order, up to `prefetch` unacknowledged ones. The consumer acks or nacks each one; those that
   * are unacknowledged when the stream ends are released, and redelivered. Protocol errors are logged as warnings.
   */
  readonly messages: Stream.Stream<Delivery, UnauthorizedError>
  /** How the worker stands with its broker, now. */
  readonly state: Effect.Effect<ConnectionState>
  /** How the worker stands with its broker, now and from now on. */
  readonly changes: Stream.Stream<ConnectionState>
}>()("kosmonaut/client/Worker") {}

/**
 * What a Worker can be told.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The vhost's URL, `wr://<access token>@<host>:<port>/<vhost>`. */
  readonly url: string | Redacted.Redacted
  /** How many events are handled at a time, from 1, default 1, which keeps their order. */
  readonly concurrency?: number | undefined
  /**
   * How many events the worker has at a time that it has not acknowledged, in hand or waiting for their turn here; from 1,
   * default 128, or twice `concurrency` where that is more; and as long as it handles 128 in 50 milliseconds more, up to
   * 512. The others wait at the broker, for whoever is free first.
   */
  readonly prefetch?: number | undefined
  /**
   * How often the handler of an event may fail, here or in other workers, before the event is one of the vhost's dead
   * letters; from 1, default 1. In between it is redelivered after a backoff. An event that is redelivered for another
   * reason, as the end of a worker, does not count here.
   */
  readonly maxAttempts?: number | undefined
  /**
   * From a broker that does not know acknowledgements: how many events are received ahead of their handling, from 1,
   * default 1000. Beyond it nothing more is read, and events wait on their way and at the broker.
   */
  readonly bufferSize?: number | undefined
  /**
   * How long stopping may take to finish what is in flight, default 5 seconds. What is left is released, logged and
   * interrupted, for which there is another second; with a broker that does not know acknowledgements it is lost.
   */
  readonly drainTimeout?: Duration.Input | undefined
  /** When to try again, default `defaultReconnect`. A schedule that ends begins again, 100 milliseconds later. */
  readonly reconnect?: Schedule.Schedule<unknown, ConnectionError> | undefined
  /** How often the broker hears from this worker, default 500 milliseconds. */
  readonly heartbeatInterval?: Duration.Input | undefined
  /** After how long without a word the broker is taken for lost, default 2 seconds. */
  readonly silenceTimeout?: Duration.Input | undefined
}

/**
 * Doubling from 100 milliseconds to 5 seconds, each with jitter, for ever.
 *
 * @since 0.1.0
 */
export const defaultReconnect: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("100 millis"),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

/**
 * Makes a worker. Nothing is connected before it listens.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Worker["Service"], InvalidEndpointError, Transport | Scope.Scope> {
  const target = yield* resolve(options.url)
  const { endpoint } = target
  const state = yield* SubscriptionRef.make<ConnectionState>(ConnectionState.Idle())
  const drainTimeout = Duration.fromInputUnsafe(options.drainTimeout ?? "5 seconds")
  const concurrency = yield* atLeastOne("concurrency", options.concurrency ?? 1)
  const bufferSize = yield* atLeastOne("bufferSize", options.bufferSize ?? 1000)
  const prefetch = yield* atLeastOne("prefetch", options.prefetch ?? Math.max(defaultPrefetch, 2 * concurrency))
  const mostPrefetch = options.prefetch ?? Math.max(largestPrefetch, prefetch)
  const maxAttempts = yield* atLeastOne("maxAttempts", options.maxAttempts ?? 1)

  const open = Effect.fnUntraced(function*(lifecycle: boolean) {
    yield* alone
    const inbox = yield* Queue.bounded<Item, UnauthorizedError | Cause.Done>(bufferSize)
    yield* Effect.acquireRelease(Effect.sync(() => inboxes.add(inbox)), () => Effect.sync(() => inboxes.delete(inbox)))
    const connection = yield* Connection.make({
      ...target,
      inbox,
      state,
      ready: { lifecycle, maxAttempts },
      prefetch: Prefetch.make(prefetch, mostPrefetch),
      reconnect: options.reconnect ?? defaultReconnect,
      heartbeatInterval: Duration.fromInputUnsafe(options.heartbeatInterval ?? "500 millis"),
      silenceTimeout: Duration.fromInputUnsafe(options.silenceTimeout ?? "2 seconds")
    })
    return { inbox, connection }
  })

  // Both would be one in what `state` says.
  let isListening = false
  const alone = Effect.acquireRelease(
    Effect.suspend(() => {
      if (isListening) return Effect.die(new Error(twoListeners))
      isListening = true
      return Effect.void
    }),
    () =>
      Effect.sync(() => {
        isListening = false
      })
  )
  const inboxes = new Set<Inbox>()
  yield* InboxGauge.register(inboxes, endpoint)

  return Worker.of({
    listen: <E, R, E2 = never, R2 = never, E3 = E | E2, R3 = never>(handlers: Handlers<E, R, E2, R2, E3, R3>) => {
      const onError: (error: ProtocolError) => Effect.Effect<unknown, E2, R2> = handlers.onError ?? logProtocolError
      const { onException, onMessage, retry } = handlers
      // Suspended, so that what a handler throws is a defect like any other.
      const handle = (item: Item): Effect.Effect<unknown, E3, R | R2 | R3> => {
        const handled = Effect.suspend((): Effect.Effect<unknown, E | E2, R | R2> => {
          if (Result.isFailure(item)) return onError(new ProtocolError({ reason: item.failure }))
          const message = makeMessage(item.success)
          const handler = Handler.forgiving(
            message,
            Effect.suspend(() => Handler.checked(message.event, onMessage(message)))
          )
          return Handler.run(item.success, message, endpoint, Handler.retried(handler, retry))
        })
        // Without `onException` the failures are those of the others, which is what the default of its type says.
        const caught = onException === undefined
          ? handled as Effect.Effect<unknown, E3, R | R2 | R3>
          : Effect.catchCause(handled, onException)
        // A handler that interrupts itself has given its event back, and that is all.
        return Effect.catchCauseIf(caught, Cause.hasInterruptsOnly, () => Effect.void)
      }
      return Effect.scoped(
        Consumers.run({ open: open(handlers.lifecycle === true), drainTimeout, concurrency }, handle)
      )
    },
    messages: Stream.unwrap(Effect.gen(function*() {
      const { connection, inbox } = yield* open(false)
      const unacked = new Set<Delivered>()
      yield* Effect.addFinalizer(() => Consumers.release({ connection, inbox, unacked }, drainTimeout))
      return Stream.flattenIterable(Stream.mapEffect(Stream.fromQueue(inbox), (item) => deliver(item, unacked)))
    })),
    state: SubscriptionRef.get(state),
    changes: SubscriptionRef.changes(state)
  })
})

/**
 * A worker as a layer, over whatever `Transport` is provided.
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Worker, InvalidEndpointError, Transport> =>
  Layer.effect(Worker, make(options))

/**
 * A worker as a layer, with options from configuration.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Worker, InvalidEndpointError | Config.ConfigError, Transport> =>
  Layer.effect(Worker, Effect.flatMap(Config.unwrap(options), make))

const twoListeners =
  "This Worker listens already: one Worker is one listener. Use `concurrency` to handle more events " +
  "at a time, or make another Worker"

const defaultPrefetch = 128
const largestPrefetch = 512

// With none nothing would ever be handled, and every event lost: better to stop at once.
const atLeastOne = (option: string, value: number): Effect.Effect<number> =>
  Number.isSafeInteger(value) && value >= 1
    ? Effect.succeed(value)
    : Effect.die(new Error(`A worker's ${option} is a whole number from 1, and not ${value}`))

// Begins an event, unless its connection has ended: then it is redelivered, here or elsewhere.
const deliver = (item: Item, unacked: Set<Delivered>): Effect.Effect<ReadonlyArray<Delivery>> => {
  if (Result.isFailure(item)) return Effect.as(logProtocolError(new ProtocolError({ reason: item.failure })), [])
  return Effect.sync(() => {
    const { delivery } = item.success
    if (delivery === undefined) return [{ ...makeMessage(item.success), ack: Effect.void, nack: () => Effect.void }]
    if (!delivery.beginUnsafe()) return []
    unacked.add(delivery)
    const settle = (use: () => void) =>
      Effect.sync(() => {
        if (unacked.delete(delivery)) use()
      })
    return [{
      ...makeMessage(item.success),
      ack: settle(delivery.acknowledgeUnsafe),
      nack: (reason: string) => settle(() => delivery.nackUnsafe(reason))
    }]
  })
}

const logProtocolError = (error: ProtocolError): Effect.Effect<void> => Effect.logWarning(error.message)
