/**
 * Sends requests to a broker: open and close channels, broadcast, request access tokens. One request, one response.
 *
 * A Client is safe to use from any number of fibers; their requests are in flight together. What cannot be right fails
 * before anything is sent. Requests that are not sent yet are limited, in number and in bytes: if the broker stops reading,
 * further requests wait for room. One that times out or is interrupted before it was sent is never sent.
 *
 * A request that was never sent is retried, as `retry` says. A request that may have been executed is retried only with our
 * own broker, which deduplicates requests; not with the original or another, nor before the first response has shown whose
 * the broker is. What still fails with `RequestTimeoutError` (unless it `isUnsent`) or `ConnectionError` (unless its reason
 * is `Refused`) may or may not have been executed. What the broker has answered is never retried.
 *
 * Where the application has a tracer, each request has a span, `Client.<command>`, which goes on in the broker. The commands
 * are those of the metric `ClientMetrics.requests`.
 *
 * @since 0.1.0
 */

import * as Arr from "effect/Array"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Channel from "../events/Channel.ts"
import type * as Event from "../events/Event.ts"
import type * as EventGroup from "../events/EventGroup.ts"
import * as ChannelName from "../protocol/ChannelName.ts"
import { FromClient } from "../protocol/Command.ts"
import type * as Json from "../protocol/Json.ts"
import {
  BadRequestError,
  BrowserNotFoundError,
  ChannelNotFoundError,
  type ConnectionError,
  type DeadLetterNotFoundError,
  type EndOfFileError,
  type InternalError,
  InvalidChannelNameError,
  type InvalidEndpointError,
  MessageDecodeError,
  type MessageEncodeError,
  type RequestTimeoutError,
  type UnauthorizedError,
  type UnknownServerError
} from "../protocol/KosmonautError.ts"
import * as Response from "../protocol/Response.ts"
import type { Transport } from "../transport/Transport.ts"
import type { DeadLetter, Replayed } from "./DeadLetter.ts"
import * as DeadLetters from "./internal/deadLetters.ts"
import { broadcastResult, encodeBroadcast, encodeEvent, listOf, type Named } from "./internal/outgoingEvent.ts"
import * as Browsers from "./internal/pages.ts"
import * as Requests from "./internal/request.ts"
import * as Retry from "./internal/retry.ts"
import { resolve } from "./internal/target.ts"

/**
 * What can happen to every request, whatever it asks: the token is not good (`UnauthorizedError`), the broker cannot be
 * reached or is lost (`ConnectionError`), does not answer in time (`RequestTimeoutError`), fails itself (`InternalError`,
 * `EndOfFileError`), answers what the protocol does not define (`UnknownServerError`, `MessageDecodeError`) or does not
 * know the command (`BadRequestError`); or the arguments cannot travel (`MessageEncodeError`), and nothing was sent.
 *
 * @since 0.1.0
 */
export type RequestError =
  | BadRequestError
  | UnauthorizedError
  | InternalError
  | EndOfFileError
  | UnknownServerError
  | ConnectionError
  | RequestTimeoutError
  | MessageEncodeError
  | MessageDecodeError

/**
 * Who is not to hear a broadcast.
 *
 * @since 0.1.0
 */
export interface BroadcastOptions {
  /** The `sid` of one browser on the channel that does not hear it, as a rule the one that caused it. */
  readonly exceptSid?: string | undefined
}

/**
 * One broadcast of many.
 *
 * @since 0.1.0
 */
export interface Broadcast extends BroadcastOptions {
  readonly channel: string
  readonly event: string
  /** Anything whose JSON is an object, default `{}`. */
  readonly data?: object | undefined
}

/**
 * What can happen to one broadcast of many.
 *
 * @since 0.1.0
 */
export type BroadcastError = ChannelNotFoundError | BadRequestError | MessageEncodeError | UnknownServerError

/**
 * An open channel.
 *
 * @since 0.1.0
 */
export interface ChannelInfo {
  readonly name: string
  readonly kind: ChannelName.Kind
  /** How many browsers are on it, hidden ones too. */
  readonly subscribers: number
}

/**
 * A browser on a channel.
 *
 * @since 0.1.0
 */
export interface Subscriber {
  /** The browser's connection. */
  readonly sid: string
  /** The user, on private and presence channels. A user with two browsers is there twice. */
  readonly uid: string | undefined
  /** What the browser told the others of itself when it subscribed, as it said it. The broker vouches for the `uid` alone. */
  readonly data: Json.JsonObject
}

/**
 * A channel that knows its events.
 *
 * @since 0.1.0
 */
export interface TypedChannel<in out Group extends EventGroup.Any> {
  readonly name: string
  /** Delivers an event of one of the channel's groups, by its name there, as `Client.broadcast` does. */
  readonly broadcast: <Name extends keyof Channel.Events<Group> & string>(
    event: Name,
    data: Event.Data<Channel.Events<Group>[Name]>,
    options?: BroadcastOptions
  ) => Effect.Effect<void, RequestError | ChannelNotFoundError>
}

/**
 * A broker's client.
 *
 * The commands after `requestSingleAccessToken` are additions to WebRocket 0.3. A broker that does not know them, as the
 * original, answers with `BadRequestError`.
 *
 * @since 0.1.0
 */
export class Client extends Context.Service<Client, {
  /**
   * Opens a channel, so that browsers may subscribe to it and others broadcast on it. Opening one that is open does nothing.
   * The name decides the kind: `presence-…`, `private-…`, or normal.
   */
  readonly openChannel: (channel: string) => Effect.Effect<void, RequestError | InvalidChannelNameError>
  /** Closes a channel; who was on it no longer is. */
  readonly closeChannel: (channel: string) => Effect.Effect<void, RequestError | ChannelNotFoundError>
  /**
   * Delivers `event` with `data` to every browser on `channel`. Success says that the broker has handed it to all of them,
   * not that they have read it. `event` is a name, and then `data` is anything whose JSON is an object, default `{}`; or
   * it is defined, and then its Schema says what `data` are. With `exceptSid`, an addition to WebRocket 0.3, one browser
   * does not hear it.
   */
  readonly broadcast: {
    (
      channel: string,
      event: string,
      data?: object,
      options?: BroadcastOptions
    ): Effect.Effect<void, RequestError | ChannelNotFoundError>
    <E extends Event.Any>(
      channel: string,
      event: E,
      data: Event.Data<E>,
      options?: BroadcastOptions
    ): Effect.Effect<void, RequestError | ChannelNotFoundError>
  }
  /**
   * Asks for a token with which one browser may authenticate once, as the user `uid`, for the private and presence channels
   * whose whole name matches `pattern` (RE2 syntax; a name put into it must be quoted). It is good for an hour, unless the
   * broker was told otherwise. A pattern that does not compile fails with `InternalError`, as the protocol has it.
   */
  readonly requestSingleAccessToken: (uid: string, pattern: string) => Effect.Effect<Redacted.Redacted, RequestError>
  /**
   * Many broadcasts in one round trip, carried out in their order. Each has its own result, in the same order: one that
   * fails does not keep the others. All together are one message and bounded like one, by the transport's
   * `maxMessageSize`; beyond it nothing is sent.
   */
  readonly broadcastAll: (
    broadcasts: ReadonlyArray<Broadcast>
  ) => Effect.Effect<ReadonlyArray<Result.Result<void, BroadcastError>>, RequestError>
  /** Sends `event` with `data` to the one browser of this `sid`, whatever channels it is on. */
  readonly sendTo: {
    (sid: string, event: string, data?: object): Effect.Effect<void, RequestError | BrowserNotFoundError>
    <E extends Event.Any>(
      sid: string,
      event: E,
      data: Event.Data<E>
    ): Effect.Effect<void, RequestError | BrowserNotFoundError>
  }
  /** The open channels, in the order of their opening; with `prefix` those whose name begins with it. */
  readonly channels: (
    options?: { readonly prefix?: string | undefined }
  ) => Effect.Effect<ReadonlyArray<ChannelInfo>, RequestError>
  /**
   * A channel's name asks for it: its kind and how many browsers are on it. A channel that is defined with its events gives
   * the typed way to it, and asks nothing.
   */
  readonly channel: {
    (name: string): Effect.Effect<ChannelInfo, RequestError | ChannelNotFoundError>
    <Group extends EventGroup.Any>(channel: Channel.Channel<Group>): TypedChannel<Group>
  }
  /** Who is on a channel and not hidden, in the order of their coming. */
  readonly subscribers: (
    channel: string
  ) => Effect.Effect<ReadonlyArray<Subscriber>, RequestError | ChannelNotFoundError>
  /**
   * Ends the connection of one browser, or all of a user's, with a close code that says not to come back (4403). Gives how
   * many were ended, 0 where there was none. Single access tokens that were handed out stay good.
   */
  readonly disconnect: (
    who: { readonly sid: string } | { readonly uid: string }
  ) => Effect.Effect<number, RequestError>
  /**
   * The dead letters, the oldest first, asked for as they are wanted. One that comes meanwhile may be among them, and one
   * that goes may not.
   */
  readonly deadLetters: Stream.Stream<DeadLetter, RequestError>
  /**
   * Has a dead letter handled again, as a new event with new attempts. Where too many events wait for a worker, or
   * it is a lifecycle event and no worker takes them, it fails with `InternalError`, and the letter stays.
   */
  readonly replayDeadLetter: (id: string) => Effect.Effect<void, RequestError | DeadLetterNotFoundError>
  /** The same with all of them, the oldest first, as long as there is room: tells how many, and how many are left. */
  readonly replayDeadLetters: Effect.Effect<Replayed, RequestError>
  /** Throws a dead letter away. */
  readonly discardDeadLetter: (id: string) => Effect.Effect<void, RequestError | DeadLetterNotFoundError>
  /** Throws all of them away, and gives how many there were. */
  readonly discardDeadLetters: Effect.Effect<number, RequestError>
}>()("kosmonaut/client/Client") {}

/**
 * What a Client can be told.
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
 * Five times at most, after pauses that double from 100 milliseconds, each with jitter, and none once the first failure is
 * 5 seconds ago: over after 3.1 seconds where nobody is there.
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
): Effect.fn.Return<Client["Service"], InvalidEndpointError, Transport | Scope.Scope> {
  const { endpoint, transport } = yield* resolve(options.url)
  const requester = yield* transport.requester(endpoint, {
    requestTimeout: Duration.fromInputUnsafe(options.requestTimeout ?? "5 seconds"),
    maxQueuedRequests: options.maxQueuedRequests,
    maxQueuedBytes: options.maxQueuedBytes
  })

  const again = yield* Retry.make(requester, options.retry ?? defaultRetry)
  const requests = Requests.make(endpoint, requester, again)
  const { ask, inRoom, query, tell, tellIn } = requests

  const broadcast = (channel: string, event: Named, data?: unknown, options?: BroadcastOptions) =>
    Effect.withFiber((fiber) =>
      inRoom(emptyBroadcast, (): Effect.Effect<void, RequestError | ChannelNotFoundError> => {
        const encoded = encodeBroadcast(channel, event, data, options?.exceptSid)
        return Result.isSuccess(encoded) ? tellIn(fiber, encoded.success, notFound) : Effect.fail(encoded.failure)
      })
    )

  const describe = (channel: string) =>
    ChannelName.isValid(channel)
      ? Effect.map(query(FromClient.DescribeChannel({ channel }), Response.Channel, notFound), channelInfo)
      : Effect.fail(new ChannelNotFoundError({ channel }))

  const typed = <Group extends EventGroup.Any>({ events, name }: Channel.Channel<Group>): TypedChannel<Group> => ({
    name,
    broadcast: (event, data, options) => broadcast(name, events[event], data, options)
  })

  function channel(name: string): ReturnType<typeof describe>
  function channel<Group extends EventGroup.Any>(channel: Channel.Channel<Group>): TypedChannel<Group>
  function channel(channel: string | Channel.Any) {
    return typeof channel === "string" ? describe(channel) : typed(channel)
  }

  return Client.of({
    openChannel: (channel) =>
      ChannelName.isValid(channel)
        ? tell(FromClient.OpenChannel({ channel }), invalidName)
        : Effect.fail(new InvalidChannelNameError({ channel })),

    closeChannel: (channel) =>
      ChannelName.isValid(channel)
        ? tell(FromClient.CloseChannel({ channel }), notFound)
        : Effect.fail(new ChannelNotFoundError({ channel })),

    broadcast,

    requestSingleAccessToken: Effect.fnUntraced(function*(uid, pattern) {
      if (uid === "" || pattern === "") {
        return yield* new BadRequestError({ detail: `the ${uid === "" ? "user id" : "pattern"} is empty` })
      }
      const { token } = yield* ask(FromClient.AccessToken({ uid, pattern }), "AccessTokenIssued")
      return Redacted.make(token)
    }),

    broadcastAll: Effect.fnUntraced(function*(broadcasts) {
      yield* inRoom(FromClient.BroadcastAll({ broadcasts: "" }), () => Effect.void)
      const encoded = broadcasts.map(({ channel, data, event, exceptSid }) =>
        encodeBroadcast(channel, event, data, exceptSid)
      )
      const sent = Arr.getSuccesses(encoded)
      const codes = sent.length === 0
        ? []
        : yield* query(FromClient.BroadcastAll({ broadcasts: listOf(sent) }), Response.Broadcasts)
      if (codes.length !== sent.length) {
        return yield* new MessageDecodeError({ detail: `${sent.length} broadcasts were answered with ${codes.length}` })
      }
      let answered = 0
      return encoded.map(Result.flatMap(({ channel }) => broadcastResult(channel, codes[answered++]!)))
    }),

    sendTo: (sid: string, event: Named, data?: unknown) =>
      sid === ""
        ? Effect.fail(new BrowserNotFoundError({ sid }))
        : inRoom(FromClient.SendTo({ sid, event: "", data: "" }), () =>
          Effect.flatMap(Effect.fromResult(encodeEvent(event, data)), (encoded) =>
            tell(FromClient.SendTo({ sid, ...encoded }), ({ code }) =>
              code === 455 ? new BrowserNotFoundError({ sid }) : undefined))),

    channels: ({ prefix = "" } = {}) =>
      Browsers.all((after) =>
        Effect.map(
          query(FromClient.ListChannels({ prefix, after }), Response.Channels),
          ({ channels, next }) => ({ items: channels.map(channelInfo), next })
        )
      ),

    channel,

    subscribers: (channel) =>
      ChannelName.isValid(channel)
        ? Browsers.all((after) =>
          Effect.map(
            query(FromClient.ListSubscribers({ channel, after }), Response.Subscribers, notFound),
            ({ next, subscribers }) => ({ items: subscribers.map(subscriber), next })
          )
        )
        : Effect.fail(new ChannelNotFoundError({ channel })),

    disconnect: (by) => {
      const command = "sid" in by ? { by: "sid", who: by.sid } as const : { by: "uid", who: by.uid } as const
      return command.who === ""
        ? Effect.succeed(0)
        : Effect.map(query(FromClient.Disconnect(command), Response.Disconnected), ({ disconnected }) => disconnected)
    },

    ...DeadLetters.make(requests)
  })
})

/**
 * A client as a layer, over whatever `Transport` is provided.
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Client, InvalidEndpointError, Transport> =>
  Layer.effect(Client, make(options))

/**
 * A client as a layer, with options from configuration.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Client, InvalidEndpointError | Config.ConfigError, Transport> =>
  Layer.effect(Client, Effect.flatMap(Config.unwrap(options), make))

const emptyBroadcast = FromClient.Broadcast({ channel: "", event: "", data: "" })

/** A command that names a channel. */
type Channelled = { readonly channel: string }

const invalidName = ({ code }: Requests.Failed, { channel }: Channelled) =>
  code === 451 ? new InvalidChannelNameError({ channel }) : undefined

const notFound = ({ code }: Requests.Failed, { channel }: Channelled) =>
  code === 454 ? new ChannelNotFoundError({ channel }) : undefined

const channelInfo = ({ name, subscribers }: typeof Response.Channel.Type): ChannelInfo => ({
  name,
  kind: ChannelName.kind(name),
  subscribers
})

const subscriber = ({ data, sid, uid }: typeof Response.Subscriber.Type): Subscriber => ({ sid, uid, data })
