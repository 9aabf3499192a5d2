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
import type { Delivery } from "./Trigger.ts"

/**
 * What a Client asks (all but the last five) and a Worker says (the last five). The original knows the first four of a
 * Client; to the others it answers 400.
 *
 * @since 0.1.0
 */
export type FromClient = Data.TaggedEnum<{
  OpenChannel: { readonly channel: string }
  CloseChannel: { readonly channel: string }
  /**
   * `data` is the text of a JSON object; any other text counts as `{}`. `exceptSid` names a browser that is not to hear it,
   * and makes it a command of its own, so that a broker which does not know it refuses and does not tell everybody.
   */
  Broadcast: {
    readonly channel: string
    readonly event: string
    readonly data: string
    readonly exceptSid?: string | undefined
  }
  /** Asks for a single access token: for the user `uid`, for channels whose whole name matches `pattern` (RE2). */
  AccessToken: { readonly uid: string; readonly pattern: string }
  /** Many broadcasts at once: the text of a JSON array of `[channel, event, data]` or `[channel, event, data, exceptSid]`. */
  BroadcastAll: { readonly broadcasts: string }
  /** An event for one browser. `data` is the text of a JSON object. */
  SendTo: { readonly sid: string; readonly event: string; readonly data: string }
  /** Asks for the open channels whose name begins with `prefix`, a page of them: those after the place `after`. */
  ListChannels: { readonly prefix: string; readonly after: number }
  DescribeChannel: { readonly channel: string }
  /** Asks who is on a channel, a page of them: those after the place `after`. */
  ListSubscribers: { readonly channel: string; readonly after: number }
  /** Disconnects one browser, or all browsers of a user. */
  Disconnect: { readonly by: "sid" | "uid"; readonly who: string }
  /** Asks for the dead letters, a page of them: those after the place `after`. */
  ListDeadLetters: { readonly after: number }
  /** Makes an event of a dead letter again. No id is `*`, which stands for all. */
  ReplayDeadLetter: { readonly id: string }
  ReplayDeadLetters: {}
  /** Throws a dead letter away. */
  DiscardDeadLetter: { readonly id: string }
  DiscardDeadLetters: {}
  /** A worker is there and takes events. `options` are absent in the original's workers. */
  Ready: { readonly options?: ReadyOptions | undefined }
  /** A worker has handled the events of these deliveries, at most `maxAcknowledged` at once. */
  Acknowledge: { readonly deliveries: ReadonlyArray<string> }
  /**
   * A worker has not handled the event of this delivery. A `reason` says that its handler failed; an empty one gives the
   * event back, for whoever is next.
   */
  Return: { readonly delivery: string; readonly reason: string }
  Heartbeat: {}
  /** A worker leaves. */
  Quit: {}
}>

/** What is known of a command beside its frames. */
interface Description {
  /** The word on the wire. */
  readonly word: string
  /** What it is called where people see it: as the method of `Client` that sends it. */
  readonly name: string
  /** How many arguments stand before what may follow, such as a span. */
  readonly arguments: number
  /** Whether it may be carried out twice without harm, so that its response need not be recorded. */
  readonly isHarmless: boolean
  /** Whether what it does is to outlast the broker, so that its response waits until it is persisted. */
  readonly isPersisted: boolean
}

const describe = (
  word: string,
  name: string,
  count: number,
  { isHarmless = false, isPersisted = false }: { readonly isHarmless?: boolean; readonly isPersisted?: boolean } = {}
): Description => ({ word, name, arguments: count, isHarmless, isPersisted })

const descriptions: { readonly [Tag in FromClient["_tag"]]: Description } = {
  OpenChannel: describe("OC", "openChannel", 1, { isHarmless: true, isPersisted: true }),
  CloseChannel: describe("CC", "closeChannel", 1, { isPersisted: true }),
  Broadcast: describe("BC", "broadcast", 3),
  AccessToken: describe("AT", "requestSingleAccessToken", 2, { isPersisted: true }),
  BroadcastAll: describe("BA", "broadcastAll", 1),
  SendTo: describe("ST", "sendTo", 3),
  ListChannels: describe("LC", "channels", 2, { isHarmless: true }),
  DescribeChannel: describe("DC", "channel", 1, { isHarmless: true }),
  ListSubscribers: describe("LS", "subscribers", 2, { isHarmless: true }),
  Disconnect: describe("DB", "disconnect", 2),
  ListDeadLetters: describe("LD", "deadLetters", 1, { isHarmless: true }),
  ReplayDeadLetter: describe("RL", "replayDeadLetter", 1, { isPersisted: true }),
  ReplayDeadLetters: describe("RL", "replayDeadLetters", 1, { isPersisted: true }),
  DiscardDeadLetter: describe("DL", "discardDeadLetter", 1, { isPersisted: true }),
  DiscardDeadLetters: describe("DL", "discardDeadLetters", 1, { isPersisted: true }),
  Ready: describe("RD", "ready", 0),
  Acknowledge: describe("AK", "acknowledge", 0),
  Return: describe("NK", "return", 2),
  Heartbeat: describe("HB", "heartbeat", 0),
  Quit: describe("QT", "quit", 0)
}

/**
 * What a command is called where people see it, in spans and metrics: as the method of `Client` that sends it.
 *
 * @since 0.1.0
 */
export const nameOf = ({ _tag }: FromClient): string => descriptions[_tag].name

/**
 * How many arguments a command has before what may follow, such as a span.
 *
 * @since 0.1.0
 */
export const argumentsOf = (command: FromClient): number =>
  command._tag === "Broadcast" && command.exceptSid !== undefined ? 4 : descriptions[command._tag].arguments

/**
 * Whether a command may be carried out twice without harm, so that its response need not be recorded for retries.
 *
 * @since 0.1.0
 */
export const isHarmless = ({ _tag }: FromClient): boolean => descriptions[_tag].isHarmless

/**
 * Whether what a command does is to outlast the broker, so that its response waits until it is persisted.
 *
 * @since 0.1.0
 */
export const isPersisted = ({ _tag }: FromClient): boolean => descriptions[_tag].isPersisted

/**
 * What a worker says of itself when it is ready. That it says anything means that it understands the `Origin` of events.
 *
 * @since 0.1.0
 */
export interface ReadyOptions {
  /** Whether it takes lifecycle events, too. */
  readonly lifecycle: boolean
  /**
   * That it acknowledges what it has handled, and how many events it wants to have at a time that it has not; 0 for none.
   * Absent in workers that do not acknowledge: what is handed to them is theirs.
   */
  readonly prefetch?: number | undefined
  /** How often the handler of an event may fail; then it becomes a dead letter. Default 1. */
  readonly maxAttempts?: number | undefined
}

/**
 * How many deliveries are acknowledged at once.
 *
 * @since 0.1.0
 */
export const maxAcknowledged = 50

/**
 * Constructors and matchers of `FromClient`.
 *
 * @since 0.1.0
 */
export const FromClient = Data.taggedEnum<FromClient>()

/**
 * What the broker answers (the first four) and says to a Worker.
 *
 * @since 0.1.0
 */
export type FromServer = Data.TaggedEnum<{
  Ok: {}
  /** A success with something to tell, the text of a JSON value that is not empty. */
  Answer: { readonly json: string }
  AccessTokenIssued: { readonly token: string }
  /** An error's status code; `reason` says more, to those who asked for additions to WebRocket 0.3. */
  Failure: { readonly code: number; readonly reason?: string | undefined }
  Heartbeat: {}
  /** The broker goes away, or does not know this worker (any more): connect again. */
  Quit: {}
  /**
   * An event to handle: the text of `{"<event>": {…}}`. `origin` is the text of its `Origin`, absent in the original;
   * `delivery` is there where it is to be acknowledged.
   */
  Trigger: { readonly json: string; readonly origin?: string | undefined; readonly delivery?: Delivery | undefined }
}>

/**
 * Constructors and matchers of `FromServer`.
 *
 * @since 0.1.0
 */
export const FromServer = Data.taggedEnum<FromServer>()

/**
 * The frames of what a backend says. `traceparent` is the span it belongs to, as W3C trace context has it; it travels in
 * a frame after the arguments, which the original ignores.
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
  Acknowledge: ({ deliveries }) => ["AK", ...deliveries],
  Return: ({ delivery, reason }) => ["NK", delivery, reason],
  Heartbeat: () => ["HB"],
  Quit: () => ["QT"]
})

/**
 * What stands for all dead letters where an id may stand. A word, so that an id that somebody forgot is not all of them.
 *
 * @since 0.1.0
 */
export const allLetters = "*"

const ready = ({ prefetch, ...options }: ReadyOptions): Frames =>
  prefetch === undefined
    ? ["RD", JSON.stringify(options)]
    : ["RD", "ack", String(prefetch), JSON.stringify(options)]

/**
 * Reads what a backend says. Fails with what the broker answers: 400 for a missing or empty argument and for an unknown
 * command.
 *
 * @since 0.1.0
 */
export const decodeFromClient = (frames: Frames): Result.Result<FromClient, BadRequestError> => {
  const [command, first, second, third, fourth] = frames
  const need = (what: string) => Result.fail(new BadRequestError({ detail: `${command} needs ${what}` }))
  switch (command) {
    case "OC":
      return first ? Result.succeed(FromClient.OpenChannel({ channel: first })) : need("a channel")
    case "CC":
      return first ? Result.succeed(FromClient.CloseChannel({ channel: first })) : need("a channel")
    case "BC":
      return first && second && third !== undefined
        ? Result.succeed({ _tag: "Broadcast", channel: first, event: second, data: third })
        : need("a channel, an event and data")
    case "BX":
      return first && second && third && fourth
        ? Result.succeed(FromClient.Broadcast({ channel: first, event: second, data: third, exceptSid: fourth }))
        : need("a channel, an event, data and the sid of a browser")
    case "AT":
      return first && second
        ? Result.succeed(FromClient.AccessToken({ uid: first, pattern: second }))
        : need("a user id and a pattern")
    case "BA":
      return first ? Result.succeed(FromClient.BroadcastAll({ broadcasts: first })) : need("broadcasts")
    case "ST":
      return first && second && third !== undefined
        ? Result.succeed(FromClient.SendTo({ sid: first, event: second, data: third }))
        : need("the sid of a browser, an event and data")
    case "LC":
      return Result.succeed(FromClient.ListChannels({ prefix: first ?? "", after: place(second) }))
    case "DC":
      return first ? Result.succeed(FromClient.DescribeChannel({ channel: first })) : need("a channel")
    case "LS":
      return first
        ? Result.succeed(FromClient.ListSubscribers({ channel: first, after: place(second) }))
        : need("a channel")
    case "DB":
      return (first === "sid" || first === "uid") && second
        ? Result.succeed(FromClient.Disconnect({ by: first, who: second }))
        : need("sid or uid and which")
    case "LD":
      return Result.succeed(FromClient.ListDeadLetters({ after: place(first) }))
    case "RL":
      if (first === allLetters) return Result.succeed(FromClient.ReplayDeadLetters())
      return first ? Result.succeed(FromClient.ReplayDeadLetter({ id: first })) : need("an id, or * for all")
    case "DL":
      if (first === allLetters) return Result.succeed(FromClient.DiscardDeadLetters())
      return first ? Result.succeed(FromClient.DiscardDeadLetter({ id: first })) : need("an id, or * for all")
    case "RD":
      return Result.succeed(FromClient.Ready({ options: readyOptions(frames) }))
    case "AK":
      return first ? Result.succeed(FromClient.Acknowledge({ deliveries: frames.slice(1) })) : need("a delivery")
    case "NK":
      return first
        ? Result.succeed(FromClient.Return({ delivery: first, reason: second ?? "" }))
        : need("a delivery")
    case "HB":
      return Result.succeed(FromClient.Heartbeat())
    case "QT":
      return Result.succeed(FromClient.Quit())
    default:
      return Result.fail(new BadRequestError({ detail: "the command is unknown" }))
  }
}

/**
 * The span that a Client's request belongs to, where it says so.
 *
 * @since 0.1.0
 */
export const traceparentOf = (frames: Frames): string | undefined => {
  const more = extra(frames, arity[frames[0] ?? ""] ?? 0)
  return more === undefined ? undefined : text(Json.parseObjectOrEmpty(more).traceparent)
}

const arity: Record<string, number> = {
  BX: 4,
  ...Object.fromEntries(Object.values(descriptions).map((description) => [description.word, description.arguments]))
}

// What was added to the original's commands is a JSON object in a frame of its own, after the arguments.
const extra = (frames: Frames, arity: number): string | undefined =>
  frames.length <= arity + 1 ? undefined : frames.find((frame, index) => index > arity && frame.startsWith("{"))

const readyOptions = (frames: Frames): ReadyOptions | undefined => {
  const options = extra(frames, 0)
  const acknowledges = frames[1] === "ack"
  if (options === undefined && !acknowledges) return undefined
  const { lifecycle, maxAttempts } = Json.parseObjectOrEmpty(options ?? "")
  return {
    lifecycle: lifecycle === true,
    ...acknowledges && { prefetch: Math.max(0, place(frames[2])) },
    ...typeof maxAttempts === "number" && { maxAttempts }
  }
}

const place = (text: string | undefined): number => {
  const number = Number(text)
  return Number.isSafeInteger(number) ? number : 0
}

const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

/**
 * The frames of what the broker says.
 *
 * @since 0.1.0
 */
export const encodeFromServer: (command: FromServer) => Frames = FromServer.$match({
  Ok: () => ["OK"],
  Answer: ({ json }) => ["OK", json],
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
 * Reads what the broker says.
 *
 * @since 0.1.0
 */
export const decodeFromServer = (frames: Frames): Result.Result<FromServer, MessageDecodeError> => {
  const [command, first] = frames
  switch (command) {
    case "OK":
      return first ? Result.succeed(FromServer.Answer({ json: first })) : ok
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
  id === undefined || id === "" || id.startsWith("{") ? undefined : { id, attempt: Math.max(1, place(attempt)) }

const ok = Result.succeed(FromServer.Ok())

const malformed = (detail: string) => Result.fail(new MessageDecodeError({ detail }))
