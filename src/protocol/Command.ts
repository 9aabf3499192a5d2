/**
 * What backends and brokers say to each other, as values and as frames.
 *
 * `FromClient` are the words of Clients and Workers, `FromServer` those of the broker. `encode…` gives the frames without
 * identity or envelope, which are the transport's; `decode…` reads them and fails with the protocol's error, ignoring
 * frames it does not know at the end. (Source: WebRocket 0.3, backend protocol.)
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import * as Result from "effect/Result"
import type { Frames } from "./Frame.ts"
import * as Json from "./Json.ts"
import { BadRequestError, MessageDecodeError } from "./KosmonautError.ts"

/**
 * What a Client asks (the first four) and a Worker says (the last three).
 *
 * @since 0.1.0
 */
export type FromClient = Data.TaggedEnum<{
  OpenChannel: { readonly channel: string }
  CloseChannel: { readonly channel: string }
  /** `data` is the text of a JSON object; any other text counts as `{}`. */
  Broadcast: { readonly channel: string; readonly event: string; readonly data: string }
  /** Asks for a single access token: for the user `uid`, for channels whose whole name matches `pattern` (RE2). */
  AccessToken: { readonly uid: string; readonly pattern: string }
  /** A worker is there and takes events. */
  Ready: {}
  Heartbeat: {}
  /** A worker leaves. */
  Quit: {}
}>

/**
 * Constructors and matchers of `FromClient`.
 *
 * @since 0.1.0
 */
export const FromClient = Data.taggedEnum<FromClient>()

/**
 * What the broker answers (the first three) and says to a Worker.
 *
 * @since 0.1.0
 */
export type FromServer = Data.TaggedEnum<{
  Ok: {}
  AccessTokenIssued: { readonly token: string }
  /** An error's status code. */
  Failure: { readonly code: number }
  Heartbeat: {}
  /** The broker goes away, or does not know this worker (any more): connect again. */
  Quit: {}
  /** An event to handle: the text of `{"<event>": {…}}`. */
  Trigger: { readonly json: string }
}>

/**
 * Constructors and matchers of `FromServer`.
 *
 * @since 0.1.0
 */
export const FromServer = Data.taggedEnum<FromServer>()

/**
 * The frames of what a backend says.
 *
 * @since 0.1.0
 */
export const encodeFromClient: (command: FromClient) => Frames = FromClient.$match({
  OpenChannel: ({ channel }) => ["OC", channel],
  CloseChannel: ({ channel }) => ["CC", channel],
  Broadcast: ({ channel, data, event }) => ["BC", channel, event, data],
  AccessToken: ({ pattern, uid }) => ["AT", uid, pattern],
  Ready: () => ["RD"],
  Heartbeat: () => ["HB"],
  Quit: () => ["QT"]
})

/**
 * Reads what a backend says. Fails with what the broker answers: 400 for a missing or empty argument and for an unknown
 * command.
 *
 * @since 0.1.0
 */
export const decodeFromClient = (frames: Frames): Result.Result<FromClient, BadRequestError> => {
  const [command, first, second, third] = frames
  const need = (name: string) => Result.fail(new BadRequestError({ detail: `${command} needs ${name}` }))
  switch (command) {
    case "OC":
      return first ? Result.succeed(FromClient.OpenChannel({ channel: first })) : need("a channel")
    case "CC":
      return first ? Result.succeed(FromClient.CloseChannel({ channel: first })) : need("a channel")
    case "BC":
      return first && second
        ? Result.succeed(FromClient.Broadcast({ channel: first, event: second, data: third ?? "{}" }))
        : need("a channel and an event")
    case "AT":
      return first && second
        ? Result.succeed(FromClient.AccessToken({ uid: first, pattern: second }))
        : need("a user id and a pattern")
    case "RD":
      return Result.succeed(FromClient.Ready())
    case "HB":
      return Result.succeed(FromClient.Heartbeat())
    case "QT":
      return Result.succeed(FromClient.Quit())
    default:
      return Result.fail(new BadRequestError({ detail: "the command is unknown" }))
  }
}

/**
 * The frames of what the broker says.
 *
 * @since 0.1.0
 */
export const encodeFromServer: (command: FromServer) => Frames = FromServer.$match({
  Ok: () => ["OK"],
  AccessTokenIssued: ({ token }) => ["AT", token],
  Failure: ({ code }) => ["ER", String(code)],
  Heartbeat: () => ["HB"],
  Quit: () => ["QT"],
  Trigger: ({ json }) => ["TR", json]
})

/**
 * Reads what the broker says.
 *
 * @since 0.1.0
 */
export const decodeFromServer = (frames: Frames): Result.Result<FromServer, MessageDecodeError> => {
  const [command, first] = frames
  switch (command) {
    case "OK":
      return Result.succeed(FromServer.Ok())
    case "AT":
      return first ? Result.succeed(FromServer.AccessTokenIssued({ token: first })) : malformed("AT has no token")
    case "ER":
      return first !== undefined && /^\d{3}$/.test(first)
        ? Result.succeed(FromServer.Failure({ code: Number(first) }))
        : malformed("ER has no status code")
    case "HB":
      return Result.succeed(FromServer.Heartbeat())
    case "QT":
      return Result.succeed(FromServer.Quit())
    case "TR":
      return first !== undefined ? Result.succeed(FromServer.Trigger({ json: first })) : malformed("TR has no event")
    default:
      return malformed(`the broker's command ${JSON.stringify(String(command).slice(0, 20))} is unknown`)
  }
}

/**
 * An event that a browser triggered: a name and an object.
 *
 * @since 0.1.0
 */
export interface Event {
  readonly event: string
  readonly data: Json.JsonObject
}

/**
 * Reads the JSON of a `Trigger`: an object with exactly one key, the event, whose value is an object.
 *
 * @since 0.1.0
 */
export const decodeEvent = (json: string): Result.Result<Event, MessageDecodeError> =>
  Result.mapError(Json.parse(json), (cause) => new MessageDecodeError({ detail: "an event is not JSON", cause })).pipe(
    Result.flatMap((value) => {
      const entry = Json.single(value)
      return entry === undefined
        ? malformed("an event is not an object with one key whose value is an object")
        : Result.succeed({ event: entry[0], data: entry[1] })
    })
  )

const malformed = (detail: string) => Result.fail(new MessageDecodeError({ detail }))
