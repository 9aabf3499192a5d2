/**
 * What a vhost is made of: its log, its lobby, its tokens and rules, each with what the store has of it.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { envelopeSize } from "../../../protocol/Frame.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import * as Store from "../../store/Store.ts"
import type * as Channels from "../Channels.ts"
import * as DeadLetters from "../DeadLetters.ts"
import * as Journal from "../Journal.ts"
import * as Lobby from "../Lobby.ts"
import * as VhostTokens from "../VhostTokens.ts"
import * as LocalLog from "./localLog.ts"
import * as Positions from "./positions.ts"
import * as StoredHistory from "./storedHistory.ts"
import * as StoredVhosts from "./storedVhosts.ts"
import * as VhostRules from "./vhostRules.ts"
import * as VhostState from "./vhostState.ts"

/** What a vhost is made of. */
export interface Entering {
  readonly path: string
  /** Its access tokens. */
  readonly given: ReadonlyArray<Redacted.Redacted>
  readonly rules: VhostRules.VhostRules
  readonly stored?: StoredVhosts.StoredVhost
}
/** What the vhosts know of their store. */
export interface Storage {
  readonly isComplete: boolean
  readonly journalOf: (vhost: string) => Journal.Journal
}

/** Reads the store. If nothing is stored, nothing is recorded either. */
export const openStore = Effect.gen(function*() {
  const store = yield* Store.Store
  return {
    restored: yield* StoredVhosts.load(store),
    isComplete: store.isComplete,
    journalOf: store === Store.noop ? () => Journal.none : yield* Journal.make(store)
  }
})

/** Its tokens and rules, which are stored together. */
export const makeSettings = (
  { given, path, rules }: Entering,
  { channels, journal, rulesOf }: {
    readonly channels: Channels.Channels
    readonly journal: Journal.Journal
    readonly rulesOf: VhostRules.VhostRulesOf
  }
) => {
  const onChange = () => journal.updated(entry())
  const tokens = VhostTokens.make({ path, tokens: given, onChange })
  const { stored, ...settable } = VhostRules.settable(rulesOf, rules, { channels, onChange })
  const entry = () => ({ _tag: "Vhost", ...tokens.stored(), ...stored() }) as const
  journal.created(entry())
  return { tokens, ...settable }
}
/** Its lobby, and the dead letters. */
export const makeLobby = (
  options: Omit<Parameters<typeof Lobby.make>[0], "deadLetters"> & Parameters<typeof DeadLetters.make>[0] & {
    readonly journal: Journal.Journal
  },
  stored: StoredVhosts.StoredVhost | undefined
) => {
  const deadLetters = DeadLetters.make({ ...options, letters: stored?.letters })
  const largest = options.maxMessageSize - envelopeSize
  const events = StoredVhosts.moveTooLarge(stored?.events ?? [], { deadLetters, journal: options.journal, largest })
  return { deadLetters, lobby: Lobby.make({ ...options, events, deadLetters }) }
}

/** Its log. A store that may lack what an earlier broker has written lacks positions, too: those are of another epoch then. */
export const makeLog = (
  options: Omit<VhostState.Options, "epoch"> & { readonly journal: Journal.Journal; readonly wake: () => void },
  stored: StoredVhosts.StoredVhost | undefined,
  isComplete: boolean,
  emit: (event: Event) => void
) => {
  const { clock, journal, wake } = options
  const isRecorded = journal !== Journal.none
  const state = VhostState.make({
    ...options,
    epoch: isComplete && stored?.log !== undefined ? stored.log.epoch : SecureRandom.uuidV4Unsafe(),
    head: stored?.log?.reserved,
    // With other rules than these, more may have been broadcast since.
    floor: isComplete && stored?.log?.rules === options.rules.digest ? stored.log.floor : undefined,
    opened: stored?.channels,
    recorder: isRecorded ? StoredHistory.recorder(journal, clock) : undefined
  })
  if (stored !== undefined) StoredHistory.restore(state, stored, { clock, journal })
  const positions = isRecorded ? Positions.make(state, journal) : undefined
  return { state, log: LocalLog.make({ state, journal, emit, positions, wake }) }
}
