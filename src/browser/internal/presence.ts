/**
 * The members of one presence channel: a reducer over what the broker sends of them. Members are users; a user with several
 * connections is one member.
 *
 * A long list arrives in parts, in the order in which its connections joined. Until the last part is there, whoever joins is
 * in a later part, so that `:memberJoined` tells nothing new, and only what is known already changes or leaves.
 */

import type { JsonObject } from "../../protocol/Json.ts"

/** A user on a presence channel. */
export interface Member extends Omit<MemberConnection, "sid"> {
  readonly uid: string
  /** The user's connections that are subscribed, hidden ones not counted, in the order in which they joined: at least one. */
  readonly connections: ReadonlyArray<MemberConnection>
}

/** A connection of a user. `info` and `data` of a member are those of its latest one. */
export interface MemberConnection {
  /** Its name; `undefined` with a broker that is older than this. */
  readonly sid: string | undefined
  /** What your backend has said of the user in the token: the broker vouches for it. */
  readonly info: JsonObject | undefined
  /** What the browser has said of itself: a claim. A broker that is older than this adds its keys `channel` and `uid`. */
  readonly data: JsonObject
}

/**
 * How the members changed. `Reset`: the list is complete, after subscribing, or it is empty, because the subscription has failed. A user
 * with several connections joins with the first one and leaves with the last one; in between, `Updated` tells that the
 * connections, their info or their data have changed.
 */
export type MembersChange =
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Joined" | "Updated" | "Left"; readonly member: Member }

/** The members of a channel. Only the functions of this module change it. */
export interface Presence {
  /** What the broker speaks: version 0 does not tell the connections of a user apart. */
  readonly version: 0 | 1
  /** By their uid, in the order in which they joined. */
  readonly members: Map<string, Member>
  /** The cursor of the next part, `undefined` once the list is complete. */
  next: number | undefined
}

/** Nobody. */
export const make = (version: 0 | 1): Presence => ({ version, members: new Map(), next: undefined })

/**
 * Adds a part of the list. `next` is the cursor of the following part, a number that is larger than the one before; anything else is the
 * end.
 */
export const append = (presence: Presence, part: unknown, next: unknown): void => {
  if (Array.isArray(part)) { for (const entry of part) join(presence, entry) }
  const { next: before = -Infinity } = presence
  presence.next = typeof next === "number" && next > before ? next : undefined
}

/** What the broker says of a member. It gives how the members changed, if they did and the list is complete. */
export type Reduce = (presence: Presence, payload: JsonObject) => MembersChange | undefined

/** `:memberJoined`. */
export const joined: Reduce = (presence, payload) => presence.next === undefined ? join(presence, payload) : undefined

/** `:memberUpdated`: what a connection says of itself. */
export const updated: Reduce = (presence, payload) => {
  const connection = connectionOf(presence, payload)
  return change(presence, payload.uid, (own) => own.map((one) => one.sid === connection.sid ? connection : one))
}

/** `:memberMoved`: another connection of the user has taken the place of one that was lost. */
export const moved: Reduce = (presence, { from, sid, uid }) =>
  change(presence, uid, (own) => own.map((one) => one.sid === from ? { ...one, sid: sid as string } : one))

/** `:memberLeft`. */
export const left: Reduce = (presence, { sid, uid }) =>
  change(
    presence,
    uid,
    (own) => presence.version === 0 ? own.slice(1) : own.filter((one) => one.sid !== sid)
  )

const join = (presence: Presence, payload: JsonObject): MembersChange | undefined => {
  const connection = connectionOf(presence, payload ?? {})
  return change(presence, payload?.uid, (own) => [
    ...own.filter(({ sid }) => sid === undefined || sid !== connection.sid),
    connection
  ])
}

const connectionOf = ({ version }: Presence, payload: JsonObject): MemberConnection => {
  const { data, info, sid } = payload
  return version === 0
    ? { sid: undefined, info: undefined, data: payload }
    : { sid: sid as string, info: info as JsonObject | undefined, data: data as JsonObject }
}

const change = (
  { members, next }: Presence,
  uid: unknown,
  edit: (own: ReadonlyArray<MemberConnection>) => ReadonlyArray<MemberConnection>
): MembersChange | undefined => {
  if (typeof uid !== "string") return undefined
  const before = members.get(uid)
  const own = before?.connections ?? []
  const connections = edit(own)
  if (own.length === connections.length && own.every((one, index) => one === connections[index])) return undefined
  const latest = connections.at(-1)
  if (latest !== undefined) members.set(uid, { uid, info: latest.info, data: latest.data, connections })
  else members.delete(uid)
  return next === undefined
    ? {
      _tag: before === undefined ? "Joined" : latest ? "Updated" : "Left",
      member: members.get(uid) ?? { ...before!, connections }
    }
    : undefined
}
