/**
 * What an earlier broker stored, vhost by vhost, as its successors restore it.
 */

import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Entry, Kind, Store, StoreError } from "../../store/Store.ts"
import type { Issued } from "../AccessTokens.ts"
import type { DeadLetter } from "../DeadLetters.ts"
import { sizeOf, type StoredEvent } from "../EventQueue.ts"
import type { Journal } from "../Journal.ts"

/** What is stored of one vhost. */
export interface Stored {
  readonly token: Redacted.Redacted
  readonly opened: ReadonlyArray<string>
  readonly issued: ReadonlyArray<Issued>
  readonly events: ReadonlyArray<StoredEvent>
  readonly letters: ReadonlyArray<DeadLetter>
}

/** Reads a store: the vhosts in the order of their making, by their paths. */
export const load = (store: Store["Service"]): Effect.Effect<ReadonlyMap<string, Stored>, StoreError> =>
  Effect.map(store.load, (entries) => {
    const ofVhosts = Map.groupBy(entries, ({ vhost }) => vhost)
    return new Map(
      pick(entries, "Vhost").map(({ token, vhost }) => {
        const own = ofVhosts.get(vhost) ?? []
        const stored: Stored = {
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

/** Makes dead letters of events that have become too large for a worker's connection. */
export const bury = (
  stored: Stored,
  { journal, largest, now }: { readonly journal: Journal; readonly largest: number; readonly now: number }
): Stored => {
  const { fit = [], tooLarge = [] } = Object.groupBy(
    stored.events,
    ({ json, origin }) => sizeOf(json, origin) > largest ? "tooLarge" : "fit"
  )
  const buried = tooLarge.map(({ attempts, id, json, origin }): DeadLetter => {
    const reason = `the event has ${sizeOf(json, origin)} bytes, the most is ${largest}`
    const letter = { id, json, origin, attempts, reason, failedAt: now }
    journal.deleted("Event", id)
    journal.created({ _tag: "DeadLetter", ...letter, origin: origin ?? null })
    return letter
  })
  return { ...stored, events: fit, letters: [...stored.letters, ...buried] }
}

/** What is stored, in numbers, for a person. */
export const describe = ({ events, issued, letters, opened }: Stored): string =>
  `${opened.length} channels, ${events.length} unhandled events, ${letters.length} dead letters and ` +
  `${issued.length} unused single access tokens`

const pick = <K extends Kind>(entries: ReadonlyArray<Entry>, kind: K) =>
  entries.filter((entry): entry is Extract<Entry, { _tag: K }> => entry._tag === kind)

const withOrigin = <A extends { readonly origin: string | null }>(entry: A) => ({
  ...entry,
  origin: entry.origin ?? undefined
})
