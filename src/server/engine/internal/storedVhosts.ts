/**
 * What an earlier broker stored of its vhosts, for the broker that restores them.
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Entry, Kind, Store, StoreError } from "../../store/Store.ts"
import type { Issued } from "../AccessTokens.ts"
import type { DeadLetter, LocalDeadLetters } from "../DeadLetters.ts"
import { sizeOf, type StoredEvent } from "../EventQueue.ts"
import type { Journal } from "../Journal.ts"
import type * as StoredHistory from "./storedHistory.ts"

/** What is stored of one vhost. */
export interface StoredVhost extends StoredHistory.Stored {
  readonly tokens: ReadonlyArray<Redacted.Redacted>
  /** The rules of its channels, as text. */
  readonly rules: string | undefined
  /** The name of its positions and the last one that may be in use, if an earlier broker knew that. */
  readonly log: Omit<Extract<Entry, { _tag: "Log" }>, "vhost" | "_tag"> | undefined
  readonly issued: ReadonlyArray<Issued>
  readonly events: ReadonlyArray<StoredEvent>
  /** Up to which place events were delivered. */
  readonly delivered: number
  readonly letters: ReadonlyArray<DeadLetter>
}

/** Reads the vhosts of a store, by their paths, in the order of their creation. */
export const load = (store: Store["Service"]): Effect.Effect<ReadonlyMap<string, StoredVhost>, StoreError> =>
  Effect.map(store.load, (entries) => {
    const ofVhosts = Map.groupBy(entries, ({ vhost }) => vhost)
    return new Map(
      pick(entries, "Vhost").map(({ otherTokens, rules, token, vhost }) => {
        const own = ofVhosts.get(vhost) ?? []
        const stored: StoredVhost = {
          tokens: [
            token,
            ...otherTokens === undefined ? [] : Redacted.value(otherTokens).split(" ").map((_) => Redacted.make(_))
          ],
          rules,
          log: pick(own, "Log")[0],
          channels: pick(own, "Channel"),
          broadcasts: pick(own, "Broadcast"),
          issued: pick(own, "AccessToken"),
          events: eventsOf(own),
          delivered: deliveredOf(own),
          letters: pick(own, "DeadLetter").map((letter) => ({
            ...withOrigin(letter),
            failedAt: Math.floor(letter.failedAt)
          }))
        }
        return [vhost, stored]
      })
    )
  })

/** The events of a vhost. */
export const eventsOf = (entries: ReadonlyArray<Entry>): ReadonlyArray<StoredEvent> => {
  const delivered = deliveredOf(entries)
  return pick(entries, "Event").map(({ attempts, failures = 0, losses = 0, ...event }) => ({
    ...withOrigin(event),
    attempts: attempts ?? (event.dueAt === undefined && event.place <= delivered ? 1 : 0),
    failures,
    losses
  }))
}

const deliveredOf = (entries: ReadonlyArray<Entry>): number => pick(entries, "Queue")[0]?.delivered ?? 0

/** The last place that an event has, or had when it was delivered. */
export const lastPlaceOf = (vhosts: ReadonlyMap<string, StoredVhost>): number => {
  let last = 0
  for (const { delivered, events } of vhosts.values()) {
    last = Math.max(last, delivered)
    for (const { place } of events) last = Math.max(last, place)
  }
  return last
}

/** Moves events that no longer fit on a worker's connection to the dead letters. */
export const moveTooLarge = (
  events: ReadonlyArray<StoredEvent>,
  { deadLetters, journal, largest }: {
    readonly deadLetters: LocalDeadLetters
    readonly journal: Journal
    readonly largest: number
  }
): ReadonlyArray<StoredEvent> =>
  events.filter(({ attempts, id, json, origin, place }) => {
    const size = sizeOf(json, origin)
    if (size <= largest) return true
    deadLetters.addUnsafe({
      id,
      json,
      origin,
      attempts,
      reason: `the event has ${size} bytes, the limit is ${largest}`
    })
    journal.deleted("Event", place)
    return false
  })

/** The numbers of what is stored, for a log line. */
export const describe = ({ broadcasts, channels, events, issued, letters }: StoredVhost): string =>
  `${channels.length} channels, ${broadcasts.length} of their last broadcasts, ${events.length} unhandled events, ${letters.length} dead letters and ` +
  `${issued.length} unused single access tokens`

const pick = <K extends Kind>(entries: ReadonlyArray<Entry>, kind: K) =>
  entries.filter((entry): entry is Extract<Entry, { _tag: K }> => entry._tag === kind)

const withOrigin = <A extends { readonly origin: string | null }>(entry: A) => ({
  ...entry,
  origin: entry.origin ?? undefined
})
