/**
 * What was broadcast on channels with history while the browser was not subscribed: it is received before anything new, in order
 * and once, or the user is told that something was missed.
 *
 * Broadcasts there have positions. The browser knows the last one that it has received, and subscribes again with it. If it has
 * missed much, that comes in parts: after each the browser subscribes again, and only with the last one it is subscribed.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import type { Cursor, GapReason } from "./output.ts"
import { emit, type Machine, type Recovery, type Subscription } from "./state.ts"

/** Begins where the application was, for example before its page was reloaded. */
export const from = ({ epoch, position, sid }: Cursor): Recovery => ({
  epoch,
  position,
  sid,
  missed: 0,
  end: position,
  hasMore: false
})

/** Where the browser is; `undefined` if that is not known, or the channel has no history. */
export const cursorOf = ({ recovery }: Subscription): Cursor | undefined =>
  recovery?.position === undefined
    ? undefined
    : { epoch: recovery.epoch, position: recovery.position, sid: recovery.sid }

/** `:subscribed`, with what follows it. */
export const begin = (machine: Machine, subscription: Subscription, payload: JsonObject): void => {
  const { epoch, missed, more, position, reason, recovered } = payload
  const { channel, recovery: before } = subscription
  if (before?.position !== undefined && recovered !== true) {
    emit(machine, { _tag: "Gap", channel, reason: isReason(reason) ? reason : "epoch" })
  }
  const last = recovered === true ? before : undefined
  subscription.recovery = typeof epoch !== "string" || typeof position !== "number" ? undefined : {
    epoch,
    position: last?.position,
    sid: last?.sid ?? "",
    missed: typeof missed === "number" ? missed : 0,
    end: position,
    hasMore: more === true
  }
  complete(machine, subscription.recovery)
}

/** A broadcast with its position. `false` if it was received before. */
export const receive = (machine: Machine, { recovery }: Subscription, at: unknown): boolean => {
  if (recovery === undefined || typeof at !== "number") return true
  const isNew = recovery.position === undefined || at > recovery.position
  if (isNew) recovery.position = at
  if (recovery.missed > 0) {
    recovery.missed--
    complete(machine, recovery)
  }
  return isNew
}

/** After a lost connection: nothing more arrives of its part, and a rewind of which nothing has arrived begins again. */
export const interrupted = ({ recovery }: Subscription): Recovery | undefined =>
  recovery?.position === undefined ? undefined : { ...recovery, missed: 0, hasMore: false }

/** Whether a part is arriving. */
export const isPart = ({ recovery }: Subscription): boolean => recovery !== undefined && recovery.missed > 0

/** Whether the current part has arrived, and another one follows. */
export const wantsMore = ({ recovery }: Subscription): boolean => recovery?.hasMore === true && recovery.missed === 0

const complete = ({ state }: Machine, recovery: Recovery | undefined): void => {
  if (recovery === undefined || recovery.missed > 0) return
  recovery.position = Math.max(recovery.end, recovery.position ?? 0)
  if (!recovery.hasMore || recovery.sid === "") recovery.sid = state._tag === "Connected" ? state.sid : ""
}

const isReason = (reason: unknown): reason is GapReason =>
  reason === "epoch" || reason === "dropped" || reason === "closed"
