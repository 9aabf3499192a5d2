/**
 * The frames of commands: written, and read from any input without throwing.
 *
 * Frames here have no identity and no envelope; the transport adds them. Unknown frames after the arguments are ignored.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import { allLetters, argumentsOfWord, FromClient, FromServer, type ReadyOptions } from "./Command.ts"
import type { Frames } from "./Frame.ts"
import * as Json from "./Json.ts"
import { BadRequestError, MessageDecodeError } from "./KosmonautError.ts"
import type { Delivery } from "./Trigger.ts"

/**
 * The frames of a backend's command. `traceparent` is its span, as W3C trace context has it; it is sent in a frame after the
 * arguments, which the original ignores.
 *
 * @since 0.1.0
 */
export const encodeFromClient = (command: FromClient, traceparent?: string): Frames =>
  traceparent === undefined ? frames(command) : [...frames(command), JSON.stringify({ traceparent })]

const frames: (command: FromClient) => Frames = FromClient.$match({
  OpenChannel: ({ channel }) => ["OC", channel],
  CloseChannel: ({ channel }) => ["CC", channel],
  Broadcast: ({ channel, data, event, exceptSid }) =>
    exceptSid === undefined ? ["BC", channel, event, data] : ["BX", channel, event, data, exceptSid],
  AccessToken: ({ pattern, uid }) => ["AT", uid, pattern],
  BroadcastAll: ({ broadcasts }) => ["BA", broadcasts],
  SendTo: ({ data, event, sid }) => ["ST", sid, event, data],
  ListChannels: ({ after, prefix }) => ["LC", prefix, String(after)],
  DescribeChannel: ({ channel }) => ["DC", channel],
  ListSubscribers: ({ after, channel }) => ["LS", channel, String(after)],
  Disconnect: ({ by, who }) => ["DB", by, who],
  ListDeadLetters: ({ after }) => ["LD", String(after)],
  ReplayDeadLetter: ({ id }) => ["RL", id],
  ReplayDeadLetters: () => ["RL", allLetters],
  DiscardDeadLetter: ({ id }) => ["DL", id],
  DiscardDeadLetters: () => ["DL", allLetters],
  Ready: ({ options }) => options === undefined ? ["RD"] : ready(options),
  Ack: ({ deliveries }) => ["AK", ...deliveries],
  Nack: ({ delivery, reason }) => ["NK", delivery, reason],
  Heartbeat: () => ["HB"],
  Quit: () => ["QT"]
})

const ready = ({ prefetch, ...options }: ReadyOptions): Frames =>
  prefetch === undefined
    ? ["RD", JSON.stringify(options)]
    : ["RD", "ack", String(prefetch), JSON.stringify(options)]

/**
 * Reads a backend's command. Fails with the broker's response: 400 for a missing or empty argument and for an unknown
 * command.
 *
 * @since 0.1.0
 */
export const decodeFromClient = (frames: Frames): Result.Result<FromClient, BadRequestError> =>
  readers.get(frames[0] ?? "")?.(frames) ?? unknown

type Reader = (frames: Frames) => Result.Result<FromClient, BadRequestError>

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  // Written without the constructor: this is the hot path of every Client.
  ["BC", ([word, channel, event, data]) =>
    channel && event && data !== undefined
      ? Result.succeed({ _tag: "Broadcast", channel, event, data })
      : missing(word, "a channel, an event and data")],
  ["BX", ([word, channel, event, data, exceptSid]) =>
    channel && event && data && exceptSid
      ? Result.succeed(FromClient.Broadcast({ channel, event, data, exceptSid }))
      : missing(word, "a channel, an event, data and the sid of a browser")],
  [
    "BA",
    ([word, broadcasts]) =>
      broadcasts ? Result.succeed(FromClient.BroadcastAll({ broadcasts })) : missing(word, "broadcasts")
  ],
  [
    "OC",
    ([word, channel]) => channel ? Result.succeed(FromClient.OpenChannel({ channel })) : missing(word, "a channel")
  ],
  [
    "CC",
    ([word, channel]) => channel ? Result.succeed(FromClient.CloseChannel({ channel })) : missing(word, "a channel")
  ],
  ["AT", ([word, uid, pattern]) =>
    uid && pattern
      ? Result.succeed(FromClient.AccessToken({ uid, pattern }))
      : missing(word, "a user id and a pattern")],
  ["ST", ([word, sid, event, data]) =>
    sid && event && data !== undefined
      ? Result.succeed(FromClient.SendTo({ sid, event, data }))
      : missing(word, "the sid of a browser, an event and data")],
  ["LC", ([_, prefix = "", after]) => Result.succeed(FromClient.ListChannels({ prefix, after: integer(after) }))],
  [
    "DC",
    ([word, channel]) => channel ? Result.succeed(FromClient.DescribeChannel({ channel })) : missing(word, "a channel")
  ],
  ["LS", ([word, channel, after]) =>
    channel
      ? Result.succeed(FromClient.ListSubscribers({ channel, after: integer(after) }))
      : missing(word, "a channel")],
  ["DB", ([word, by, who]) =>
    (by === "sid" || by === "uid") && who
      ? Result.succeed(FromClient.Disconnect({ by, who }))
      : missing(word, "sid or uid and which")],
  ["LD", ([_, after]) => Result.succeed(FromClient.ListDeadLetters({ after: integer(after) }))],
  ["RL", ([word, id]) =>
    id === allLetters
      ? Result.succeed(FromClient.ReplayDeadLetters())
      : id
      ? Result.succeed(FromClient.ReplayDeadLetter({ id }))
      : missing(word, "an id, or * for all")],
  ["DL", ([word, id]) =>
    id === allLetters
      ? Result.succeed(FromClient.DiscardDeadLetters())
      : id
      ? Result.succeed(FromClient.DiscardDeadLetter({ id }))
      : missing(word, "an id, or * for all")],
  ["RD", (frames) => Result.succeed(FromClient.Ready({ options: readyOptions(frames) }))],
  [
    "AK",
    ([word, ...deliveries]) =>
      deliveries[0] ? Result.succeed(FromClient.Ack({ deliveries })) : missing(word, "a delivery")
  ],
  [
    "NK",
    ([word, delivery, reason = ""]) =>
      delivery ? Result.succeed(FromClient.Nack({ delivery, reason })) : missing(word, "a delivery")
  ],
  ["HB", () => Result.succeed(FromClient.Heartbeat())],
  ["QT", () => Result.succeed(FromClient.Quit())]
])

const missing = (word: string | undefined, what: string) =>
  Result.fail(new BadRequestError({ detail: `${word} needs ${what}` }))

const unknown = Result.fail(new BadRequestError({ detail: "the command is unknown" }))

/**
 * The span of a Client's request, if it sent one.
 *
 * @since 0.1.0
 */
export const traceparentOf = (frames: Frames): string | undefined => {
  const more = extra(frames, argumentsOfWord(frames[0]))
  return more === undefined ? undefined : text(Json.parseObjectOrEmpty(more).traceparent)
}

// Our additions to the original's commands are in a JSON object in a frame of its own, after the arguments.
const extra = (frames: Frames, arity: number): string | undefined =>
  frames.length <= arity + 1 ? undefined : frames.find((frame, index) => index > arity && frame.startsWith("{"))

const readyOptions = (frames: Frames): ReadyOptions | undefined => {
  const options = extra(frames, 0)
  const acknowledges = frames[1] === "ack"
  if (options === undefined && !acknowledges) return undefined
  const { lifecycle, maxAttempts } = Json.parseObjectOrEmpty(options ?? "")
  return {
    lifecycle: lifecycle === true,
    ...acknowledges && { prefetch: Math.max(0, integer(frames[2])) },
    ...typeof maxAttempts === "number" && { maxAttempts }
  }
}

const integer = (text: string | undefined): number => {
  const number = Number(text)
  return Number.isSafeInteger(number) ? number : 0
}

const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

/**
 * The frames of a broker's command.
 *
 * @since 0.1.0
 */
export const encodeFromServer: (command: FromServer) => Frames = FromServer.$match({
  Ok: () => ["OK"],
  Response: ({ json }) => ["OK", json],
  AccessTokenIssued: ({ token }) => ["AT", token],
  Failure: ({ code, reason }) =>
    reason === undefined ? ["ER", String(code)] : ["ER", String(code), JSON.stringify({ reason })],
  Heartbeat: () => ["HB"],
  Quit: () => ["QT"],
  Trigger: ({ delivery, json, origin }) => encodeTrigger(json, origin, delivery)
})

/**
 * The frames of a `Trigger`, without the value.
 *
 * @since 0.1.0
 */
export const encodeTrigger = (json: string, origin: string | undefined, delivery: Delivery | undefined): Frames => {
  const frames = delivery === undefined ? ["TR", json] : ["TR", json, delivery.id, String(delivery.attempt)]
  if (origin !== undefined) frames.push(origin)
  return frames
}

/**
 * Reads a broker's command. Fails if it is unknown or incomplete.
 *
 * @since 0.1.0
 */
export const decodeFromServer = (frames: Frames): Result.Result<FromServer, MessageDecodeError> => {
  const [command, first] = frames
  switch (command) {
    case "OK":
      return first ? Result.succeed(FromServer.Response({ json: first })) : ok
    case "AT":
      return first ? Result.succeed(FromServer.AccessTokenIssued({ token: first })) : malformed("AT has no token")
    case "ER":
      return first !== undefined && /^\d{3}$/.test(first)
        ? Result.succeed(FromServer.Failure({ code: Number(first), ...reasonIn(frames) }))
        : malformed("ER has no status code")
    case "HB":
      return Result.succeed(FromServer.Heartbeat())
    case "QT":
      return Result.succeed(FromServer.Quit())
    case "TR":
      return first !== undefined
        ? Result.succeed(FromServer.Trigger({ json: first, origin: extra(frames, 1), delivery: deliveryIn(frames) }))
        : malformed("TR has no event")
    default:
      return malformed(`the broker's command ${JSON.stringify(String(command).slice(0, 20))} is unknown`)
  }
}

const reasonIn = (frames: Frames): { readonly reason: string } | undefined => {
  const more = extra(frames, 1)
  const reason = more === undefined ? undefined : text(Json.parseObjectOrEmpty(more)["reason"])
  return reason === undefined ? undefined : { reason }
}

const deliveryIn = ([_, __, id, attempt]: Frames): Delivery | undefined =>
  id === undefined || id === "" || id.startsWith("{") ? undefined : { id, attempt: Math.max(1, integer(attempt)) }

const ok = Result.succeed(FromServer.Ok())

const malformed = (detail: string) => Result.fail(new MessageDecodeError({ detail }))
