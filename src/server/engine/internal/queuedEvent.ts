/**
 * An event of the local queue, from its enqueuing to its end, and what is recorded of it.
 */

import { byteLength } from "../../../protocol/Frame.ts"
import { type Enqueue, type Outcome, type Queued, sizeOf, type StoredEvent } from "../EventQueue.ts"
import type * as Heap from "./heap.ts"
import type { Lags } from "./lags.ts"

/** An event in the queue. */
export interface Event extends Queued {
  attempts: number
  failures: number
  releases: number
  losses: number
  isDelivered: boolean
  /** Since when it waits for a worker, in monotonic milliseconds; `undefined` for one that a worker had at once. */
  waitsSince: number | undefined
  /** Since when it could be handled, by `performance.now()`; `undefined` for one that was restored. */
  readonly since: number | undefined
  /** When its delay ends, if it is delayed. */
  dueAt: number
  /** Its entry among the delayed events. */
  delayed: Heap.Entry<Event> | undefined
  /** Its entry among the deadlines, if it is a request without a result. */
  expiring: Heap.Entry<Expiring> | undefined
  /** Until its first delivery: how long that is delayed, and until when in milliseconds since 1970. */
  readonly stored: { readonly delay: number; readonly dueAt: number } | undefined
}

/** A request without a result. */
export type Expiring = Event & { readonly deadline: number }

/** What a request takes beside its text, in bytes. */
const overhead = 512

/** How many bytes an event counts. */
export const sizeOfEvent = (event: Pick<Enqueue, "lane" | "json" | "origin" | "dedupeKey">): number =>
  sizeOf(event.json, event.origin) + extraOf(event)

/** Makes an event that is to be enqueued, or restored. `dueAt` is when its `delay` ends, in milliseconds since 1970. */
export const make = (
  event: Enqueue,
  { idPrefix, number }: { readonly idPrefix: string; readonly number: number },
  delayed: { readonly delay: number; readonly dueAt: number } | undefined,
  stored?: StoredEvent
): Event => ({
  id: stored === undefined ? `${idPrefix}-${number.toString(36)}` : stored.id,
  number,
  lane: event.lane,
  json: event.json,
  origin: event.origin,
  size: sizeOfEvent(event),
  deadline: event.deadline,
  dedupeKey: event.dedupeKey,
  replyTo: event.replyTo,
  attempts: stored === undefined ? 0 : stored.attempts,
  failures: stored === undefined ? 0 : stored.failures,
  losses: stored === undefined ? 0 : stored.losses,
  releases: 0,
  isDelivered: false,
  waitsSince: undefined,
  since: stored === undefined ? performance.now() + (delayed?.delay ?? 0) : undefined,
  dueAt: 0,
  delayed: undefined,
  expiring: undefined,
  stored: delayed
})

/** Measures how long events took that are acked now, by the clock of their `since`: those that have one, and are delivered. */
export const measure = (
  lags: Pick<Lags, "ofLane"> | undefined,
  events: ReadonlyArray<Pick<Event, "lane" | "since"> & { readonly isDelivered?: boolean }>,
  { _tag }: Outcome,
  now: number
): void => {
  if (lags === undefined || _tag !== "Acked" && _tag !== "Responded") return
  for (const { isDelivered, lane, since } of events) {
    if (isDelivered !== false && since !== undefined) lags.ofLane[lane].addUnsafe(Math.max(0, now - since))
  }
}

const extraOf = ({ dedupeKey, lane }: Pick<Enqueue, "dedupeKey" | "lane">): number =>
  lane === "requests" ? overhead : dedupeKey === undefined ? 0 : byteLength(dedupeKey)

/** What the journal records of an event that was not delivered: less than of others, since there are many. */
export const newEntryOf = ({ dedupeKey, id, json, number, origin, stored }: Event) => {
  const entry = { _tag: "Event", place: number, id, json, origin: origin ?? null } as const
  // Few events have more.
  return dedupeKey === undefined && stored === undefined
    ? entry
    : { ...entry, ...dedupeKey !== undefined && { dedupeKey }, ...stored }
}

/** What the journal records of an event once it was delivered. */
export const entryOf = (event: Event) => {
  const { attempts, dedupeKey, failures, id, json, losses, number, origin, stored } = event
  return {
    ...{ _tag: "Event", place: number, id, json, origin: origin ?? null, attempts, failures, losses } as const,
    ...dedupeKey !== undefined && { dedupeKey },
    ...attempts === 0 && stored
  }
}

/** Why an event failed that was lost so often. */
export const lostTooOften = ({ losses }: Event): string =>
  `delivered ${losses} ${
    losses === 1 ? "time" : "times"
  } without an acknowledgement: its worker crashed, timed out or ` +
  "lost its connection"
