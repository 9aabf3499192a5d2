/**
 * Asks a broker to do things: open and close channels, broadcast, hand out access tokens. One request, one answer.
 *
 * A Client is safe to use from any number of fibers; their requests are in flight together. No request is ever repeated
 * by the library: one that fails with `RequestTimeoutError` or `ConnectionError` may or may not have been carried out,
 * and whether to ask again is the caller's decision. What cannot be right fails before anything is sent.
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as ChannelName from "../protocol/ChannelName.ts"
import { decodeFromServer, encodeFromClient, FromClient, FromServer } from "../protocol/Command.ts"
import * as Json from "../protocol/Json.ts"
import {
  BadRequestError,
  ChannelNotFoundError,
  type ConnectionError,
  type EndOfFileError,
  type InternalError,
  InvalidChannelNameError,
  type InvalidEndpointError,
  MessageDecodeError,
  MessageEncodeError,
  type RequestTimeoutError,
  type UnauthorizedError,
  type UnknownServerError
} from "../protocol/KosmonautError.ts"
import type { Transport } from "../transport/Transport.ts"
import { type AnswerError, resolve, statusError } from "./internal/target.ts"

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
 * A broker's client.
 *
 * @since 0.1.0
 */
export class Client extends Context.Service<Client, {
  /**
   * Opens a channel, so that pages may subscribe to it and others broadcast on it. Opening one that is open does nothing.
   * The name decides the kind: `presence-…`, `private-…`, or normal.
   */
  readonly openChannel: (channel: string) => Effect.Effect<void, RequestError | InvalidChannelNameError>
  /** Closes a channel; who was on it no longer is. */
  readonly closeChannel: (channel: string) => Effect.Effect<void, RequestError | ChannelNotFoundError>
  /**
   * Delivers `event` with `data` to every page on `channel`. Success says that the broker has handed it to all of them,
   * not that they have read it. `data` is anything whose JSON is an object, default `{}`.
   */
  readonly broadcast: (
    channel: string,
    event: string,
    data?: object
  ) => Effect.Effect<void, RequestError | ChannelNotFoundError>
  /**
   * Asks for a token with which one page may authenticate once, as the user `uid`, for the private and presence channels
   * whose whole name matches `pattern` (RE2 syntax; a name put into it must be quoted). It is good for an hour, unless the
   * broker was told otherwise. A pattern that does not compile fails with
   * `InternalError`, as the protocol has it.
   */
  readonly requestSingleAccessToken: (uid: string, pattern: string) => Effect.Effect<Redacted.Redacted, RequestError>
}>()("kosmonaut/client/Client") {}

/**
 * What a Client can be told.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The vhost's URL, `wr://<access token>@<host>:<port>/<vhost>`. */
  readonly url: string | Redacted.Redacted
  /** How long to wait for an answer once a request is sent, default 5 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
}

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
    requestTimeout: Duration.fromInputUnsafe(options.requestTimeout ?? "5 seconds")
  })

  // `expected` turns the statuses that mean something to this request into its errors; the others are the same for all.
  const ask = <Tag extends FromServer["_tag"], E = never>(
    command: FromClient,
    tag: Tag,
    expected?: (code: number) => E | undefined
  ) =>
    requester.request(encodeFromClient(command)).pipe(
      Effect.flatMap((frames) => Effect.fromResult(decodeFromServer(frames))),
      Effect.flatMap((
        answer
      ): Effect.Effect<Extract<FromServer, { _tag: Tag }>, E | AnswerError | MessageDecodeError> =>
        FromServer.$is(tag)(answer)
          ? Effect.succeed(answer)
          : Effect.fail(
            answer._tag === "Failure"
              ? expected?.(answer.code) ?? statusError(answer.code, describe(command), endpoint)
              : new MessageDecodeError({ detail: `the broker answered ${command._tag} with ${answer._tag}` })
          )
      )
    )

  return Client.of({
    openChannel: (channel) =>
      ChannelName.isValid(channel)
        ? Effect.asVoid(ask(FromClient.OpenChannel({ channel }), "Ok", invalidName(channel)))
        : Effect.fail(new InvalidChannelNameError({ channel })),

    closeChannel: (channel) =>
      ChannelName.isValid(channel)
        ? Effect.asVoid(ask(FromClient.CloseChannel({ channel }), "Ok", notFound(channel)))
        : Effect.fail(new ChannelNotFoundError({ channel })),

    broadcast: Effect.fnUntraced(function*(channel, event, data = {}) {
      if (!ChannelName.isValid(channel)) return yield* new ChannelNotFoundError({ channel })
      if (event === "") return yield* new BadRequestError({ detail: "an event needs a name" })
      const json = yield* Effect.fromResult(encodeData(data))
      yield* ask(FromClient.Broadcast({ channel, event, data: json }), "Ok", notFound(channel))
    }),

    requestSingleAccessToken: Effect.fnUntraced(function*(uid, pattern) {
      if (uid === "" || pattern === "") {
        return yield* new BadRequestError({ detail: `the ${uid === "" ? "user id" : "pattern"} is empty` })
      }
      const { token } = yield* ask(FromClient.AccessToken({ uid, pattern }), "AccessTokenIssued")
      return Redacted.make(token)
    })
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

// Where a person could wonder what was wrong, the argument too.
const describe = (command: FromClient): string =>
  command._tag === "AccessToken"
    ? `a token for the pattern ${JSON.stringify(command.pattern.slice(0, 100))}; is it RE2 syntax?`
    : command._tag

const invalidName = (channel: string) => (code: number) =>
  code === 451 ? new InvalidChannelNameError({ channel }) : undefined

const notFound = (channel: string) => (code: number) => code === 454 ? new ChannelNotFoundError({ channel }) : undefined

const encodeData = (data: object): Result.Result<string, MessageEncodeError> =>
  Result.mapError(
    Json.stringify(data),
    (cause) => new MessageEncodeError({ argument: "the event's data", detail: "it cannot be written as JSON", cause })
  ).pipe(
    Result.filterOrFail(
      (json) => json.startsWith("{"),
      () => new MessageEncodeError({ argument: "the event's data", detail: "its JSON is not an object" })
    )
  )
