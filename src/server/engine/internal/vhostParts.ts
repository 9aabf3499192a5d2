/**
 * What a vhost is made of: its log, its lobby, its tokens and rules, each with what the store has of it.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { envelopeSize } from "../../../protocol/Frame.ts"
import type { InternalError } from "../../../protocol/KosmonautError.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import * as Store from "../../store/Store.ts"
import * as DeadLetters from "../DeadLetters.ts"
import * as Journal from "../Journal.ts"
import * as Lobby from "../Lobby.ts"
import type { Log } from "../Log.ts"
import * as Replay from "../Replay.ts"
import { type LifecycleEvents, SharedLogs } from "../SharedLog.ts"
import { type Limits, type SharedQueue as Queue, SharedQueues } from "../SharedQueue.ts"
import type { Registered } from "../SharedVhosts.ts"
import * as LocalLog from "./localLog.ts"
import * as LocalVhosts from "./localVhosts.ts"
import * as Positions from "./positions.ts"
import * as ReplicatedLog from "./replicatedLog.ts"
import * as SharedDeadLetters from "./sharedDeadLetters.ts"
import * as SharedLifecycle from "./sharedLifecycle.ts"
import * as SharedQueue from "./sharedQueue.ts"
import * as StoredHistory from "./storedHistory.ts"
import * as StoredVhosts from "./storedVhosts.ts"
import type * as VhostRules from "./vhostRules.ts"
import * as VhostState from "./vhostState.ts"

/** What a vhost is made of. */
export interface Entering {
  readonly path: string
  readonly registered: Registered
  readonly rules: VhostRules.VhostRules
  readonly stored?: StoredVhosts.StoredVhost | undefined
}

/** Reads the store. If nothing is stored, nothing is recorded either. */
export const openStore = Effect.gen(function*() {
  const store = yield* Store.Store
  const restored = yield* StoredVhosts.load(store)
  const journalOf = store === Store.noop
    ? () => Journal.none
    : yield* Journal.make(store, StoredVhosts.lastPlaceOf(restored))
  return { restored, isComplete: store.isComplete, local: LocalVhosts.make(restored, journalOf) }
})

/**
 * What nodes share of a vhost has its path, and the number of its creation, so that another vhost with this path never meets what is left
 * of it.
 */
export const sharedName = (path: string, { created }: Registered): string => `${path}#${created}`

/** The queues and logs that are shared, and the fibers that work for the queues until the scope ends. */
export const shared = Effect.gen(function*() {
  const queues = Option.getOrUndefined(yield* Effect.serviceOption(SharedQueues))
  const logs = Option.getOrUndefined(yield* Effect.serviceOption(SharedLogs))
  const fibers = yield* FiberMap.make<string>()
  const fork = yield* FiberMap.runtime(fibers)<never>()
  const deleted = (name: string) => [queues?.remove(name) ?? Effect.void, logs?.remove(name) ?? Effect.void]
  return {
    queueOf: (name: string, limits: Limits) => queues?.queueOf(name, limits),
    logOf: logs?.logOf,
    run: (name: string, work: Effect.Effect<void>) => void fork(name, work),
    /** Ends the work for a vhost of this node. */
    stop: (name: string) => FiberMap.remove(fibers, name),
    /** Deletes what is shared of a vhost. What cannot be deleted is of no use to anybody. */
    remove: (name: string) =>
      Effect.andThen(
        FiberMap.remove(fibers, name),
        Effect.forEach(deleted(name), (deleting) => Effect.ignore(deleting), { discard: true })
      )
  }
})

/** What is shared. */
export type Shared = Effect.Success<typeof shared>

/** Its lobby with its dead letters. */
interface LobbyParts {
  readonly deadLetters: DeadLetters.DeadLetters
  readonly lobby: Lobby.Lobby
  readonly replay: Replay.Replay
  /** Where the lifecycle events of a log that is shared go, if the queue is. */
  readonly lifecycle?: LifecycleEvents
}

/** Its lobby and dead letters: its own, or those that it shares. */
const makeLobby = (
  options: Omit<Parameters<typeof Lobby.make>[0], "deadLetters"> & Parameters<typeof DeadLetters.make>[0] & {
    readonly journal: Journal.Journal
    readonly path: string
    /** How it is named among what is shared. */
    readonly name: string
  },
  stored: StoredVhosts.StoredVhost | undefined,
  { queueOf, run }: Shared
): LobbyParts => {
  const queue = queueOf(options.name, options)
  if (queue !== undefined) return makeSharedLobby(options, queue, (work) => run(options.name, work))
  const deadLetters = DeadLetters.make({ ...options, letters: stored?.letters })
  const largest = options.maxMessageSize - envelopeSize
  const events = StoredVhosts.moveTooLarge(stored?.events ?? [], { deadLetters, journal: options.journal, largest })
  const lobby = Lobby.make({ ...options, events, deadLetters })
  return { deadLetters, lobby, replay: Replay.make(deadLetters, lobby) }
}

const makeSharedLobby = (
  options: Parameters<typeof Lobby.makeWith>[0] & Pick<SharedQueue.SharedOptions, "lags">,
  shared: Queue,
  run: (work: Effect.Effect<void>) => void
): LobbyParts => {
  let queue!: SharedQueue.SharedEventQueue
  const lobby = Lobby.makeWith(options, (given) => queue = SharedQueue.make(shared, { ...given, lags: options.lags }))
  run(Effect.ensuring(queue.run, queue.leave))
  const lifecycle = SharedLifecycle.make(queue, options.maxMessageSize - envelopeSize)
  return { lobby, ...SharedDeadLetters.make(shared, queue), lifecycle }
}

/** Makes the lobby and the log of a vhost, which have an own scope within this one. */
export const makeParts = Effect.fnUntraced(function*(shared: Shared, isComplete: boolean) {
  const scope = yield* Effect.scope
  return Effect.fnUntraced(function*(
    options: Parameters<typeof makeLobby>[0] & Parameters<typeof makeLocal>[0],
    stored: StoredVhosts.StoredVhost | undefined
  ) {
    const { lifecycle, ...parts } = makeLobby(options, stored, shared)
    const logScope = yield* Scope.fork(scope)
    const local = [options, stored, isComplete, parts.lobby.emitUnsafe] as const
    const log = yield* makeLog(options.name, shared, lifecycle, local).pipe(
      Effect.provideService(Scope.Scope, logScope),
      Effect.onError(() => Effect.andThen(shared.stop(options.name), Scope.close(logScope, Exit.void)))
    )
    return { ...parts, ...log, logScope }
  })
})

// Its log until the scope ends: the one that several nodes share, if there are any, or its own.
const makeLog = (
  name: string,
  { logOf }: Shared,
  lifecycle: LifecycleEvents | undefined,
  local: Readonly<Parameters<typeof makeLocal>>
): Effect.Effect<{ readonly state: VhostState.VhostState; readonly log: Log }, InternalError, Scope.Scope> =>
  logOf === undefined ? Exit.succeed(makeLocal(...local)) : Effect.flatMap(logOf(name), (shared) => {
    const [options, , , emit] = local
    return ReplicatedLog.make({ ...options, shared, lifecycle, emit })
  })

// A store that may lack what an earlier broker has written lacks positions, too: those are of another epoch then.
const makeLocal = (
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
