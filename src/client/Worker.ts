/**
 * Handles what browsers trigger: every event of a vhost goes to one of its workers.
 *
 * A worker stays connected by itself: it reconnects after every loss, without end. `listen` ends if the access token is not
 * valid (`UnauthorizedError`), if the broker is not trusted before the first connection (`UntrustedBrokerError`), with the failure of a handler that `onException` does not handle, and with a defect: also one of the
 * `reconnect` schedule or of the transport. To stop it, interrupt `listen`: it takes no more events, releases those it has
 * not begun, finishes those in flight and sends `QT`. That takes at most `drainTimeout` and a second; a handler that
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

import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import type { Message } from "../events/Message.ts"
import type { Endpoint } from "../protocol/Endpoint.ts"
import { envelopeSize } from "../protocol/Frame.ts"
import {
  type ConnectionError,
  type InvalidEndpointError,
  type InvalidOptionError,
  ProtocolError,
  type UnauthorizedError,
  type UntrustedBrokerError
} from "../protocol/KosmonautError.ts"
import * as Rules from "../protocol/Options.ts"
import type { Transport } from "../transport/Transport.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import { unwrap } from "./internal/configuredOptions.ts"
import * as Consumers from "./internal/consumers.ts"
import type { Delivered } from "./internal/deliveries.ts"
import { MaxResponseSize } from "./internal/handledRequest.ts"
import * as Handler from "./internal/handler.ts"
import type { Handle } from "./internal/handlerPool.ts"
import type { Inbox, Item } from "./internal/inbox.ts"
import * as Listenings from "./internal/listener.ts"
import { resolve } from "./internal/target.ts"
import { make as makeMessage } from "./Message.ts"

/**
 * What to do with events, with protocol errors and with failures.
 *
 * @since 0.1.0
 */
export interface Handlers<E, R, E2, R2, E3, R3> {
  /** Handles an event, in a fiber of its own: what it forks as a child is interrupted when it ends. */
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
  /**
   * Whether to take requests, too. Default no: they go to other workers. For a message that `isRequest` the value of
   * `onMessage` is the response, as JSON; a value that has no JSON is a defect. If `onMessage` fails, the requester receives
   * 458 without the cause. It is interrupted when the deadline of the request has passed. An `EventRouter` has typed responses
   * and errors.
   */
  readonly responses?: boolean | undefined
  /** The state of this listening, which it updates; `ConnectionState.make` makes one. */
  readonly state?: SubscriptionRef.SubscriptionRef<ConnectionState> | undefined
}

/**
 * The options of `Worker.messages`.
 *
 * @since 0.1.0
 */
export interface MessagesOptions {
  /** Whether to take lifecycle events, too. Default no. */
  readonly lifecycle?: boolean | undefined
  /** The state of this listening, which it updates; `ConnectionState.make` makes one. */
  readonly state?: SubscriptionRef.SubscriptionRef<ConnectionState> | undefined
}

/**
 * An event of `Worker.messages`. It is unacknowledged until it is acked or nacked; the first of the two counts.
 *
 * @since 0.1.0
 */
export interface Delivery extends Message {
  /** Acks the event: it was handled. */
  readonly ack: Effect.Effect<void>
  /** Nacks the event: it could not be handled. It is redelivered or becomes a dead letter, depending on `maxAttempts`. */
  readonly nack: (reason: string) => Effect.Effect<void>
}

/**
 * A broker's worker.
 *
 * @since 0.1.0
 */
export class Worker extends Context.Service<Worker, {
  /**
   * Takes events and handles them, `concurrency` at a time, until interrupted. Each listening has a connection of its own,
   * and counts as another worker for the broker, which gives each event to one of them.
   *
   * Without `onException` the first failure of a handler ends it; other handlers in flight are finished. So does a token that
   * is rejected, or a broker that is not trusted: handlers in flight then have `drainTimeout`. Interruption
   * finishes what is in flight, in at most `drainTimeout`, and releases the rest at once; with a broker that does not know
   * acknowledgements it finishes all events that were received.
   */
  readonly listen: <E, R, E2 = never, R2 = never, E3 = E | E2, R3 = never>(
    handlers: Handlers<E, R, E2, R2, E3, R3>
  ) => Effect.Effect<never, UnauthorizedError | UntrustedBrokerError | E3, R | R2 | R3>
  /**
   * The events as a stream, in order, up to `prefetch` unacknowledged ones. The consumer acks or nacks each one; those that
   * are unacknowledged when the stream ends are released, and redelivered. Protocol errors are logged as warnings.
   */
  readonly messages: (options?: MessagesOptions) => Stream.Stream<Delivery, UnauthorizedError | UntrustedBrokerError>
  /**
   * How the worker stands with its broker, now; `Idle` if nobody listens. Of several listenings, the worst: `Disconnected`
   * if one of them is, or else `Connecting`. `listen` and `messages` take a `state` of their own.
   */
  readonly state: Effect.Effect<ConnectionState>
  /** The same, now and from now on. */
  readonly changes: Stream.Stream<ConnectionState>
}>()("kosmonaut/client/Worker") {}

/**
 * The options of a Worker.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The vhost's URL, `wr://<access token>@<host>:<port>/<vhost>`. */
  readonly url: string | Redacted.Redacted
  /** How many events are handled at a time, from 1, default 1, which keeps their order. */
  readonly concurrency?: number | undefined
  /**
   * How many unacknowledged events the worker has at a time, those included that wait here for their handler; from 1,
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
  /** How often the worker sends a heartbeat, default 500 milliseconds. */
  readonly heartbeatInterval?: Duration.Input | undefined
  /** After how long without a message from the broker the connection counts as lost, default 2 seconds. */
  readonly silenceTimeout?: Duration.Input | undefined
}

/**
 * The same options, each from configuration; `reconnect` is given as it is.
 *
 * @since 0.1.0
 */
export type ConfigOptions =
  & { readonly [Key in keyof Omit<Options, "reconnect">]: Config.Wrap<Options[Key]> }
  & Pick<Options, "reconnect">

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
): Effect.fn.Return<Worker["Service"], InvalidEndpointError | InvalidOptionError, Transport | Scope.Scope> {
  const { concurrency, drainTimeout, maxResponseSize, ...settings } = yield* settingsOf(options)
  const { changes, open, state } = yield* Listenings.make(settings)

  return Worker.of({
    listen: (handlers) =>
      Effect.scoped(
        Consumers.run({
          open: open({
            lifecycle: handlers.lifecycle === true,
            responses: handlers.responses === true,
            state: handlers.state
          }),
          drainTimeout,
          concurrency
        }, handlerOf(handlers, settings.endpoint))
      ).pipe(Effect.provideService(MaxResponseSize, maxResponseSize)),
    messages: ({ lifecycle = false, state } = {}) =>
      Stream.unwrap(Effect.gen(function*() {
        const { connection, inbox } = yield* open({ lifecycle, responses: false, state })
        const unacked = new Set<Delivered>()
        yield* Effect.addFinalizer(() => Consumers.release({ connection, inbox, unacked }, drainTimeout))
        return Stream.flattenIterable(Stream.mapEffect(itemsOf(inbox), (item) => deliver(item, unacked)))
      })),
    state,
    changes
  })
})

const settingsOf = Effect.fnUntraced(function*(options: Options) {
  const integer = (option: "concurrency" | "bufferSize" | "prefetch" | "maxAttempts", fallback: number) =>
    Effect.fromResult(Rules.integer(option, options[option] ?? fallback))
  const duration = (
    option: "drainTimeout" | "heartbeatInterval" | "silenceTimeout",
    fallback: Duration.Input,
    minimum?: number
  ) => Effect.fromResult(Rules.duration(option, options[option] ?? fallback, minimum))

  const concurrency = yield* integer("concurrency", 1)
  const prefetch = yield* integer("prefetch", Math.max(defaultPrefetch, 2 * concurrency))
  const target = yield* resolve(options.url)
  return {
    ...target,
    // What of a message is left for a response.
    maxResponseSize: target.transport.maxMessageSize - 2 * envelopeSize,
    concurrency,
    prefetch,
    mostPrefetch: options.prefetch ?? Math.max(largestPrefetch, prefetch),
    bufferSize: yield* integer("bufferSize", 1000),
    maxAttempts: yield* integer("maxAttempts", 1),
    drainTimeout: yield* duration("drainTimeout", "5 seconds", 0),
    heartbeatInterval: yield* duration("heartbeatInterval", "500 millis"),
    silenceTimeout: yield* duration("silenceTimeout", "2 seconds"),
    reconnect: options.reconnect ?? defaultReconnect
  }
})

// What is done with each item of the inbox.
const handlerOf = <E, R, E2, R2, E3, R3>(
  handlers: Handlers<E, R, E2, R2, E3, R3>,
  endpoint: Endpoint
): Handle<E3, R | R2 | R3> => {
  const onError: (error: ProtocolError) => Effect.Effect<unknown, E2, R2> = handlers.onError ?? logProtocolError
  const { onMessage, retry } = handlers
  // Without `onException` the failures are those of the others, as the default of its type declares.
  const onFailure = handlers.onException ?? Effect.failCause as NonNullable<typeof handlers.onException>

  return (item, pool, end) => {
    const handled = (exit: Exit.Exit<unknown, E | E2>) => {
      if (Exit.isSuccess(exit)) return end(undefined)
      // A handler that interrupts itself has released its event, which is no failure.
      pool.fork(
        Effect.suspend(() => onFailure(exit.cause)),
        (exit) => end(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? undefined : exit.cause)
      )
    }
    if (Result.isFailure(item)) {
      pool.fork(Effect.suspend(() => onError(new ProtocolError({ reason: item.failure }))), handled)
      return
    }
    const message = makeMessage(item.success)
    // Within a step of the fiber, so that what a handler throws is a defect like any other.
    const once = Effect.suspend(() => Handler.checked(message.event, onMessage(message)))
    const handler = Handler.retried(once, retry, (error) => Handler.isDisconnected(error, message.sid))
    Handler.start(pool, item.success, message, endpoint, handler, handled)
  }
}

/**
 * A worker as a layer, over whatever `Transport` is provided.
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Worker, InvalidEndpointError | InvalidOptionError, Transport> =>
  Layer.effect(Worker, make(options))

/**
 * A worker as a layer, with options from configuration.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: ConfigOptions
): Layer.Layer<Worker, InvalidEndpointError | InvalidOptionError | Config.ConfigError, Transport> =>
  Layer.effect(Worker, Effect.flatMap(unwrap<Options, "reconnect">(options, "reconnect"), make))

const itemsOf = ({ take }: Inbox) => Stream.fromPull(Effect.succeed(Effect.map(take, Arr.of)))

const defaultPrefetch = 128
const largestPrefetch = 512

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
      ack: settle(() => delivery.acknowledgeUnsafe()),
      nack: (reason: string) => settle(() => delivery.nackUnsafe(reason))
    }]
  })
}

const logProtocolError = (error: ProtocolError): Effect.Effect<void> => Effect.logWarning(error.message)
