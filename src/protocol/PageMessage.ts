/**
 * What browsers and the broker say to each other over WebSocket: JSON objects with exactly one key, the event, whose
 * value is an object. (Source: WebRocket 0.3, frontend protocol.)
 *
 * `decode` reads what a page says and fails with the protocol's 400. The constructors below it write what the broker
 * says; names beginning with `:` are the system's. Where data of users and keys of the system meet in one object, the
 * system's keys win.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Json from "./Json.ts"
import { BadRequestError, type StatusError } from "./KosmonautError.ts"
import * as Status from "./Status.ts"

/**
 * What a page says. `data` that is missing or not an object has become `{}`.
 *
 * @since 0.1.0
 */
export type FromPage = Data.TaggedEnum<{
  /** Shows a single access token. */
  Authenticate: { readonly token: string }
  Subscribe: { readonly channel: string; readonly hidden: boolean; readonly data: Json.JsonObject }
  Unsubscribe: { readonly channel: string; readonly data: Json.JsonObject }
  /** `trigger` names an event that a worker gets as well. An `id` asks for a confirmation, here and in `Trigger`. */
  Broadcast: {
    readonly channel: string
    readonly event: string
    readonly data: Json.JsonObject
    readonly trigger: string | undefined
    readonly id?: Id | undefined
  }
  Trigger: { readonly event: string; readonly data: Json.JsonObject; readonly id?: Id | undefined }
  Close: {}
}>

/**
 * What a page calls one of its messages by, to hear what has become of it: a text of at most 100 characters, or a number.
 *
 * @since 0.1.0
 */
export type Id = string | number

/**
 * Constructors and matchers of `FromPage`.
 *
 * @since 0.1.0
 */
export const FromPage = Data.taggedEnum<FromPage>()

/**
 * Reads a page's message; a binary one is never valid.
 *
 * @since 0.1.0
 */
export const decode = (message: string | Uint8Array): Result.Result<FromPage, BadRequestError> => {
  if (typeof message !== "string") return malformed("a message is text, not binary")
  const entry = Json.single(Result.getOrUndefined(Json.parse(message)))
  if (entry === undefined) return malformed("a message is a JSON object with one key whose value is an object")
  const [name, payload] = entry
  const channel = text(payload.channel)
  const event = text(payload.event)
  const data = Json.isObject(payload.data) ? payload.data : Json.empty
  switch (name) {
    case "auth":
      return typeof payload.token === "string"
        ? Result.succeed(FromPage.Authenticate({ token: payload.token }))
        : malformed("auth needs a token")
    case "subscribe":
      return channel
        ? Result.succeed(FromPage.Subscribe({ channel, hidden: payload.hidden === true, data }))
        : malformed("subscribe needs a channel")
    case "unsubscribe":
      return channel
        ? Result.succeed(FromPage.Unsubscribe({ channel, data }))
        : malformed("unsubscribe needs a channel")
    case "broadcast": {
      const trigger = text(payload.trigger)
      if (trigger === undefined && payload.trigger !== undefined) return malformed("the trigger is not an event's name")
      if (isReserved(event) || isReserved(trigger)) return malformed(reserved)
      return channel && event
        ? Result.succeed(FromPage.Broadcast({ channel, event, data, trigger, ...id(payload.id) }))
        : malformed("broadcast needs a channel and an event")
    }
    case "trigger":
      if (isReserved(event)) return malformed(reserved)
      return event
        ? Result.succeed(FromPage.Trigger({ event, data, ...id(payload.id) }))
        : malformed("trigger needs an event")
    case "close":
      return Result.succeed(FromPage.Close())
    default:
      return malformed("the event is unknown")
  }
}

/**
 * A member of a presence channel, as the others see it.
 *
 * @since 0.1.0
 */
export interface Member {
  readonly uid: string
  readonly data: Json.JsonObject
}

/**
 * `:connected {sid}`: the first message on every connection.
 *
 * @since 0.1.0
 */
export const connected = (sid: string): string => write(":connected", { sid })

/**
 * `:authenticated {}`: the single access token was good.
 *
 * @since 0.1.0
 */
export const authenticated: string = `{":authenticated":{}}`

/**
 * `:subscribed {channel}`, with `uid` on private and presence channels, and the visible `subscribers` on presence
 * channels.
 *
 * @since 0.1.0
 */
export const subscribed = (
  channel: string,
  uid: string | undefined,
  members: ReadonlyArray<Member> | undefined
): string =>
  write(":subscribed", {
    channel,
    ...(members && { subscribers: members.map((member) => ({ ...member.data, channel, uid: member.uid })) }),
    ...(uid !== undefined && { uid })
  })

/**
 * `:unsubscribed {channel}`: the page left the channel, or the channel was closed.
 *
 * @since 0.1.0
 */
export const unsubscribed = (channel: string): string => write(":unsubscribed", { channel })

/**
 * `:memberJoined {uid, channel, …data}` on presence channels.
 *
 * @since 0.1.0
 */
export const memberJoined = (channel: string, member: Member): string =>
  write(":memberJoined", { ...member.data, channel, uid: member.uid })

/**
 * `:memberLeft {uid, channel, …data, …farewell}` on presence channels; `farewell` is what `unsubscribe` brought.
 *
 * @since 0.1.0
 */
export const memberLeft = (channel: string, member: Member, farewell: Json.JsonObject): string =>
  write(":memberLeft", { ...member.data, ...farewell, channel, uid: member.uid })

/**
 * `:closed {sid}`: the page asked to be closed.
 *
 * @since 0.1.0
 */
export const closed = (sid: string): string => write(":closed", { sid })

/**
 * `:error {code, status}`, with the `id` of the message that it is about, where that has one.
 *
 * @since 0.1.0
 */
export const error = (failure: StatusError, id?: Id): string =>
  write(":error", { code: failure.code, status: Status.text[failure.code], ...(id !== undefined && { id }) })

/**
 * `:triggered {id}`: what a page asked a confirmation for is accepted; a worker will have it. An addition of ours, only for
 * messages that have an `id`.
 *
 * @since 0.1.0
 */
export const confirmed = (id: Id): string => write(":triggered", { id })

/**
 * A broadcast event, `{…data, channel, sid?}`; `sid` is the page that sent it, absent where a backend did. `data` may be
 * the text of an object, which is checked and not written anew; any other text counts as `{}`.
 *
 * @since 0.1.0
 */
export const broadcast = (event: string, data: Json.JsonObject | string, channel: string, sid?: string): string =>
  writeWith(event, data, { channel, ...(sid !== undefined && { sid }) })

/**
 * An event that a backend sends to one page, with its data as it is, or as the text of it.
 *
 * @since 0.1.0
 */
export const direct = (event: string, data: Json.JsonObject | string): string => writeWith(event, data, {})

/**
 * A triggered event for a worker, `{…data, sid, channel?}`; `channel` where it came with a broadcast.
 *
 * @since 0.1.0
 */
export const triggered = (event: string, data: Json.JsonObject, sid: string, channel?: string): string =>
  write(event, { ...data, ...(channel !== undefined && { channel }), sid })

// A text that has none of the names that are added is told as it is; of a name that is there twice the later would count.
const writeWith = (event: string, data: Json.JsonObject | string, more: Json.JsonObject): string => {
  if (typeof data !== "string") return write(event, { ...data, ...more })
  const read = Json.parseObjectOrEmpty(data)
  const names = Object.keys(more)
  if (Object.keys(read).length === 0 || names.some((name) => Object.hasOwn(read, name))) {
    return write(event, { ...read, ...more })
  }
  const added = names.length === 0 ? "" : `,${JSON.stringify(more).slice(1, -1)}`
  return `{${JSON.stringify(event)}:${data.slice(0, data.lastIndexOf("}"))}${added}}}`
}

// A computed key would be the prototype for "__proto__" in a literal's `key: value` form, but not in this one.
const write = (event: string, payload: object): string => JSON.stringify({ [event]: payload })

// A page could otherwise tell the others who has joined or left.
const isReserved = (event: string | undefined): boolean => event?.startsWith(":") === true
const reserved = "names that begin with : are the system's"

// JSON's text that is not empty.
const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

const id = (value: unknown): { readonly id: Id } | undefined =>
  typeof value === "number" || (typeof value === "string" && value.length <= 100) ? { id: value } : undefined

const malformed = (detail: string) => Result.fail(new BadRequestError({ detail }))
