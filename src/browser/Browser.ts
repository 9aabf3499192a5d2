/**
 * The browser's side, for front ends with Effect: one connection to a broker that is kept up, with typed events, presence,
 * confirmed calls and requests.
 *
 * It reconnects by itself, authenticates and subscribes again, and sends again what can be sent twice: triggers and requests
 * of a user, which the broker queues once. Everything lives in the scope of the layer. In Node.js it works as well.
 *
 * **Example** (A chat)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Channel, Event, EventGroup } from "kosmonaut/events"
 * import { Browser } from "kosmonaut/browser"
 *
 * class Chat extends EventGroup.make("chat", Event.make("say", { payload: { text: Schema.String } })) {}
 * class Talk extends EventGroup.make("talk", Event.make("said", { payload: { text: Schema.String } })) {}
 * const Room = Channel.make("room", { kind: "presence", params: { id: Schema.String }, events: Talk })
 *
 * const program = Effect.gen(function*() {
 *   const browser = yield* Browser.Browser
 *   const room = yield* browser.subscribe(Room({ id: "42" }))
 *   yield* room.on("said", ({ text }) => Effect.log(text))
 *   yield* browser.trigger(Chat.events.say, { text: "hello" })
 *   yield* Effect.never
 * })
 *
 * const token = Effect.promise(() => fetch("/token").then((response) => response.text()))
 * const main = program.pipe(
 *   Effect.scoped,
 *   Effect.provide(Browser.layer({ url: "wss://example.com/chat", token }))
 * )
 * ```
 *
 * If the application has a tracer, each call has a span: `Browser.trigger`, `Browser.request`, `Browser.broadcast`.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type * as Stream from "effect/Stream"
import type * as Channel from "../events/Channel.ts"
import type * as Event from "../events/Event.ts"
import type * as EventGroup from "../events/EventGroup.ts"
import * as Json from "../protocol/Json.ts"
import { type InvalidOptionError, MessageEncodeError, type ProtocolError } from "../protocol/KosmonautError.ts"
import type { BroadcastError, CallError, RequestError, SubscribeError } from "./BrowserError.ts"
import type { Options } from "./BrowserOptions.ts"
import type { ConnectionState } from "./ConnectionState.ts"
import * as Consumers from "./internal/driver/consumers.ts"
import * as Errors from "./internal/driver/errors.ts"
import * as Outgoing from "./internal/driver/outgoing.ts"
import * as Reports from "./internal/driver/reports.ts"
import * as Runtime from "./internal/driver/runtime.ts"
import * as Settings from "./internal/driver/settings.ts"
import { inbox } from "./internal/subscriptions.ts"
import type { AnyOf, Checked, Cursor, Events, Handlers, Inbox, Services, Subscription } from "./Subscription.ts"

export type { Options, Token } from "./BrowserOptions.ts"

/**
 * A browser, connected to a vhost of a broker.
 *
 * @since 0.1.0
 */
export class Browser extends Context.Service<Browser, {
  /** The state of the connection. */
  readonly state: Effect.Effect<ConnectionState>
  /** The state now, and each change. A slow reader skips states and gets the latest one. */
  readonly changes: Stream.Stream<ConnectionState>
  /**
   * Subscribes to a channel until the scope ends, and stays subscribed over reconnecting. Waits for the connection, without a
   * limit: bound it by `Effect.timeout` if you need to. Several subscriptions of one channel share it; the options of the
   * first count.
   */
  readonly subscribe: <E extends Events>(
    channel: Channel.Reference<E>,
    options?: SubscribeOptions
  ) => Effect.Effect<Subscription<E>, SubscribeError, Scope.Scope>
  /**
   * Subscribes to the inbox of the own user until the scope ends: the events of a group that backends send to the user
   * (`client.sendToUser`), typed as those of a channel. What was sent while this browser was away arrives first, in order and
   * once, or there is a gap, if inboxes have a history.
   */
  readonly inbox: <G extends EventGroup.Any>(
    group: G,
    options?: InboxOptions
  ) => Effect.Effect<Inbox<G["events"]>, SubscribeError, Scope.Scope>
  /**
   * The events of a group that backends send to this browser alone (`client.sendTo`), in order. Each run of the stream has a
   * buffer of its own, as those of `Subscription.events`.
   */
  readonly events: <G extends EventGroup.Any>(group: G) => Stream.Stream<AnyOf<G["events"]>>
  /** Handles the events of a group that backends send to this browser alone, one after the other, until the scope ends. */
  readonly on: <G extends EventGroup.Any, const H extends Handlers<G["events"]>>(
    group: G,
    handlers: H & Checked<G["events"], H>
  ) => Effect.Effect<void, never, Services<H> | Scope.Scope>
  /**
   * Triggers an event for a worker, which needs a user. Success says that the broker has queued it. If the connection is lost
   * meanwhile it is sent again, and queued once. Interruption gives it up: it may have been queued. While an event of the same user
   * with the same `primaryKey` is queued or in flight, an event that declares one is not queued, and this succeeds.
   */
  readonly trigger: <E extends Event.Any>(
    event: E & ([Event.IsRequest<E>] extends [true] ? "This event is a request: use `request`" : unknown),
    ...args: Args<E>
  ) => Effect.Effect<void, CallError>
  /**
   * Makes a request, which needs a user: succeeds with what the handler gives, and fails with the error that the request
   * declares. If the connection is lost meanwhile it is sent again, and queued once. Interruption cancels it: a handler that has
   * not begun does not run.
   */
  readonly request: <E extends Event.Any>(
    event: E & ([Event.IsRequest<E>] extends [true] ? unknown : "This event has no response: use `trigger`"),
    ...args: Args<E>
  ) => Effect.Effect<Event.Success<E>, Event.Error<E> | RequestError>
  /**
   * Broadcasts an event of a channel to the browsers on it; to this one, too. It needs a subscription of this browser, and a
   * broker that allows browsers to broadcast (`browsers.broadcast`). It is never sent twice: if the connection is lost
   * meanwhile it fails with `ConnectionLostError`.
   */
  readonly broadcast: <E extends Events, Name extends keyof E & string>(
    channel: Channel.Reference<E>,
    event: Name,
    ...args: Args<E[Name]>
  ) => Effect.Effect<void, BroadcastError>
  /** Connects again after `Closed`, with a new token. Does nothing otherwise: it connects and reconnects by itself. */
  readonly connect: Effect.Effect<void>
  /** Closes the connection, and fails the calls. Subscriptions stay, for another `connect`. */
  readonly close: Effect.Effect<void>
}>()("kosmonaut/browser/Browser") {}

/**
 * What opens WebSockets: the service of `effect/socket/Socket`. Provide it to `make` and `layerWithWebSocket`.
 *
 * @since 0.1.0
 */
export const WebSocketConstructor = Socket.WebSocketConstructor

/**
 * Opens a WebSocket.
 *
 * @since 0.1.0
 */
export type WebSocketConstructor = Socket.WebSocketConstructor["Service"]

/**
 * How a channel is subscribed to.
 *
 * @since 0.1.0
 */
export interface SubscribeOptions {
  /** What the others on a presence channel see of this browser: anything whose JSON is an object, default `{}`. */
  readonly data?: object | undefined
  /** Whether the others on a presence channel do not see this browser, default `false`. */
  readonly hidden?: boolean | undefined
  /**
   * Begins after this place, on a channel with history: events since then arrive first. Take it from the last event that was
   * handled, or from the state `Subscribed` if there was none yet.
   */
  readonly since?: Cursor | undefined
  /** How many of the last events of a channel with history arrive first, default 0. Not with `since`. */
  readonly rewind?: number | undefined
}

/**
 * Where the own inbox begins, if inboxes have a history.
 *
 * @since 0.1.0
 */
export interface InboxOptions extends Pick<SubscribeOptions, "since" | "rewind"> {}

/**
 * How a call is made.
 *
 * @since 0.1.0
 */
export interface CallOptions {
  /**
   * After how long it fails with `RequestTimeoutError`, at most an hour, default `callTimeout` of the browser. It is above zero;
   * anything else is a defect.
   */
  readonly timeout?: Duration.Input | undefined
}

/**
 * The data of an event and the options of its call. Data without a required field may be left out.
 *
 * @since 0.1.0
 */
export type Args<E extends Event.Any> = {} extends Event.Payload<E> ? [data?: Event.Payload<E>, options?: CallOptions]
  : [data: Event.Payload<E>, options?: CallOptions]

/**
 * Makes a browser that is connected until the scope ends, over the `WebSocketConstructor` of the context. It does not wait for the
 * connection.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<E = never, R = never>(
  options: Options<E, R>
): Effect.fn.Return<Browser["Service"], InvalidOptionError, R | Scope.Scope | Socket.WebSocketConstructor> {
  const settings = yield* Effect.fromResult(Settings.resolve(options))
  const report = yield* Reports.make<R>(options.onError ?? Reports.log)
  const runtime = yield* Runtime.make<R>(settings, options.token ?? Effect.undefined, report)
  const { calls, channels, close, connect, direct, state } = runtime

  const outgoing = <A, E>(
    kind: Outgoing.Outgoing["kind"],
    event: Event.Any,
    args: ReadonlyArray<unknown>,
    send: (outgoing: Outgoing.Outgoing) => Effect.Effect<A, E>,
    channel?: string
  ): Effect.Effect<A, E> => {
    const options = args[1] as CallOptions | undefined
    const sendWithin = (timeout: number) => send({ kind, event, data: args[0] ?? {}, channel, timeout })
    return options?.timeout === undefined
      ? sendWithin(settings.callTimeout)
      : Effect.flatMap(millisOf(options.timeout), sendWithin)
  }

  return Browser.of({
    state: state.get,
    changes: state.changes,
    subscribe: (channel, options) =>
      Effect.map(
        Effect.flatMap(dataOf(options?.data), (data) => channels.subscribe(channel, { ...options, data })),
        (subscription) => ({
          ...subscription,
          update: (data) =>
            Effect.flatMap(
              dataOf(data),
              (data = "{}") => Outgoing.update(calls, channel.name, data, settings.callTimeout)
            )
        })
      ),
    inbox: ({ events }, options = {}) => channels.subscribe({ name: inbox, events }, { ...options, data: undefined }),
    events: (group) => Consumers.stream(direct, group.events, undefined, report),
    on: ((group: EventGroup.Any, handlers: { readonly [name: string]: Consumers.Handler }) =>
      Consumers.handle(direct, group.events, handlers, undefined, report)) as Browser["Service"]["on"],
    trigger: (event, ...args) =>
      outgoing("trigger", event, args, (outgoing) => Outgoing.trigger(calls, outgoing)),
    request: <E extends Event.Any>(event: E, ...args: Args<E>) =>
      outgoing("request", event, args, (outgoing) => Outgoing.request(calls, event, outgoing)),
    broadcast: (channel, event, ...args) =>
      outgoing(
        "broadcast",
        channel.events[event]!,
        args,
        (outgoing) => Outgoing.broadcast(calls, outgoing),
        channel.name
      ),
    connect,
    close
  })
})

/**
 * A browser over the `WebSocket` of the platform, as browsers and Node.js have it.
 *
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(options: Options<E, R>): Layer.Layer<Browser, InvalidOptionError, R> =>
  Layer.provide(layerWithWebSocket(options), Socket.layerWebSocketConstructorGlobal)

/**
 * A browser over the `WebSocketConstructor` of the context, of `effect/socket/Socket`.
 *
 * @since 0.1.0
 */
export const layerWithWebSocket = <E = never, R = never>(
  options: Options<E, R>
): Layer.Layer<Browser, InvalidOptionError, R | Socket.WebSocketConstructor> => Layer.effect(Browser, make(options))

const dataOf = (data: object | undefined): Effect.Effect<string | undefined, ProtocolError> => {
  if (data === undefined) return Effect.undefined
  const text = Json.stringify(data)
  if (Result.isSuccess(text) && text.success.startsWith("{")) return Effect.succeed(text.success)
  const cause = Result.isFailure(text) ? text.failure : undefined
  const detail = "they are not an object in JSON"
  return Effect.fail(
    Errors.protocolError(new MessageEncodeError({ argument: "the data of a subscription", detail, cause }))
  )
}

const millisOf = (timeout: Duration.Input): Effect.Effect<number> =>
  Effect.orDie(Effect.fromResult(Settings.millis("timeout", timeout)))
