/**
 * What a single access token grants beside its user and its pattern, while the token is unused and as it is stored: when it ends
 * is a monotonic time in memory, and a time of the wall clock in the store.
 */

import type { Grant } from "../../../protocol/Grant.ts"
import * as Json from "../../../protocol/Json.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import type { Granted } from "../../domain/Permission.ts"

type Options = Omit<Grant, "uid" | "pattern">

/** What is granted from `now`, in monotonic milliseconds. */
export const grantedOf = ({ channels, expiresIn, info }: Options, now: number): Granted => ({
  ...channels && channels.length > 0 && { channels },
  ...info && { info },
  ...expiresIn !== undefined && { expiresAt: now + expiresIn }
})

/** Writes it; `undefined` if there is nothing. `wall` is the time of its issue, in milliseconds since 1970. */
export const encode = ({ channels = [], expiresIn, info }: Options, wall: number): string | undefined => {
  if (channels.length === 0 && info === undefined && expiresIn === undefined) return undefined
  return JSON.stringify({
    ...channels.length > 0 && { channels },
    ...expiresIn !== undefined && { expiresIn, expiresAt: wall + expiresIn },
    ...info && { info: info.text }
  })
}

/** Reads it at a time of both clocks. The wall clock may have been set: nothing ends later than if it were issued now. */
export const decode = (text: string, wall: number, now: number): Granted => {
  const { channels, expiresAt, expiresIn, info } = Json.parseObjectOrEmpty(text)
  const ends = typeof expiresAt === "number" && typeof expiresIn === "number"
  return grantedOf({
    channels: Array.isArray(channels) ? channels.filter((one) => typeof one === "string") : [],
    info: typeof info === "string" ? JsonText.objectOrEmpty(info) : undefined,
    expiresIn: ends ? Math.min(Math.max(expiresAt - wall, 0), expiresIn) : undefined
  }, now)
}
