/**
 * What browsers send to the broker over WebSocket: JSON objects with exactly one key, the event, whose value is an object.
 * (Source: WebRocket 0.3, frontend protocol.)
 *
 * `read` finds the shape and `interpret` the meaning; both fail with the protocol's 400 and a reason. Data of users are not
 * kept as values: they stay the text that came.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Json from "./Json.ts"
import * as JsonText from "./JsonText.ts"
import { BadRequestError } from "./KosmonautError.ts"
import { defaultTimeout, maxDedupeKey, maxTimeout } from "./Trigger.ts"

/**
 * What a browser sends. `data` that are missing or null have become `{}`. Every message may have an `id`, which the
 * response to it repeats.
 *
 * @since 0.1.0
 */
export type FromBrowser = Data.TaggedEnum<{
  /**
   * Presents a single access token. `client` is what the browser's library calls itself on all its connections, so that a
   * trigger or a request that it sends again is recognized.
   */
  Authenticate: { readonly token: string; readonly client?: string | undefined; readonly id?: Id | undefined }
  /** The same with a stateless token, which was signed and not issued by the broker. */
  AuthenticateByJwt: { readonly jwt: string; readonly client?: string | undefined; readonly id?: Id | undefined }
  Subscribe: {
    readonly channel: string
    readonly hidden: boolean
    readonly data: JsonText.ObjectText
    /** Version 1, channels with history: what was broadcast since then is received first. */
    readonly since?: Since | undefined
    /** Version 1, channels with history: how many of the last broadcasts are received first. */
    readonly rewind?: number | undefined
    readonly id?: Id | undefined
  }
  Unsubscribe: { readonly channel: string; readonly data: JsonText.ObjectText; readonly id?: Id | undefined }
  /** Version 1: changes the data of the browser's subscription, which the others on a presence channel see. */
  Update: { readonly channel: string; readonly data: JsonText.ObjectText; readonly id?: Id | undefined }
  /** Requests the members of a presence channel that come after the cursor `after`, default 0: from the first. */
  Members: { readonly channel: string; readonly after: number; readonly id?: Id | undefined }
  /** `trigger` names an event that a worker gets as well. An `id` asks for a confirmation, here and in `Trigger`. */
  Broadcast: {
    readonly channel: string
    readonly event: string
    readonly data: JsonText.ObjectText
    readonly trigger: string | undefined
    readonly id?: Id | undefined
  }
  Trigger: {
    readonly event: string
    readonly data: JsonText.ObjectText
    /** Version 1: while an event of the same user with this key is queued or in flight, another one is not queued. */
    readonly dedupeKey?: string | undefined
    /** Version 1: the span that it belongs to, as W3C trace context has it. */
    readonly traceparent?: string | undefined
    readonly id?: Id | undefined
  }
  /** An event whose handler's result is the response, which is no longer useful after `timeout` milliseconds. */
  Request: {
    readonly event: string
    readonly data: JsonText.ObjectText
    readonly timeout: number
    /** The span that it belongs to. */
    readonly traceparent?: string | undefined
    readonly id: Id
  }
  /** The browser no longer needs the response to the request with this id. */
  Cancel: { readonly id: Id }
  Ping: { readonly id?: Id | undefined }
  Close: {}
}>

/**
 * Where a browser was on a channel with history when it was subscribed last.
 *
 * @since 0.1.0
 */
export interface Since {
  /** As `:subscribed` had it, at most 100 characters. */
  readonly epoch: string
  /** The last position that it knows. */
  readonly position: number
  /** The name that its connection had. Broadcasts that were not for that connection are left out. */
  readonly sid?: string | undefined
}

/**
 * What a browser calls one of its messages by, to learn what has become of it: a text of at most 100 characters, or a safe
 * integer.
 *
 * @since 0.1.0
 */
export type Id = string | number

/**
 * How many characters the `client` of an `auth` may have.
 *
 * @since 0.1.0
 */
export const maxClient = 100

/**
 * How many characters the `jwt` of an `auth` may have.
 *
 * @since 0.1.0
 */
export const maxJwt = 8192

/**
 * Constructors and matchers of `FromBrowser`.
 *
 * @since 0.1.0
 */
export const FromBrowser = Data.taggedEnum<FromBrowser>()

/**
 * A message that is JSON of the protocol's shape, before its meaning is known.
 *
 * @since 0.1.0
 */
export interface Envelope {
  /** Its one key. */
  readonly name: string
  /** The value of it. */
  readonly payload: Json.JsonObject
  /** The whole message. */
  readonly text: string
}

/**
 * Reads a browser's message; a binary one is never valid.
 *
 * @since 0.1.0
 */
export const read = (message: string | Uint8Array): Result.Result<Envelope, BadRequestError> => {
  if (typeof message !== "string") return malformed("a message is text, not binary")
  if (!message.isWellFormed()) return notUnicode
  return envelopeOf(message, Result.getOrUndefined(Json.parse(message)))
}

const envelopeOf = (text: string, value: unknown): Result.Result<Envelope, BadRequestError> => {
  const entry = Json.single(value)
  return entry === undefined
    ? malformed("a message is a JSON object with one key whose value is an object")
    : Result.succeed({ name: entry[0], payload: entry[1], text })
}

/**
 * How many messages a batch may have.
 *
 * @since 0.1.0
 */
export const maxBatch = 256

/**
 * The messages in a batch, a JSON array of at most `maxBatch`, each as `read` gives it; `undefined` where the message is no array.
 *
 * @since 0.1.0
 */
export const batch = (
  message: string | Uint8Array
): Result.Result<ReadonlyArray<Result.Result<Envelope, BadRequestError>>, BadRequestError> | undefined => {
  if (typeof message !== "string" || !/^[ \n\r\t]*\[/.test(message)) return undefined
  if (!message.isWellFormed()) return notUnicode
  const messages = Result.getOrUndefined(Json.parse(message, Json.maxDepth + 1))
  if (!Array.isArray(messages)) return malformed("a batch is a JSON array of messages")
  if (messages.length > maxBatch) return malformed(`a batch has at most ${maxBatch} messages`)
  const texts = JsonText.elements(message)
  return Result.succeed(messages.map((value, index) => envelopeOf(texts[index]!, value)))
}

/**
 * The meaning of a message.
 *
 * @since 0.1.0
 */
export const interpret = (envelope: Envelope): Result.Result<FromBrowser, BadRequestError> => {
  const { name, payload } = envelope
  const { id } = payload
  if (id !== undefined && !isId(id)) return malformed("an id is a text of at most 100 characters or a safe integer")
  return readers.get(name)?.(envelope, id === undefined ? noId : { id }) ?? malformed("the event is unknown")
}

/**
 * `read` and `interpret`.
 *
 * @since 0.1.0
 */
export const decode = (message: string | Uint8Array): Result.Result<FromBrowser, BadRequestError> =>
  Result.flatMap(read(message), interpret)

type Reader = (envelope: Envelope, id: { readonly id?: Id }) => Result.Result<FromBrowser, BadRequestError>

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ["auth", ({ payload }, id) => {
    const { client } = payload
    const [token, jwt] = [text(payload.token), text(payload.jwt)]
    if ((token === undefined) === (jwt === undefined)) return malformed("auth needs a token or a jwt")
    if (jwt !== undefined && jwt.length > maxJwt) return malformed(`a jwt has at most ${maxJwt} characters`)
    if (client !== undefined && !(typeof client === "string" && client !== "" && client.length <= maxClient)) {
      return malformed(`a client is a text of at most ${maxClient} characters`)
    }
    const rest = client === undefined ? id : { client, ...id }
    return Result.succeed(
      jwt === undefined
        ? FromBrowser.Authenticate({ token: token!, ...rest })
        : FromBrowser.AuthenticateByJwt({ jwt, ...rest })
    )
  }],
  ["subscribe", (envelope, id) => {
    const channel = text(envelope.payload.channel)
    if (channel === undefined) return malformed("subscribe needs a channel")
    const data = dataOf(envelope)
    if (data === undefined) return noObject
    const { hidden, rewind, since } = envelope.payload
    const subscribe = { channel, hidden: hidden === true, data, ...id }
    if (since !== undefined) {
      return isSince(since)
        ? Result.succeed(FromBrowser.Subscribe({ ...subscribe, since }))
        : malformed("since has the epoch and the position of the last :subscribed or :at, and maybe the sid")
    }
    if (rewind === undefined) return Result.succeed(FromBrowser.Subscribe(subscribe))
    return isPosition(rewind)
      ? Result.succeed(FromBrowser.Subscribe({ ...subscribe, rewind }))
      : malformed("rewind is a whole number, 0 or more")
  }],
  ["unsubscribe", (envelope, id) => {
    const channel = text(envelope.payload.channel)
    if (channel === undefined) return malformed("unsubscribe needs a channel")
    const data = dataOf(envelope)
    return data === undefined ? noObject : Result.succeed(FromBrowser.Unsubscribe({ channel, data, ...id }))
  }],
  ["update", (envelope, id) => {
    const channel = text(envelope.payload.channel)
    if (channel === undefined) return malformed("update needs a channel")
    const data = dataOf(envelope)
    return data === undefined ? noObject : Result.succeed(FromBrowser.Update({ channel, data, ...id }))
  }],
  ["members", ({ payload }, id) => {
    const channel = text(payload.channel)
    const after = payload.after ?? 0
    if (channel === undefined) return malformed("members needs a channel")
    return typeof after === "number" && Number.isSafeInteger(after)
      ? Result.succeed(FromBrowser.Members({ channel, after, ...id }))
      : malformed("after is what the last response called next")
  }],
  ["broadcast", (envelope, id) => {
    const channel = text(envelope.payload.channel)
    const event = text(envelope.payload.event)
    const trigger = triggerOf(envelope.payload.trigger)
    if (trigger === noName) return malformed("the trigger is not an event's name")
    if (isReserved(event) || isReserved(trigger)) return malformed(reserved)
    if (channel === undefined || event === undefined) return malformed("broadcast needs a channel and an event")
    const data = dataOf(envelope)
    return data === undefined
      ? noObject
      : Result.succeed(FromBrowser.Broadcast({ channel, event, data, trigger, ...id }))
  }],
  // Most of what browsers send: it is not copied.
  ["trigger", (envelope, { id }) => {
    const event = text(envelope.payload.event)
    if (isReserved(event)) return malformed(reserved)
    if (event === undefined) return malformed("trigger needs an event")
    const data = dataOf(envelope)
    if (data === undefined) return noObject
    const { dedupeKey } = envelope.payload
    if (dedupeKey !== undefined && !isDedupeKey(dedupeKey)) {
      return malformed(`a dedupeKey is a text of 1 to ${maxDedupeKey} characters`)
    }
    return Result.succeed({ _tag: "Trigger", event, data, dedupeKey, traceparent: traceOf(envelope), id })
  }],
  ["request", (envelope, { id }) => {
    const { timeout = defaultTimeout } = envelope.payload
    const event = text(envelope.payload.event)
    if (isReserved(event)) return malformed(reserved)
    if (event === undefined || id === undefined) return malformed("request needs an event and an id")
    if (typeof timeout !== "number" || !(timeout >= 1 && timeout <= maxTimeout)) {
      return malformed(`a timeout is 1 to ${maxTimeout} milliseconds`)
    }
    const data = dataOf(envelope)
    return data === undefined
      ? noObject
      : Result.succeed({ _tag: "Request", event, data, timeout, traceparent: traceOf(envelope), id })
  }],
  [
    "cancel",
    (_envelope, { id }) =>
      id === undefined ? malformed("cancel needs the id of a request") : Result.succeed(FromBrowser.Cancel({ id }))
  ],
  ["ping", (_envelope, id) => Result.succeed(FromBrowser.Ping(id))],
  ["close", () => Result.succeed(FromBrowser.Close())]
])

/**
 * What `:error` repeats of the message that it is about.
 *
 * @since 0.1.0
 */
export interface About {
  /** The message's one key: `subscribe`, `trigger`. */
  readonly event?: string | undefined
  readonly channel?: string | undefined
  readonly id?: Id | undefined
}

/**
 * What `:error` repeats of a message: names that none can have are left out.
 *
 * @since 0.1.0
 */
export const aboutOf = ({ name, payload: { channel, id } }: Envelope): About => ({
  event: readers.has(name) ? name : undefined,
  channel: typeof channel === "string" && channel.length <= 255 ? channel : undefined,
  id: isId(id) ? id : undefined
})

// What is absent or null has always counted as no data.
const dataOf = ({ payload: { data }, text }: Envelope): JsonText.ObjectText | undefined =>
  data === undefined || data === null
    ? JsonText.empty
    : Json.isObject(data)
    ? JsonText.payloadObject(text, "data")
    : undefined

// The original takes whatever is no text for no trigger. What may stand for none does so here, too.
const noName = Symbol("noName")
const triggerOf = (value: unknown): string | undefined | typeof noName =>
  typeof value === "string"
    ? text(value)
    : value === undefined || value === null || value === false || typeof value === "number"
    ? undefined
    : noName

// Otherwise a browser could forge who has joined or left.
const isReserved = (event: string | undefined): boolean => event?.startsWith(":") === true
const reserved = "event names that begin with : are reserved"

// JSON's text that is not empty.
const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

const isId = (value: unknown): value is Id =>
  Number.isSafeInteger(value) || (typeof value === "string" && value.length <= 100)
const isDedupeKey = (value: unknown): value is string =>
  typeof value === "string" && value !== "" && value.length <= maxDedupeKey
// Whatever else it is, it is not a span, and does no harm.
const traceOf = ({ payload: { traceparent } }: Envelope): string | undefined =>
  typeof traceparent === "string" && traceparent.length <= maxTraceparent ? traceparent : undefined
const isPosition = (value: unknown): value is number => Number.isSafeInteger(value) && value as number >= 0

const isSince = (value: unknown): value is Since & Json.JsonObject =>
  Json.isObject(value) && isShort(value.epoch) && isPosition(value.position) &&
  (value.sid === undefined || isShort(value.sid))

const isShort = (value: unknown): value is string => typeof value === "string" && value.length <= 100
const noId = {}

/** How many characters a `traceparent` may have; the ones that are known have 55. */
const maxTraceparent = 100

const malformed = (detail: string) => Result.fail(new BadRequestError({ detail }))
const notUnicode = malformed("a message is Unicode text")
const noObject = malformed("data is a JSON object; put any other value into a field of one")
