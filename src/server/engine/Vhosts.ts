/**
 * The vhosts of a broker. They are isolated from each other, each with its access token, channels, workers and single access
 * tokens. This is the engine's own view of them; what applications see is in `server/Vhosts.ts`.
 *
 * The vhosts are the restored ones and those of the configuration. A vhost that is in both keeps its restored
 * token unless the configuration has one, and has the channels of both. If there is no vhost at all, `defaultVhost` is added.
 *
 * Two background fibers send heartbeats to workers and redeliver events. They sleep while there is nothing to do. A defect in
 * them is logged as an error, and they are restarted.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Iterable from "effect/Iterable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { isAccessToken, isVhostPath } from "../../protocol/Endpoint.ts"
import type { Identity } from "../../protocol/Identity.ts"
import { type InternalError, type InvalidChannelNameError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import { BrokerConfig, type VhostOptions } from "../BrokerConfig.ts"
import { InvalidVhostError, type InvalidVhostTokenError, VhostExistsError, VhostNotFoundError } from "../BrokerError.ts"
import * as AccessTokens from "./AccessTokens.ts"
import * as Authentications from "./Authentications.ts"
import * as Browsers from "./Browsers.ts"
import * as Calls from "./Calls.ts"
import * as Channels from "./Channels.ts"
import { Cluster } from "./Cluster.ts"
import * as DeadLetters from "./DeadLetters.ts"
import * as Background from "./internal/background.ts"
import * as History from "./internal/history.ts"
import * as Limits from "./internal/limits.ts"
import * as Metrics from "./internal/metrics.ts"
import * as Patterns from "./internal/patterns.ts"
import * as Rules from "./internal/rules.ts"
import * as StoredVhosts from "./internal/storedVhosts.ts"
import * as TokenRotation from "./internal/tokenRotation.ts"
import * as VhostParts from "./internal/vhostParts.ts"
import * as VhostRules from "./internal/vhostRules.ts"
import type { VhostState } from "./internal/vhostState.ts"
import * as Warnings from "./internal/warnings.ts"
import * as Journal from "./Journal.ts"
import * as Lobby from "./Lobby.ts"
import type { Log } from "./Log.ts"
import type * as Replay from "./Replay.ts"
import * as ResponseCache from "./ResponseCache.ts"
import * as StatelessTokens from "./StatelessTokens.ts"
import * as VhostTokens from "./VhostTokens.ts"

/**
 * One vhost, which exists until it is removed.
 *
 * @since 0.1.0
 */
export interface Vhost {
  readonly path: string
  /** The access tokens that its backends authenticate with. */
  readonly tokens: VhostTokens.VhostTokens
  /** The current one of them. */
  readonly token: Redacted.Redacted
  readonly channels: Channels.Channels
  /** The rules of its channels, without those of the broker. */
  readonly channelRules: VhostRules.Settable["channelRules"]
  /** Sets the rules of its channels, and those of the broker after them. */
  readonly setChannelRules: VhostRules.Settable["setChannelRules"]
  readonly accessTokens: AccessTokens.AccessTokens
  /** The authentications that end by themselves. */
  readonly authentications: Authentications.Authentications
  readonly lobby: Lobby.Lobby
  /** The configuration of the broker, without vhosts and their tokens. */
  readonly config: BrokerConfig["Service"]
  /** The dead letters. */
  readonly deadLetters: DeadLetters.DeadLetters
  /**
   * Replays a dead letter as a new event without attempts; `false` if none has this id. If the queue is full it fails, and the
   * dead letter stays.
   */
  readonly replay: (id: string) => Effect.Effect<boolean, InternalError>
  /** Records the changes of the vhost for the store. */
  readonly journal: Journal.Journal
  /** Replays all dead letters, the oldest first, until the queue is full. */
  readonly replayAll: Effect.Effect<Replay.Replayed, InternalError>
  /** The dead letters after a cursor, the oldest first. */
  readonly deadLettersAfter: (
    cursor: number
  ) => Effect.Effect<Iterable<Channels.Listed<DeadLetters.DeadLetter>>, InternalError>
  /** The browsers that are connected. */
  readonly browsers: Browsers.Browsers
  /** The triggers and requests that browsers may send again. */
  readonly calls: Calls.Calls
  /** The responses to requests that Clients may retry. */
  readonly responseCache: ResponseCache.ResponseCache
  /** Waits until the vhost is removed. */
  readonly removed: Effect.Effect<void>
  /** Whether it was removed. */
  readonly isRemoved: () => boolean
}

/**
 * The vhosts of a broker.
 *
 * @since 0.1.0
 */
export class Vhosts extends Context.Service<Vhosts, {
  /** Adds a vhost, with a random access token unless one is given. It also fails if the vhost cannot be persisted yet. */
  readonly add: (
    options: VhostOptions
  ) => Effect.Effect<Vhost, InvalidVhostError | VhostExistsError | InvalidChannelNameError | InternalError>
  /** Removes a vhost: dismisses its workers, disconnects its browsers, and deletes its events. */
  readonly remove: (path: string) => Effect.Effect<void, VhostNotFoundError | InternalError>
  /** Adds an access token to a vhost, by default a random one. It also fails if it cannot be persisted yet. */
  readonly addToken: (
    path: string,
    token?: string | Redacted.Redacted
  ) => Effect.Effect<Redacted.Redacted, VhostNotFoundError | InvalidVhostTokenError | InternalError>
  /** Removes an access token of a vhost and ends its connections; `false` if the vhost does not have it. */
  readonly removeToken: (
    path: string,
    token: string | Redacted.Redacted
  ) => Effect.Effect<boolean, VhostNotFoundError | InvalidVhostTokenError | InternalError>
  /** Replaces all access tokens of a vhost by a random one, and ends the connections of the old ones. */
  readonly regenerateToken: (path: string) => Effect.Effect<Redacted.Redacted, VhostNotFoundError | InternalError>
  /** Calls a listener for each token that is removed, until the scope ends. */
  readonly onTokenRemoved: (
    listener: (token: VhostTokens.VhostToken) => Effect.Effect<void>
  ) => Effect.Effect<void, never, Scope.Scope>
  /** The vhost with this path. */
  readonly get: (path: string) => Effect.Effect<Vhost, VhostNotFoundError>
  /** All vhosts, in the order of their creation. */
  readonly list: Effect.Effect<ReadonlyArray<Vhost>>
  /** The vhost of an identity, if its access token is valid there. Tokens are compared in constant time. */
  readonly authorize: (identity: Identity) => Effect.Effect<Vhost, UnauthorizedError>
}>()("kosmonaut/server/engine/Vhosts") {}

/**
 * Makes the registry, with the vhosts of the configuration and the restored ones.
 *
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const config = yield* BrokerConfig
  const { restored, ...storage } = yield* VhostParts.openStore
  const registry = yield* makeRegistry(storage)
  const { enter, vhosts } = registry
  const rulesOf = ({ channelRules, path }: VhostOptions, stored?: StoredVhosts.StoredVhost) =>
    Effect.mapError(
      Effect.fromResult(registry.rulesOf(channelRules, stored?.rules)),
      ({ message }) => new InvalidVhostError({ path, detail: message })
    )

  const add: Vhosts["Service"]["add"] = Effect.fnUntraced(function*(options) {
    const tokens = TokenRotation.tokensOf(options, [VhostTokens.random()])
    yield* check(options.path, tokens)
    if (vhosts.has(options.path)) return yield* new VhostExistsError({ path: options.path })
    const vhost = yield* enter({ path: options.path, given: tokens, rules: yield* rulesOf(options) })
    yield* Effect.onError(openAll(vhost, options), () => registry.abandon(vhost))
    yield* vhost.journal.persisted
    return vhost
  })
  const restore = Effect.fnUntraced(function*(options: VhostOptions, stored: StoredVhosts.StoredVhost) {
    const tokens = TokenRotation.tokensOf(options, stored.tokens)
    yield* check(options.path, tokens)
    if (vhosts.has(options.path)) return yield* new VhostExistsError({ path: options.path })
    const rules = yield* rulesOf(options, stored)
    yield* openAll(yield* enter({ path: options.path, given: tokens, rules, stored }), options)
  })
  const find = (path: string) =>
    Effect.suspend(() => {
      const entry = vhosts.get(path)
      return entry === undefined ? Effect.fail(new VhostNotFoundError({ path })) : Effect.succeed(entry)
    })

  yield* Effect.forEach(configured(config, restored), (options) => {
    const stored = restored.get(options.path)
    return stored === undefined ? add(options) : restore(options, stored)
  }, { discard: true })
  for (const [path, stored] of restored) {
    const rules = yield* rulesOf({ path }, stored)
    if (!vhosts.has(path)) yield* enter({ path, given: stored.tokens, rules, stored })
    yield* Effect.logInfo(`The vhost ${path} is restored: ${StoredVhosts.describe(stored)}`)
    // Until then its channels with history have no positions. If the storage fails, the log says so.
    yield* Effect.ignore(vhosts.get(path)?.vhost.journal.persisted ?? Effect.void)
  }
  return Vhosts.of({
    add,
    get: (path) => Effect.map(find(path), ({ vhost }) => vhost),
    list: Effect.sync(() => Array.from(vhosts.values(), ({ vhost }) => vhost)),
    ...TokenRotation.make(find, config.shutdownTimeout),
    remove: Effect.fnUntraced(function*(path) {
      const entry = yield* find(path)
      yield* registry.remove(entry)
      yield* entry.vhost.journal.persisted
    }),
    authorize: (identity) => Effect.suspend(() => authorize(vhosts, identity))
  })
})

const authorize = (
  vhosts: ReadonlyMap<string, Entered>,
  identity: Identity
): Effect.Effect<Vhost, UnauthorizedError> => {
  const vhost = vhosts.get(identity.vhost)?.vhost
  return vhost?.tokens.find(identity.token) !== undefined
    ? Effect.succeed(vhost)
    : Effect.fail(new UnauthorizedError({ detail: "the vhost is unknown or the access token does not open it" }))
}

/**
 * The vhosts as a layer, from the configuration.
 *
 * @since 0.1.0
 */
export const layer = Layer.effect(Vhosts, make)

/** A vhost of the registry. */
interface Entered {
  readonly vhost: Vhost
  readonly removed: Deferred.Deferred<void>
  readonly warnings: Warnings.Warnings
  readonly log: Log
  readonly state: VhostState
  readonly logScope: Scope.Closeable
}
// The vhosts by their paths, and their background fibers.
const makeRegistry = Effect.fnUntraced(function*({ isComplete, journalOf }: VhostParts.Storage) {
  const config = yield* BrokerConfig
  const clock = yield* Clock.Clock
  const onDefect = logNotSent(Effect.runForkWith(yield* Effect.context<never>()))
  const sharedTokens = Option.getOrUndefined(yield* Effect.serviceOption(AccessTokens.SharedAccessTokens))
  const vhosts = new Map<string, Entered>()
  const lags = Metrics.makeLags(yield* Effect.context<never>())
  const shared = { clock, patterns: Patterns.make(), lags, verifier: yield* StatelessTokens.Verifier }
  // The configuration that a vhost exposes must not contain the tokens of others.
  const limitsOnly = { ...config, vhosts: [], defaultVhost: undefined }
  const rulesOf = VhostRules.make(yield* Effect.fromResult(Rules.make(config.channelRules, config)), config)
  const limits = { ...Limits.fromConfig(config), history: History.makeTotal(config.history.totalSize) }
  let totalsOfRemoved = Metrics.nothing
  const { wake, ...work } = Background.make(config.heartbeat.interval, clock, () => vhosts.values())
  const queues = yield* VhostParts.sharedQueues
  const parts = yield* VhostParts.makeParts(queues, isComplete)

  const alone = Semaphore.makeUnsafe(1).withPermits(1)
  const enter = Effect.fnUntraced(function*(entering: VhostParts.Entering) {
    const { path, rules, stored } = entering
    if (vhosts.has(path)) return yield* new VhostExistsError({ path })
    const journal = journalOf(path)
    const own = { ...limits, ...shared, path, rules: rules.all, journal, wake }
    const { deadLetters, lobby, log, logScope, replay, state } = yield* parts({ ...own, onDefect }, stored)
    const removed = Deferred.makeUnsafe<void>()
    const channels = Channels.make(state, log)
    const vhost: Vhost = {
      path,
      ...VhostParts.makeSettings(entering, { channels, journal, rulesOf }),
      get token() {
        return vhost.tokens.list()[0]
      },
      channels,
      accessTokens: accessTokensOf(sharedTokens, path, { ...own, issued: stored?.issued }),
      authentications: Authentications.make(clock, wake),
      lobby,
      ...replay,
      config: limitsOnly,
      deadLetters,
      journal,
      browsers: Browsers.make(state, log),
      calls: Calls.make(own),
      responseCache: ResponseCache.make({ ...limits, clock }),
      removed: Deferred.await(removed),
      isRemoved: () => vhosts.get(path)?.vhost !== vhost
    }
    const warnings = Warnings.make(path, lobby, deadLetters, clock)
    vhosts.set(path, { vhost, removed, warnings, log, state, logScope })
    return vhost
  })
  const removal = makeRemoval(vhosts, queues, config, (vhost) => {
    totalsOfRemoved = Metrics.add(totalsOfRemoved, vhost)
  })

  const all = () => Iterable.map(vhosts.values(), ({ vhost }) => vhost)
  yield* report(all)
  yield* Metrics.register(all, () => totalsOfRemoved)
  yield* Effect.forkScoped(work.heartbeats)
  yield* Effect.forkScoped(work.redeliveries)
  return { vhosts, rulesOf, enter: (entering: VhostParts.Entering) => alone(enter(entering)), ...removal }
})

const makeRemoval = (
  vhosts: Map<string, Entered>,
  queues: Effect.Success<typeof VhostParts.sharedQueues>,
  { shutdownTimeout }: BrokerConfig["Service"],
  onRemoved: (vhost: Vhost) => void
) => {
  const leave = (vhost: Vhost): Effect.Effect<void> => {
    const entered = vhosts.get(vhost.path)
    // First, so that nothing is recorded of what it deletes anyway.
    vhost.journal.deleted("Vhost", vhost.path)
    History.release(entered?.state.histories)
    vhosts.delete(vhost.path)
    return entered === undefined ? Effect.void : Scope.close(entered.logScope, Exit.void)
  }
  return {
    abandon: (vhost: Vhost) => Effect.andThen(Effect.suspend(() => leave(vhost)), queues.stop(vhost.path)),
    // One synchronous step, so that an interruption cannot leave the vhost half removed. The effect ends its workers and its log.
    remove: ({ removed, vhost }: Entered): Effect.Effect<void> => {
      const left = leave(vhost)
      // From now on nobody watches their deadlines.
      vhost.lobby.endRequestsUnsafe("its vhost was removed")
      onRemoved(vhost)
      Deferred.doneUnsafe(removed, Exit.void)
      const dismissed = Effect.timeoutOption(vhost.lobby.dismissAll, shutdownTimeout)
      return Effect.andThen(Effect.ensuring(dismissed, left), queues.remove(vhost.path))
    }
  }
}

// What this node has to do, for the lists of other nodes.
const report = (vhosts: () => Iterable<Vhost>) =>
  Effect.map(
    Effect.serviceOption(Cluster),
    Option.match({
      onNone: constVoid,
      onSome: (cluster) => {
        const sum = (count: (vhost: Vhost) => number) =>
          Iterable.reduce(vhosts(), 0, (total, vhost) => total + count(vhost))
        cluster.report(() => ({
          browsers: sum(({ browsers }) => browsers.countOwn()),
          workers: sum(({ lobby }) => lobby.counters.workers)
        }))
      }
    })
  )

const logNotSent = (run: (effect: Effect.Effect<void>) => unknown) => (defect: unknown): void =>
  void run(Effect.logError("An event or the result of a request was not sent", defect))
// The default vhost applies if there is no other one, or if it was restored: its token may have changed.
const configured = (
  { defaultVhost, vhosts }: BrokerConfig["Service"],
  restored: ReadonlyMap<string, StoredVhosts.StoredVhost>
) =>
  vhosts.length === 0 && defaultVhost !== undefined && (restored.size === 0 || restored.has(defaultVhost.path))
    ? [defaultVhost]
    : vhosts

// The admin endpoint has other things there.
const reserved = ["api", "metrics", "health", "ready"]

const check = (path: string, tokens: ReadonlyArray<Redacted.Redacted>): Effect.Effect<void, InvalidVhostError> => {
  const detail = !isVhostPath(path)
    ? "a path is / and words of letters, digits, _ and -, up to 128"
    : reserved.includes(path.split("/")[1]!)
    ? `a path cannot begin with ${reserved.map((word) => `/${word}`).join(", ")}`
    : !tokens.every((token) => isAccessToken(Redacted.value(token)))
    ? VhostTokens.malformed
    : tokens.length > VhostTokens.maxTokens
    ? `a vhost has at most ${VhostTokens.maxTokens} access tokens`
    : undefined
  return detail === undefined ? Effect.void : Effect.fail(new InvalidVhostError({ path, detail }))
}

const openAll = ({ channels }: Vhost, options: VhostOptions) =>
  Effect.forEach(options.channels ?? [], channels.open, { discard: true })

// Single access tokens are those of all nodes in a cluster; stateless ones are nobody's.
const accessTokensOf = (
  shared: AccessTokens.SharedAccessTokens["Service"] | undefined,
  path: string,
  options: AccessTokens.Shared & Parameters<typeof AccessTokens.make>[0] & Parameters<typeof StatelessTokens.make>[0]
): AccessTokens.AccessTokens =>
  shared === undefined
    ? AccessTokens.make(options)
    : { ...shared.tokensOf(path, options), ...StatelessTokens.make(options) }
