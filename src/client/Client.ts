/**
 * Sends requests to a broker: open and close channels, broadcast, request access tokens. One request, one response.
 *
 * A Client is safe to use from any number of fibers; their requests are in flight together. What cannot be right fails
 * before anything is sent. Requests that are not sent yet are limited, in number and in bytes: if the broker stops reading,
 * further requests wait for room. One that times out or is interrupted before it was sent is never sent.
 *
 * A request that was never sent is retried, see the option `retry`. A request that may have been executed is retried only with our
 * own broker, which deduplicates requests; not with the original or another, nor before the first response has shown whose
 * the broker is. What still fails with `RequestTimeoutError` or `ConnectionError` has in `wasSent` whether it may have been
 * executed. What the broker has answered is never retried.
 *
 * Where the application has a tracer, each request has a span, `Client.<command>`, which goes on in the broker. The commands
 * are those of the metric `ClientMetrics.requests`.
 *
 * @since 0.1.0
 */

import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Channel from "../events/Channel.ts"
import type * as Event from "../events/Event.ts"
import type {
  BrowserNotFoundError,
  ChannelNotFoundError,
  ConnectionError,
  DeadLetterNotFoundError,
  InvalidChannelNameError,
  InvalidEndpointError,
  InvalidOptionError,
  RequestTimeoutError,
  ResponseError
} from "../protocol/KosmonautError.ts"
import { duration, integer } from "../protocol/Options.ts"
import type { Transport } from "../transport/Transport.ts"
import type {
  Broadcast,
  BroadcastError,
  BroadcastOptions,
  CallError,
  ChannelInfo,
  ChannelLike,
  HistoryOptions,
  Member,
  Requestable,
  RequestError,
  RequestOptions,
  Retained,
  Subscriber,
  TokenOptions,
  Triggerable,
  TriggerOptions
} from "./ClientRequest.ts"
import type { DeadLetter, Replayed } from "./DeadLetter.ts"
import * as Broadcasts from "./internal/broadcasts.ts"
import * as Browsers from "./internal/browsers.ts"
import * as Calls from "./internal/calls.ts"
import * as Channels from "./internal/channels.ts"
import { unwrap } from "./internal/configuredOptions.ts"
import * as DeadLetters from "./internal/deadLetters.ts"
import * as Pipeline from "./internal/pipeline.ts"
import * as Requests from "./internal/request.ts"
import * as Retry from "./internal/retry.ts"
import { resolve } from "./internal/target.ts"

export * from "./ClientRequest.ts"

/**
 * A broker's client.
 *
 * The commands after `requestSingleAccessToken` are additions to WebRocket 0.3. A broker that does not know them, as the
 * original, answers with 400: a `ProtocolError` with the reason `BadRequestError`.
 *
 * @since 0.1.0
 */
export class Client extends Context.Service<Client, {
  /**
   * Opens a channel, so that browsers may subscribe to it and others broadcast on it. Opening one that is open does nothing.
   * The name decides the kind: `presence-…`, `private-…`, or normal.
   */
  readonly openChannel: (channel: ChannelLike) => Effect.Effect<void, RequestError | InvalidChannelNameError>
  /** Closes a channel; its subscribers receive `:unsubscribed`. */
  readonly closeChannel: (channel: ChannelLike) => Effect.Effect<void, RequestError | ChannelNotFoundError>
  /**
   * Delivers `event` with `data` to every browser on `channel`. Success means that the broker has put it into the outbound
   * queues of all of them, not that they have received it.
   *
   * On a channel that is declared (`Channel.make`) `event` is the name of one of its events, and `data` has its Schema. On a
   * channel by its name, `event` is a name and `data` anything whose JSON is an object, default `{}`; or `event` is declared.
   * With `exceptSid`, an addition to WebRocket 0.3, one browser does not receive it.
   */
  readonly broadcast: {
    <Events extends { readonly [name: string]: Event.Any }, Name extends keyof Events & string>(
      channel: Channel.Reference<Events>,
      event: Name,
      data: Event.Payload<Events[Name]>,
      options?: BroadcastOptions
    ): Effect.Effect<void, RequestError | ChannelNotFoundError>
    (
      channel: string,
      event: string,
      data?: object,
      options?: BroadcastOptions
    ): Effect.Effect<void, RequestError | ChannelNotFoundError>
    <E extends Event.Any>(
      channel: ChannelLike,
      event: E,
      data: Event.Payload<E>,
      options?: BroadcastOptions
    ): Effect.Effect<void, RequestError | ChannelNotFoundError>
  }
  /**
   * Requests a token with which one browser may authenticate once, as the user `uid`. It is valid for an hour, unless the
   * broker is configured otherwise.
   *
   * `channels` are the private and presence channels that the user may join: names, and channels that are declared; they are
   * quoted for you. In the other form `pattern` is RE2 syntax and has to match the whole name of a channel; quote names in it
   * with `Channel.quote`. A pattern that does not compile fails with the reason `InternalError`, an option that cannot be right
   * with `BadRequestError` before anything is sent.
   */
  readonly requestSingleAccessToken: {
    (options: TokenOptions): Effect.Effect<Redacted.Redacted, RequestError>
    (uid: string, pattern: string): Effect.Effect<Redacted.Redacted, RequestError>
  }
  /**
   * Many broadcasts in one round trip, carried out in their order. Each has its own result, in the same order: one that
   * fails does not keep the others. All together are one message and bounded like one, by the transport's
   * `maxMessageSize`; beyond it nothing is sent.
   */
  readonly broadcastAll: (
    broadcasts: ReadonlyArray<Broadcast>
  ) => Effect.Effect<ReadonlyArray<Result.Result<void, BroadcastError>>, RequestError>
  /**
   * Sends `event` with `data` to the one browser of this `sid`, whatever channels it is on. If the browser is away it has missed
   * this: use `sendToUser` for what must arrive.
   */
  readonly sendTo: {
    (sid: string, event: string, data?: object): Effect.Effect<void, RequestError | BrowserNotFoundError>
    <E extends Event.Any>(
      sid: string,
      event: E,
      data: Event.Payload<E>
    ): Effect.Effect<void, RequestError | BrowserNotFoundError>
  }
  /**
   * Sends `event` with `data` to a user: to all its browsers that are connected now, those that are subscribed to its inbox, and
   * returns how many. If inboxes have a history (the broker's channel rule of `:user`), browsers that come later
   * receive it, too.
   */
  readonly sendToUser: {
    (uid: string, event: string, data?: object): Effect.Effect<number, RequestError>
    <E extends Event.Any>(uid: string, event: E, data: Event.Payload<E>): Effect.Effect<number, RequestError>
  }
  /**
   * Requests something of a worker, and succeeds with the response of its handler. Of a declared event the response and the
   * error that it declares are what the handler gave; of an event by its name they are JSON, and a declared error is a
   * `ResponseError`. Fails at once if no worker takes requests. The handler is interrupted when `timeout` has passed. After a
   * worker's crash it runs again, if there is time.
   */
  readonly request: {
    (
      event: string,
      data?: object,
      options?: RequestOptions
    ): Effect.Effect<Schema.Json, ResponseError | CallError>
    <E extends Event.Any>(
      event: E & Requestable<E>,
      data: Event.Payload<E>,
      options?: RequestOptions
    ): Effect.Effect<Event.Success<E>, Event.Error<E> | CallError>
  }
  /**
   * Queues an event for a worker, as if a browser had triggered it, but without a `sid` and a `uid`. Success means that it is
   * queued, and persisted if the broker has storage. If an event triggered by its name is a request, its response is dropped.
   */
  readonly trigger: {
    (event: string, data?: object, options?: TriggerOptions): Effect.Effect<void, RequestError>
    <E extends Event.Any>(
      event: E & Triggerable<E>,
      data: Event.Payload<E>,
      options?: TriggerOptions
    ): Effect.Effect<void, RequestError>
  }
  /**
   * The open channels, in the order of their opening, requested as they are wanted; with `prefix` those whose name begins
   * with it.
   */
  readonly channels: (options?: { readonly prefix?: string | undefined }) => Stream.Stream<ChannelInfo, RequestError>
  /** What is known of an open channel. */
  readonly channel: (channel: ChannelLike) => Effect.Effect<ChannelInfo, RequestError | ChannelNotFoundError>
  /** The subscribers of a channel that are not hidden, in the order of their subscribing, requested as they are wanted. */
  readonly subscribers: (channel: ChannelLike) => Stream.Stream<Subscriber, RequestError | ChannelNotFoundError>
  /**
   * The users on a private or presence channel, each once with all connections, in the order in which they joined. A user whose
   * connection was lost a moment ago is still among them. Requested in parts and held in memory as a whole.
   */
  readonly members: (channel: ChannelLike) => Effect.Effect<ReadonlyArray<Member>, RequestError | ChannelNotFoundError>
  /**
   * The last broadcasts of a channel with history (`history` of the broker), the oldest first, requested as they are wanted.
   * A channel without history has an empty list.
   */
  readonly history: (
    channel: ChannelLike,
    options?: HistoryOptions
  ) => Stream.Stream<Retained, RequestError | ChannelNotFoundError>
  /**
   * Subscribes the browsers that a user has now to an open channel, whatever their tokens allow, and returns how many were not
   * subscribed before. They are told so, and stay subscribed until they disconnect. Browsers that do not use the library or
   * version 1 of the protocol do not expect this and are left out. For the browsers that come, use the `subscribe` of
   * `requestSingleAccessToken`.
   */
  readonly subscribe: (uid: string, channel: ChannelLike) => Effect.Effect<number, RequestError | ChannelNotFoundError>
  /**
   * Unsubscribes the browsers that a user has now from a channel, and returns how many. The library does not subscribe again by
   * itself before the browser has reconnected.
   */
  readonly unsubscribe: (
    uid: string,
    channel: ChannelLike
  ) => Effect.Effect<number, RequestError | ChannelNotFoundError>
  /**
   * Ends the connection of one browser, or all of a user's, with a close code after which browsers do not reconnect (4403).
   * Returns how many were ended, 0 if there was none. A member whose connection was lost a moment ago leaves at once, and does not
   * count. With `revokeTokens` the user's unused single access tokens are revoked, too; by default they stay valid.
   */
  readonly disconnect: (
    who: { readonly sid: string } | { readonly uid: string; readonly revokeTokens?: boolean | undefined }
  ) => Effect.Effect<number, RequestError>
  /** The dead letters of the vhost: events that failed too often. */
  readonly deadLetters: {
    /**
     * The dead letters, the oldest first, requested as they are wanted. One that is added meanwhile may be among them, and
     * one that is removed may not.
     */
    readonly list: Stream.Stream<DeadLetter, RequestError>
    /**
     * Queues a dead letter as a new event with new attempts. If the queue is full, or it is a lifecycle event and no worker
     * takes them, it fails with the reason `InternalError`, and the letter stays.
     */
    readonly replay: (id: string) => Effect.Effect<void, RequestError | DeadLetterNotFoundError>
    /** The same with all of them, the oldest first, as long as there is room. */
    readonly replayAll: Effect.Effect<Replayed, RequestError>
    /** Deletes a dead letter. */
    readonly discard: (id: string) => Effect.Effect<void, RequestError | DeadLetterNotFoundError>
    /** Deletes all of them, and gives how many there were. */
    readonly discardAll: Effect.Effect<number, RequestError>
  }
}>()("kosmonaut/client/Client") {}

/**
 * The options of a Client.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The vhost's URL, `wr://<access token>@<host>:<port>/<vhost>`. */
  readonly url: string | Redacted.Redacted
  /**
   * How long to wait for a response once a request is made on an open connection, default 5 seconds. Also how long a
   * request waits before that for room among the unsent ones.
   */
  readonly requestTimeout?: Duration.Input | undefined
  /**
   * How many requests may be unsent, default 10 000. Requests are sent at once as long as the broker reads; if it stops,
   * further requests wait, before their data is encoded, until there is room.
   */
  readonly maxQueuedRequests?: number | undefined
  /** How many bytes of memory unsent requests may take, overhead included, default 16 MiB. Beyond it requests wait. */
  readonly maxQueuedBytes?: number | undefined
  /**
   * When to send a request again that got no answer, default `defaultRetry`; `"none"` for never. Where the schedule ends the
   * request fails. Each try has `requestTimeout` for itself.
   */
  readonly retry?: Schedule.Schedule<unknown, ConnectionError | RequestTimeoutError> | "none" | undefined
}

/**
 * The same options, each from configuration; `retry` is given as it is.
 *
 * @since 0.1.0
 */
export type ConfigOptions =
  & { readonly [Key in keyof Omit<Options, "retry">]: Config.Wrap<Options[Key]> }
  & Pick<Options, "retry">

/**
 * Five times at most, after pauses that double from 100 milliseconds, each with jitter, and none once the first failure is
 * 5 seconds ago: 3.1 seconds in all if no broker can be reached.
 *
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("100 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 5, duration: "5 seconds" })
)

/**
 * Makes a client. Nothing is connected before the first request.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Client["Service"], InvalidEndpointError | InvalidOptionError, Transport | Scope.Scope> {
  const { endpoint, transport } = yield* resolve(options.url)
  const pipeline = yield* Pipeline.make({
    transport,
    endpoint,
    extraTime: Calls.extraTime,
    requestTimeout: yield* Effect.fromResult(duration("requestTimeout", options.requestTimeout ?? "5 seconds")),
    maxQueuedRequests: yield* Effect.fromResult(integer("maxQueuedRequests", options.maxQueuedRequests ?? 10_000)),
    maxQueuedBytes: yield* Effect.fromResult(integer("maxQueuedBytes", options.maxQueuedBytes ?? 16 * 1_048_576))
  })

  const retry = yield* Retry.make(pipeline, options.retry ?? defaultRetry)
  const requests = Requests.make(endpoint, pipeline, retry)
  const { request, trigger } = Calls.make(requests)
  return Client.of({
    ...Channels.make(requests),
    ...Broadcasts.make(requests),
    ...Browsers.make(requests),
    // It distinguishes names and declarations, which the compiler cannot follow.
    request: request as Client["Service"]["request"],
    trigger,
    deadLetters: DeadLetters.make(requests)
  })
})

/**
 * A client as a layer, over whatever `Transport` is provided.
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Client, InvalidEndpointError | InvalidOptionError, Transport> =>
  Layer.effect(Client, make(options))

/**
 * A client as a layer, with options from configuration.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: ConfigOptions
): Layer.Layer<Client, InvalidEndpointError | InvalidOptionError | Config.ConfigError, Transport> =>
  Layer.effect(Client, Effect.flatMap(unwrap<Options, "retry">(options, "retry"), make))
