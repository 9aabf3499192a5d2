/**
 * What a vhost is made of: its log, its lobby, its tokens and rules, each with what the store has of it.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { envelopeSize } from "../../../protocol/Frame.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import * as Store from "../../store/Store.ts"
import type * as Channels from "../Channels.ts"
import * as DeadLetters from "../DeadLetters.ts"
import * as Journal from "../Journal.ts"
import * as Lobby from "../Lobby.ts"
import * as Replay from "../Replay.ts"
import type { LifecycleEvents } from "../SharedLog.ts"
import { type Limits, type SharedQueue as Queue, SharedQueues } from "../SharedQueue.ts"
import * as VhostTokens from "../VhostTokens.ts"
import * as LocalLog from "./localLog.ts"
import * as Positions from "./positions.ts"
import * as SharedDeadLetters from "./sharedDeadLetters.ts"
import * as SharedLifecycle from "./sharedLifecycle.ts"
import * as SharedQueue from "./sharedQueue.ts"
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
/** The queues that are shared, and the fibers that work for them until the scope ends. */
export const sharedQueues = Effect.gen(function*() {
  const shared = Option.getOrUndefined(yield* Effect.serviceOption(SharedQueues))
  const fibers = yield* FiberMap.make<string>()
  const fork = yield* FiberMap.runtime(fibers)<never>()
  return {
    of: (vhost: string, limits: Limits) => shared?.queueOf(vhost, limits),
    run: (vhost: string, work: Effect.Effect<void>) => void fork(vhost, work),
    /** Ends the work for a vhost of this node. */
    stop: (vhost: string) => FiberMap.remove(fibers, vhost),
    /** Deletes the queue of a vhost. What cannot be deleted stays for a vhost with the same path. */
    remove: (vhost: string) =>
      shared === undefined
        ? Effect.void
        : Effect.andThen(FiberMap.remove(fibers, vhost), Effect.ignore(shared.remove(vhost)))
  }
})

/** Its lobby with its dead letters. */
interface LobbyParts {
  readonly deadLetters: DeadLetters.DeadLetters
  readonly lobby: Lobby.Lobby
  readonly replay: Replay.Replay
  /** Where the lifecycle events of a log that is shared go, if the queue is. */
  readonly lifecycle?: LifecycleEvents
}

/** Its lobby and dead letters: its own, or those that it shares. */
export const makeLobby = (
  options: Omit<Parameters<typeof Lobby.make>[0], "deadLetters"> & Parameters<typeof DeadLetters.make>[0] & {
    readonly journal: Journal.Journal
    readonly path: string
  },
  stored: StoredVhosts.StoredVhost | undefined,
  queues: Effect.Success<typeof sharedQueues>
): LobbyParts => {
  const shared = queues.of(options.path, options)
  if (shared !== undefined) return makeSharedLobby(options, shared, (work) => queues.run(options.path, work))
  const deadLetters = DeadLetters.make({ ...options, letters: stored?.letters })
  const largest = options.maxMessageSize - envelopeSize
  const events = StoredVhosts.moveTooLarge(stored?.events ?? [], { deadLetters, journal: options.journal, largest })
  const lobby = Lobby.make({ ...options, events, deadLetters })
  return { deadLetters, lobby, replay: Replay.make(deadLetters, lobby) }
}

const makeSharedLobby = (
  options: Parameters<typeof Lobby.makeWith>[0],
  shared: Queue,
  run: (work: Effect.Effect<void>) => void
): LobbyParts => {
  let queue!: SharedQueue.SharedEventQueue
  const lobby = Lobby.makeWith(options, (given) => queue = SharedQueue.make(shared, given))
  run(Effect.ensuring(queue.run, queue.leave))
  const lifecycle = SharedLifecycle.make(queue, options.maxMessageSize - envelopeSize)
  return { lobby, ...SharedDeadLetters.make(shared, queue), lifecycle }
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
