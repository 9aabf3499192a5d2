/**
 * The members of one presence channel: a reducer over what the broker sends of them. Members are users; a user with several
 * connections is one member.
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
 * How the members changed. `Reset`: the list is complete, after subscribing. A user with several connections joins with the
 * first one and leaves with the last one; in between, `Updated` tells that the connections or the data have changed.
 */
export type MembersChange =
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Joined" | "Updated" | "Left"; readonly member: Member }
