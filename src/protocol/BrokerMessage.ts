/**
 * What the broker sends to browsers over WebSocket: JSON objects with exactly one key, the event, whose value is an object.
 * (Source: WebRocket 0.3, frontend protocol.)
 *
 * Names that begin with `:` are the system's. Where data of users and keys of the system meet in one object, the system's
 * keys win. Data of users are not written anew: they stay the text that came.
 *
 * @since 0.1.0
 */

import type { About, Id } from "./BrowserMessage.ts"
import * as JsonText from "./JsonText.ts"
import type { StatusError } from "./KosmonautError.ts"
import { requested } from "./Response.ts"
import * as Status from "./Status.ts"

/**
 * `:connected {sid}`: the first message on every connection. For browsers that asked for version 1 also `v`, and
 * `pingInterval` in milliseconds, after which the broker has pinged the browser at the latest; without pings it is absent.
 *
 * @since 0.1.0
 */
export const connected = (sid: string, one?: { readonly pingInterval: number }): string =>
  write(":connected", {
    sid,
    ...(one && { v: 1, ...(Number.isFinite(one.pingInterval) && { pingInterval: one.pingInterval }) })
  })

/**
 * What browsers that asked for version 1 learn of their authentication.
 *
 * @since 0.1.0
 */
export interface Authenticated {
  /** The user that the single access token was issued for. */
  readonly uid: string
  /** In how many milliseconds the authentication ends; absent if it lasts as long as the connection. */
  readonly expiresIn?: number | undefined
  /** The channels to which the broker subscribes the browser; absent if there are none. */
  readonly channels?: ReadonlyArray<string> | undefined
}

/**
 * `:authenticated {id?}`: the single access token is valid. For browsers that asked for version 1 also `Authenticated`.
 *
 * @since 0.1.0
 */
export const authenticated = (one?: Authenticated, id?: Id): string => write(":authenticated", { ...one, id })

/**
 * A part of the members of a presence channel, each the text of a `member`, or of a `memberConnection` in version 1.
 *
 * @since 0.1.0
 */
export interface MemberList {
  readonly members: ReadonlyArray<string>
  /** The cursor where the list continues, `undefined` at its end. */
  readonly next: number | undefined
  /** How many members there are in all. */
  readonly count: number
}

/**
 * What `:subscribed` says of the history of a channel; `undefined` for browsers of version 0 and channels without history.
 *
 * @since 0.1.0
 */
export type Recovery = {
  /** Names the log that the positions are of. Absent if the channel no longer has a history. */
  readonly epoch?: string | undefined
  /** Where the browser is once it has received the missed broadcasts. */
  readonly position?: number | undefined
  /** Whether all that was broadcast since its last position follows. Only if it has sent one. */
  readonly recovered?: boolean | undefined
  /** Why it cannot follow. */
  readonly reason?: LossReason | undefined
  /** How many broadcasts follow this message. */
  readonly missed: number
  /** There are more: the browser is not subscribed yet, and subscribes again with its position. */
  readonly more: boolean
} | undefined

/**
 * Why a browser cannot receive all that was broadcast since its last position: the broker has another log (`epoch`), it no
 * longer has all of them (`dropped`), or the channel was closed meanwhile (`closed`).
 *
 * @since 0.1.0
 */
export type LossReason = "epoch" | "dropped" | "closed"

/**
 * A message from its body: `{"<event>":{…}}`.
 *
 * @since 0.1.0
 */
export const unpositioned = (body: string): string => `${body}}`

/**
 * A broadcast from its body, with its position in the log of the vhost, `{"<event>":{…},":at":<position>}`, for browsers of
 * version 1 on channels with history.
 *
 * @since 0.1.0
 */
export const positioned = (body: string, position: number): string => `${body},":at":${position}}`

/**
 * An event that was sent to a user from its body, with its position in the log of the vhost, `{"<event>":{…},":user":<position>}`,
 * for browsers of version 1.
 *
 * @since 0.1.0
 */
export const toUser = (body: string, position: number): string => `${body},":user":${position}}`

/**
 * The body of a message that `positioned` or `toUser` has written.
 *
 * @since 0.1.0
 */
export const bodyOf = (positioned: string): string => positioned.slice(0, positioned.lastIndexOf(","))

/**
 * `:subscribed {channel, id?}`, with `uid` on private and presence channels, and the visible `subscribers` on presence
 * channels. If the list is not complete, it has `truncated`, the `count` of all, and `next` for `members`. With the
 * `Recovery` of a channel with history.
 *
 * @since 0.1.0
 */
export const subscribed = (
  channel: string,
  uid: string | undefined,
  list?: MemberList,
  id?: Id,
  recovery?: Recovery
): string => {
  const rest = list?.next === undefined ? undefined : { truncated: true, count: list.count, next: list.next }
  const message = write(":subscribed", { channel, uid, ...rest, ...recovery, id })
  return list === undefined ? message : `${message.slice(0, -2)},"subscribers":[${list.members.join(",")}]}}`
}

/**
 * `:members {channel, subscribers, next, id?}`: the response to `members`. `next` is null at the end of the list.
 *
 * @since 0.1.0
 */
export const members = (channel: string, { members, next }: MemberList, id?: Id): string =>
  `${write(":members", { channel, next: next ?? null, id }).slice(0, -2)},"subscribers":[${members.join(",")}]}}`

/**
 * `:unsubscribed {channel, reason?, id?}`: the browser left the channel, or the channel was closed. With a `reason` the broker has
 * unsubscribed it, for browsers of version 1: `forbidden`, since the last token of the browser does not allow the channel, or
 * `backend`, since a backend wanted it.
 *
 * @since 0.1.0
 */
export const unsubscribed = (channel: string, id?: Id, reason?: UnsubscribeReason): string =>
  write(":unsubscribed", { channel, reason, id })

/**
 * Why the broker has unsubscribed a browser.
 *
 * @since 0.1.0
 */
export type UnsubscribeReason = "forbidden" | "backend"

/**
 * A member of a presence channel as the others see it, `{…data, channel, uid}`.
 *
 * @since 0.1.0
 */
export const member = (channel: string, uid: string, data: JsonText.ObjectText): string =>
  JsonText.extend(data, { channel, uid })

/**
 * `:memberJoined`, with the text of a `member`.
 *
 * @since 0.1.0
 */
export const memberJoined = (member: string): string => `{":memberJoined":${member}}`

/**
 * `:memberLeft`, with the text of a `member`, whose data are merged with those of the `unsubscribe`.
 *
 * @since 0.1.0
 */
export const memberLeft = (member: string): string => `{":memberLeft":${member}}`

/**
 * A connection of a member of a presence channel as browsers of version 1 see it.
 *
 * @since 0.1.0
 */
export interface MemberConnection {
  readonly uid: string
  readonly sid: string
  /** What the user's backend has said of the user. */
  readonly info: JsonText.ObjectText | undefined
  /** What the browser has said of itself. */
  readonly data: JsonText.ObjectText
}

/**
 * A member's connection in lists for browsers of version 1, `{uid, sid, info?, data}`.
 *
 * @since 0.1.0
 */
export const memberConnection = ({ data, info, sid, uid }: MemberConnection): string =>
  `${JSON.stringify({ uid, sid }).slice(0, -1)}${info === undefined ? "" : `,"info":${info.text}`},"data":${data.text}}`

/**
 * `:memberJoined`, `:memberUpdated` and `:memberLeft {channel, uid, sid, info?, data}` for browsers of version 1, with the text
 * of a `memberConnection`.
 *
 * @since 0.1.0
 */
export const memberChanged = (how: "Joined" | "Updated" | "Left", channel: string, connection: string): string =>
  `{":member${how}":{"channel":${JSON.stringify(channel)},${connection.slice(1)}}`

/**
 * `:memberMoved {channel, uid, from, sid}`: the user's connection `from` has ended, and this one takes its place. Only for
 * browsers of version 1.
 *
 * @since 0.1.0
 */
export const memberMoved = (channel: string, uid: string, from: string, sid: string): string =>
  write(":memberMoved", { channel, uid, from, sid })

/**
 * `:updated {channel, id}`: the response to an `update` with an id.
 *
 * @since 0.1.0
 */
export const updated = (channel: string, id: Id): string => write(":updated", { channel, id })

/**
 * `:closed {sid}`: the connection is closed, since the browser or a backend wanted it.
 *
 * @since 0.1.0
 */
export const closed = (sid: string): string => write(":closed", { sid })

/**
 * `:pong {id?}`: the response to `ping`.
 *
 * @since 0.1.0
 */
export const pong = (id?: Id): string => write(":pong", { id })

/**
 * `:error {code, status}`, and with `about` also the `reason` and what is known of the message.
 *
 * @since 0.1.0
 */
export const error = (failure: StatusError, about?: About): string =>
  write(":error", {
    code: failure.code,
    status: Status.text[failure.code],
    ...(about && { ...about, reason: reasonOf(failure) })
  })

/**
 * `:triggered {id}`: a message that asked for a confirmation is accepted; a worker will get the event. An addition of ours,
 * only for messages that have an `id`.
 *
 * @since 0.1.0
 */
export const confirmed = (id: Id): string => write(":triggered", { id })

/**
 * `:response {id, data}` or, for a declared error, `:response {id, error}`: the response to a request, from the text of its
 * JSON.
 *
 * @since 0.1.0
 */
export const response = (id: Id, outcome: "ok" | "error", json: string): string =>
  `{":response":{"id":${JSON.stringify(id)},${requested(outcome, json).slice(1)}}`

/**
 * The body of a broadcast event, `{…data, channel, sid?}`: the message without its last brace, so that its position can follow without
 * a copy. `sid` is the browser that sent it, absent if a backend did. `data` may be the text of an object, which is checked and not
 * written anew; any other text counts as `{}`.
 *
 * @since 0.1.0
 */
export const broadcastBody = (event: string, data: JsonText.Input, channel: string, sid?: string): string =>
  writeBody(event, JsonText.extend(JsonText.from(data), sid === undefined ? { channel } : { channel, sid }))

/**
 * The body of an event with its data as they are, which a backend sends to a user.
 *
 * @since 0.1.0
 */
export const directBody = (event: string, data: JsonText.Input): string => writeBody(event, JsonText.from(data).text)

/**
 * An event with its data as they are: that a backend sends to one browser or triggers for a worker, or a request.
 *
 * @since 0.1.0
 */
export const direct = (event: string, data: JsonText.Input): string => unpositioned(directBody(event, data))

/**
 * A triggered event for a worker, `{…data, sid, channel?}`; `channel` if it came with a broadcast.
 *
 * @since 0.1.0
 */
export const triggered = (event: string, data: JsonText.Input, sid: string, channel?: string): string =>
  unpositioned(
    writeBody(event, JsonText.extend(JsonText.from(data), channel === undefined ? { sid } : { channel, sid }))
  )

const writeBody = (event: string, payload: string): string => `{${JSON.stringify(event)}:${payload}`

// Only for names and values of the system's own.
const write = (event: string, payload: object): string => JSON.stringify({ [event]: payload })

// A message of an error begins with its status.
const reasonOf = (failure: StatusError): string =>
  "detail" in failure ? failure.detail : failure.message.slice(failure.message.indexOf(": ") + 2)
