/**
 * The registry of a broker that is alone: what an earlier one has stored, and each change is recorded in the same step.
 */

import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Redacted from "effect/Redacted"
import * as Journal from "../Journal.ts"
import type { Registered, Settings, SharedVhosts } from "../SharedVhosts.ts"

/** The registry, with the journals of its vhosts. */
export interface LocalVhosts {
  readonly vhosts: SharedVhosts["Service"]
  /** The journal of a vhost that is registered. */
  readonly journalOf: (path: string) => Journal.Journal
}

/** Makes it. `restored` are registered already. */
export const make = (
  restored: ReadonlyMap<string, Settings>,
  journalOf: (path: string) => Journal.Journal
): LocalVhosts => {
  const all = new Map<string, Registered>()
  const journals = new Map<string, Journal.Journal>()
  let version = 0
  const enter = (path: string, { rules, tokens }: Settings) => {
    all.set(path, { rules, tokens, version, created: all.get(path)?.created ?? version })
    const journal = journals.get(path) ?? journalOf(path)
    journals.set(path, journal)
    return journal
  }
  for (const [path, settings] of restored) {
    version++
    enter(path, settings)
  }
  return {
    journalOf: (path) => journals.get(path) ?? Journal.none,
    vhosts: {
      load: Effect.sync(() => new Map(all)),
      change: (path, from, settings) =>
        Effect.sync(() => {
          const known = all.get(path)
          if ((known?.version ?? 0) !== from) return undefined
          version++
          if (settings !== undefined) {
            const journal = enter(path, settings)
            if (known === undefined) journal.created(entryOf(settings))
            else journal.updated(entryOf(settings))
          } else if (known !== undefined) {
            journals.get(path)?.deleted("Vhost", path)
            journals.delete(path)
            all.delete(path)
          }
          return version
        }),
      onChangeUnsafe: () => constVoid
    }
  }
}

const entryOf = ({ rules, tokens }: Settings) => {
  const [token, ...others] = tokens.map(Redacted.value)
  return {
    _tag: "Vhost",
    token: Redacted.make(token!),
    ...others.length > 0 && { otherTokens: Redacted.make(others.join(" ")) },
    ...rules !== undefined && { rules }
  } as const
}
