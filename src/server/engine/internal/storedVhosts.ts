/**
 * What an earlier broker stored of its vhosts, for the broker that restores them.
 */

import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Entry, Kind, Store, StoreError } from "../../store/Store.ts"
import type { Issued } from "../AccessTokens.ts"
import type { DeadLetter, DeadLetters } from "../DeadLetters.ts"
import { sizeOf, type StoredEvent } from "../EventQueue.ts"
import type { Journal } from "../Journal.ts"

/** What is stored of one vhost. */
export interface StoredVhost {
  readonly token: Redacted.Redacted
  readonly opened: ReadonlyArray<string>
  readonly issued: ReadonlyArray<Issued>
  readonly events: ReadonlyArray<StoredEvent>
  readonly letters: ReadonlyArray<DeadLetter>
}

/** Reads the vhosts of a store, by their paths, in the order of their creation. */
export const load = (store: Store["Service"]): Effect.Effect<ReadonlyMap<string, StoredVhost>, StoreError> =>
  Effect.map(store.load, (entries) => {
    const ofVhosts = Map.groupBy(entries, ({ vhost }) => vhost)
    return new Map(
      pick(entries, "Vhost").map(({ token, vhost }) => {
        const own = ofVhosts.get(vhost) ?? []
        const stored: StoredVhost = {
          token,
          opened: pick(own, "Channel").map(({ name }) => name),
          issued: pick(own, "AccessToken"),
          events: pick(own, "Event").map(withOrigin),
          letters: pick(own, "DeadLetter").map((letter) => ({
            ...withOrigin(letter),
            failedAt: Math.floor(letter.failedAt)
          }))
        }
        return [vhost, stored]
      })
    )
  })

/** Moves events that no longer fit on a worker's connection to the dead letters. */
export const moveTooLarge = (
  events: ReadonlyArray<StoredEvent>,
  { deadLetters, journal, largest }: {
    readonly deadLetters: DeadLetters
    readonly journal: Journal
    readonly largest: number
  }
): ReadonlyArray<StoredEvent> =>
  events.filter(({ attempts, id, json, origin }) => {
    const size = sizeOf(json, origin)
    if (size <= largest) return true
    deadLetters.addUnsafe({
      id,
      json,
      origin,
      attempts,
      reason: `the event has ${size} bytes, the limit is ${largest}`
    })
    journal.deleted("Event", id)
    return false
  })

/** The numbers of what is stored, for a log line. */
export const describe = ({ events, issued, letters, opened }: StoredVhost): string =>
  `${opened.length} channels, ${events.length} unhandled events, ${letters.length} dead letters and ` +
  `${issued.length} unused single access tokens`

const pick = <K extends Kind>(entries: ReadonlyArray<Entry>, kind: K) =>
  entries.filter((entry): entry is Extract<Entry, { _tag: K }> => entry._tag === kind)

const withOrigin = <A extends { readonly origin: string | null }>(entry: A) => ({
  ...entry,
  origin: entry.origin ?? undefined
})
