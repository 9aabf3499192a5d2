/**
 * The members of one presence channel: a reducer over what the broker sends of them. Members are users; a user with several
 * connections is one member.
 *
 * A long list arrives in parts, in the order in which its connections joined. Until the last part is there, whoever joins is
 * in a later part, so that `:memberJoined` tells nothing new, and only `:memberLeft` changes the list.
 */

import type { JsonObject } from "../../protocol/Json.ts"

/** A user on a presence channel. */
export interface Member {
  readonly uid: string
  /** What the user's latest connection said of itself, with the broker's keys `channel` and `uid`. */
  readonly data: JsonObject
  /** How many connections of the user have subscribed, hidden ones not counted. */
  readonly connections: number
}

/**
 * How the members changed. `Reset`: the list is complete, after subscribing, or it is empty, because the subscription has failed. A user
 * with several connections joins with the first one and leaves with the last one; in between, `Updated` tells that the
 * connections or the data have changed.
 */
export type MembersChange =
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Joined" | "Updated" | "Left"; readonly member: Member }

/** The members of a channel. Only the functions of this module change it. */
export interface Presence {
  /** By their uid, in the order in which they joined. */
  readonly members: Map<string, Member>
  /** The cursor of the next part, `undefined` once the list is complete. */
  next: number | undefined
}

/** Nobody. */
export const make = (): Presence => ({ members: new Map(), next: undefined })

/**
 * Adds a part of the list. `next` is the cursor of the following part, a number that is larger than the one before; anything else is the
 * end.
 */
export const append = (presence: Presence, part: unknown, next: unknown): void => {
  if (Array.isArray(part)) { for (const data of part) join(presence, data) }
  const { next: before = -Infinity } = presence
  presence.next = typeof next === "number" && next > before ? next : undefined
}

/** `:memberJoined`. Gives how the members changed, if they did and the list is complete. */
export const joined = (presence: Presence, data: JsonObject): MembersChange | undefined => {
  const member = presence.next === undefined ? join(presence, data) : undefined
  return member && { _tag: member.connections > 1 ? "Updated" : "Joined", member }
}

/** `:memberLeft`. Gives how the members changed, if they did and the list is complete. */
export const left = (presence: Presence, { uid }: JsonObject): MembersChange | undefined => {
  const before = presence.members.get(uid as string)
  if (before === undefined) return undefined
  const member = { ...before, connections: before.connections - 1 }
  if (member.connections > 0) presence.members.set(member.uid, member)
  else presence.members.delete(member.uid)
  return presence.next === undefined ? { _tag: member.connections > 0 ? "Updated" : "Left", member } : undefined
}

const join = ({ members }: Presence, data: JsonObject): Member | undefined => {
  const uid = data?.uid
  if (typeof uid !== "string") return undefined
  const member = { uid, data, connections: (members.get(uid)?.connections ?? 0) + 1 }
  members.set(uid, member)
  return member
}
