/**
 * The commands between backends and brokers, as values. Each command of a backend is described once, in one table: its word,
 * its arguments, and what the broker and the Client must know of it. `CommandCodec` reads and writes them by that table.
 *
 * `FromClient` are the commands of Clients and Workers, `FromServer` those of the broker. (Source: WebRocket 0.3, backend
 * protocol.)
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import * as Record from "effect/Record"
import { type Argument, cursor, data, isWithin, oneOf, optionalText, text } from "./Argument.ts"
import * as Grant from "./Grant.ts"
import * as Json from "./Json.ts"
import { type Delivery, maxDedupeKey, maxDelay, maxTimeout } from "./Trigger.ts"

/**
 * A request of a Client (all but the last six) or a command of a Worker (the last six). The original broker knows the first
 * four; it responds to the other requests with 400.
 *
 * @since 0.1.0
 */
export type FromClient = Data.TaggedEnum<{
  OpenChannel: { readonly channel: string }
  CloseChannel: { readonly channel: string }
  /**
   * `data` is the text of a JSON object; any other text counts as `{}`. `exceptSid` is the browser that does not receive the
   * broadcast. It makes this another command on the wire, so that a broker that does not know it rejects it and does not
   * broadcast to everybody.
   */
  Broadcast: {
    readonly channel: string
    readonly event: string
    readonly data: string
    readonly exceptSid?: string | undefined
  }
  /** Requests a single access token for the user `uid`, for channels whose whole name matches `pattern` (RE2). */
  AccessToken: { readonly uid: string; readonly pattern: string }
  /**
   * The same for a grant with options. It is another command on the wire, so that a broker that does not know them rejects it
   * and does not issue a token that grants more.
   */
  AccessTokenWith: { readonly grant: Grant.Grant }
  /** Many broadcasts at once: the text of a JSON array of `[channel, event, data]` or `[channel, event, data, exceptSid]`. */
  BroadcastAll: { readonly broadcasts: string }
  /** An event for one browser. `data` is the text of a JSON object. */
  SendTo: { readonly sid: string; readonly event: string; readonly data: string }
  /** An event for all browsers of a user. `data` is the text of a JSON object. */
  SendToUser: { readonly uid: string; readonly event: string; readonly data: string }
  /** Subscribes the browsers of a user to a channel, those of version 1, or unsubscribes all its browsers. */
  SubscribeUser: { readonly uid: string; readonly channel: string }
  UnsubscribeUser: { readonly uid: string; readonly channel: string }
  /** Lists the open channels whose name begins with `prefix`, a part of them: those after the cursor `after`. */
  ListChannels: { readonly prefix: string; readonly after: number }
  DescribeChannel: { readonly channel: string }
  /** Lists the subscribers of a channel, a part of them: those after the cursor `after`. */
  ListSubscribers: { readonly channel: string; readonly after: number }
  /**
   * Lists the broadcasts that a channel retains, a part of them: those after the position `after`, at most `limit`; 0 for as
   * many as a message has.
   */
  ListHistory: { readonly channel: string; readonly after: number; readonly limit: number }
  /** Disconnects one browser, or all browsers of a user. */
  Disconnect: { readonly by: "sid" | "uid"; readonly who: string }
  /** Disconnects all browsers of a user, and revokes the user's unused single access tokens. */
  DisconnectAndRevoke: { readonly uid: string }
  /** Lists the dead letters, a part of them: those after the cursor `after`. */
  ListDeadLetters: { readonly after: number }
  /** Replays a dead letter. No id is `*`, which stands for all. */
  ReplayDeadLetter: { readonly id: string }
  ReplayDeadLetters: {}
  /** Removes a dead letter. */
  DiscardDeadLetter: { readonly id: string }
  DiscardDeadLetters: {}
  /**
   * An event whose handler's result is the response. `data` is the text of a JSON object; any other text counts as `{}`. The
   * broker responds with `Response.Requested`.
   */
  Request: { readonly event: string; readonly data: string; readonly options: RequestOptions }
  /** An event for a worker. `data` is the text of a JSON object; any other text counts as `{}`. */
  Trigger: { readonly event: string; readonly data: string; readonly options: TriggerOptions }
  /** A worker is ready for events. The original's workers have no `options`. */
  Ready: { readonly options?: ReadyOptions | undefined }
  /** A worker has handled the events of these deliveries, at most `maxAcknowledged` at once. */
  Ack: { readonly deliveries: ReadonlyArray<string> }
  /**
   * A worker has not handled the event of this delivery: its handler failed for this `reason`. An empty `reason` releases the
   * event unhandled, for the next worker.
   */
  Nack: { readonly delivery: string; readonly reason: string }
  /**
   * A worker has handled the request of this delivery, which acks it. `json` is the JSON of what the handler returned (`ok`)
   * or of its declared error.
   */
  Respond: { readonly delivery: string; readonly outcome: "ok" | "error"; readonly json: string }
  Heartbeat: {}
  /** A worker leaves. */
  Quit: {}
}>

/**
 * The options of a request.
 *
 * @since 0.1.0
 */
export interface RequestOptions {
  /** After how many milliseconds the broker responds with 459; default `defaultTimeout`, at most `maxTimeout`. */
  readonly timeout?: number | undefined
}

/**
 * The options of an event that a backend triggers.
 *
 * @since 0.1.0
 */
export interface TriggerOptions {
  /** After how many milliseconds the event is delivered for the first time; default 0, at most `maxDelay`. */
  readonly delay?: number | undefined
  /** While an event with this key is queued or in flight, another one with it is not enqueued; at most 255 characters. */
  readonly dedupeKey?: string | undefined
}

/** The arguments of a command by their fields, in the order of their frames. */
type Arguments<Tag extends FromClient["_tag"]> = {
  readonly [Field in Exclude<keyof Tagged<Tag>, "_tag">]: Argument<Tagged<Tag>[Field]>
}
type Tagged<Tag extends FromClient["_tag"]> = Extract<FromClient, { readonly _tag: Tag }>

/** The commands whose frames are not one for each field. */
type Irregular = "Broadcast" | "Ready" | "Ack"

/**
 * What is known of a command.
 *
 * @since 0.1.0
 */
export interface Description {
  /** The word on the wire. */
  readonly word: string
  /** Its name in spans and metrics: that of the method of `Client` that sends it. */
  readonly name: string
  /** How many arguments it has, before optional frames such as a span. */
  readonly count: number
  /** Its arguments, or those that it always has; `undefined` if `CommandCodec` reads and writes it in its own way. */
  readonly arguments: { readonly [field: string]: Argument<unknown> } | ReadonlyArray<string> | undefined
  /** Whether it is safe to execute twice, so that its response need not be cached for retries. */
  readonly isIdempotent: boolean
  /** Whether its effect must survive a restart of the broker, so that its response waits until it is persisted. */
  readonly isPersisted: boolean
}

interface Traits {
  readonly isIdempotent?: boolean
  readonly isPersisted?: boolean
}

/** A command as the table has it; of those whose frames are not one for each field the number of their arguments. */
type Row<Tag extends FromClient["_tag"]> = readonly [
  word: string,
  name: string,
  fields: Tag extends Irregular ? number : Arguments<Tag> | typeof allLetters,
  traits?: Traits
]

const requestOptions: Argument<RequestOptions> = {
  needed: `a timeout of 1 to ${maxTimeout} milliseconds`,
  read: (frame = "") => {
    const { timeout } = Json.parseObjectOrEmpty(frame)
    return timeout === undefined ? {} : isWithin(timeout, 1, maxTimeout) ? { timeout } : undefined
  },
  write: (options) => JSON.stringify(options)
}

const triggerOptions: Argument<TriggerOptions> = {
  needed: `a delay of 0 to ${maxDelay} milliseconds and a dedupeKey of 1 to ${maxDedupeKey} characters, if any`,
  read: (frame = "") => {
    const { dedupeKey, delay } = Json.parseObjectOrEmpty(frame)
    if (delay !== undefined && !isWithin(delay, 0, maxDelay)) return undefined
    if (dedupeKey === undefined) return delay === undefined ? {} : { delay }
    return typeof dedupeKey === "string" && isWithin(dedupeKey.length, 1, maxDedupeKey)
      ? { ...delay !== undefined && { delay }, dedupeKey }
      : undefined
  },
  write: (options) => JSON.stringify(options)
}

const grant: Argument<Grant.Grant> = {
  needed: `an object with uid and pattern, and maybe channels (${Grant.maxChannels} at most), info (an object of ` +
    `${Grant.maxInfoSize} bytes at most) and expiresIn (1 to ${Grant.maxExpiresIn} milliseconds)`,
  read: (frame = "") => Grant.decode(frame),
  write: Grant.encode
}

const idempotent = { isIdempotent: true }
const persisted = { isPersisted: true }

/**
 * Stands for all dead letters where an id is expected. A word of its own, so that a missing id does not mean all of them.
 *
 * @since 0.1.0
 */
export const allLetters = "*"

const channel = text("a channel")
const uid = text("a user id")
const event = text("an event")
const delivery = text("a delivery")
const id = text(`an id, or ${allLetters} for all`)

const rows: { readonly [Tag in FromClient["_tag"]]: Row<Tag> } = {
  OpenChannel: ["OC", "openChannel", { channel }, { ...idempotent, ...persisted }],
  CloseChannel: ["CC", "closeChannel", { channel }, persisted],
  Broadcast: ["BC", "broadcast", 3],
  AccessToken: ["AT", "requestSingleAccessToken", { uid, pattern: text("a pattern") }, persisted],
  AccessTokenWith: ["AX", "requestSingleAccessToken", { grant }, persisted],
  BroadcastAll: ["BA", "broadcastAll", { broadcasts: text("broadcasts") }],
  SendTo: ["ST", "sendTo", { sid: text("the sid of a browser"), event, data }],
  SendToUser: ["TU", "sendToUser", { uid, event, data }],
  SubscribeUser: ["SU", "subscribe", { uid, channel }],
  UnsubscribeUser: ["UU", "unsubscribe", { uid, channel }],
  ListChannels: ["LC", "channels", { prefix: optionalText, after: cursor }, idempotent],
  DescribeChannel: ["DC", "channel", { channel }, idempotent],
  ListSubscribers: ["LS", "subscribers", { channel, after: cursor }, idempotent],
  ListHistory: ["LH", "history", { channel, after: cursor, limit: cursor }, idempotent],
  Disconnect: ["DB", "disconnect", { by: oneOf("sid", "uid"), who: text("which") }],
  DisconnectAndRevoke: ["DX", "disconnect", { uid }, persisted],
  ListDeadLetters: ["LD", "deadLetters.list", { after: cursor }, idempotent],
  ReplayDeadLetters: ["RL", "deadLetters.replayAll", allLetters, persisted],
  ReplayDeadLetter: ["RL", "deadLetters.replay", { id }, persisted],
  DiscardDeadLetters: ["DL", "deadLetters.discardAll", allLetters, persisted],
  DiscardDeadLetter: ["DL", "deadLetters.discard", { id }, persisted],
  Request: ["RQ", "request", { event, data, options: requestOptions }],
  Trigger: ["TG", "trigger", { event, data, options: triggerOptions }, persisted],
  Ready: ["RD", "ready", 0],
  Ack: ["AK", "ack", 0],
  Nack: ["NK", "nack", { delivery, reason: optionalText }],
  Respond: ["RP", "respond", { delivery, outcome: oneOf("ok", "error"), json: text("a response") }],
  Heartbeat: ["HB", "heartbeat", {}],
  Quit: ["QT", "quit", {}]
}

const describe = ([word, name, fields, traits]: Row<FromClient["_tag"]>): Description => ({
  word,
  name,
  count: typeof fields === "number" ? fields : Object.keys(fields).length,
  arguments: typeof fields === "number"
    ? undefined
    : typeof fields === "string"
    ? [fields]
    : fields as Exclude<Description["arguments"], ReadonlyArray<string> | undefined>,
  isIdempotent: traits?.isIdempotent === true,
  isPersisted: traits?.isPersisted === true
})

/**
 * The commands of backends. Where two have the same word, the one without fields is read first.
 *
 * @since 0.1.0
 */
export const descriptions: { readonly [Tag in FromClient["_tag"]]: Description } = Record.map(rows, describe)

/**
 * How many arguments the command with this word has on the wire; 0 for an unknown word.
 *
 * @since 0.1.0
 */
export const argumentsOfWord = (word: string | undefined): number => counts.get(word ?? "") ?? 0

const counts: ReadonlyMap<string, number> = new Map([
  ["BX", 4],
  ...Object.values(descriptions).map(({ count, word }) => [word, count] as const)
])

/**
 * How many arguments a command has, before optional frames such as a span.
 *
 * @since 0.1.0
 */
export const argumentsOf = (command: FromClient): number =>
  command._tag === "Broadcast" && command.exceptSid !== undefined ? 4 : descriptions[command._tag].count

/**
 * The options of a worker that is ready. A worker that sends any understands the `Origin` of events.
 *
 * @since 0.1.0
 */
export interface ReadyOptions {
  /** Whether it takes lifecycle events, too. */
  readonly lifecycle: boolean
  /** Whether it responds to requests. Only a worker that acks gets them. */
  readonly responses?: boolean | undefined
  /**
   * The worker acks events, and wants at most this many unacked ones; 0 for none. Absent in workers that do not ack: an event
   * sent to them counts as handled.
   */
  readonly prefetch?: number | undefined
  /** After how many failures of its handler an event becomes a dead letter. Default 1. */
  readonly maxAttempts?: number | undefined
}

/**
 * How many deliveries one `Ack` has at most.
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
 * A response of the broker (the first four) or a command to a Worker.
 *
 * @since 0.1.0
 */
export type FromServer = Data.TaggedEnum<{
  Ok: {}
  /** A success with a value, the text of its JSON, never empty. */
  Response: { readonly json: string }
  AccessTokenIssued: { readonly token: string }
  /** The status code of an error, and a `reason` for peers that support our extensions of WebRocket 0.3. */
  Failure: { readonly code: number; readonly reason?: string | undefined }
  Heartbeat: {}
  /** The broker shuts down, or does not know this worker (any more). The worker should reconnect. */
  Quit: {}
  /**
   * An event to handle: the text of `{"<event>": {…}}`. `origin` is the text of its `Origin`, absent in the original;
   * `delivery` is present if the event must be acked.
   */
  Trigger: { readonly json: string; readonly origin?: string | undefined; readonly delivery?: Delivery | undefined }
}>

/**
 * Constructors and matchers of `FromServer`.
 *
 * @since 0.1.0
 */
export const FromServer = Data.taggedEnum<FromServer>()
