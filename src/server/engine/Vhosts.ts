/**
 * The vhosts of a broker. They are isolated from each other, each with its access token, channels, workers and single access
 * tokens. This is the engine's own view of them; what applications see is in `server/Vhosts.ts`.
 *
 * The vhosts are those that are registered, by an earlier broker in its store or by other nodes, and those of the configuration. A
 * vhost that is in both has the channels of both. It keeps its restored token unless the configuration has one, and always keeps
 * those that other nodes have. If there is no vhost at all, `defaultVhost` is added.
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
import * as Iterable from "effect/Iterable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { Identity } from "../../protocol/Identity.ts"
import { type InternalError, type InvalidChannelNameError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import { BrokerConfig, type ChannelRule, type VhostOptions } from "../BrokerConfig.ts"
import {
  type InvalidOptionError,
  InvalidVhostError,
  type InvalidVhostTokenError,
  VhostExistsError,
  VhostNotFoundError
} from "../BrokerError.ts"
import * as AccessTokens from "./AccessTokens.ts"
import * as Authentications from "./Authentications.ts"
import * as Browsers from "./Browsers.ts"
import * as Calls from "./Calls.ts"
import * as Channels from "./Channels.ts"
import * as DeadLetters from "./DeadLetters.ts"
import * as Background from "./internal/background.ts"
import * as GivenVhosts from "./internal/givenVhosts.ts"
import * as History from "./internal/history.ts"
import * as Limits from "./internal/limits.ts"
import * as Metrics from "./internal/metrics.ts"
import * as NodeLoad from "./internal/nodeLoad.ts"
import * as Patterns from "./internal/patterns.ts"
import * as Registry from "./internal/registry.ts"
import * as StoredVhosts from "./internal/storedVhosts.ts"
import * as TokenRotation from "./internal/tokenRotation.ts"
import * as VhostParts from "./internal/vhostParts.ts"
import * as VhostRules from "./internal/vhostRules.ts"
import * as VhostSettings from "./internal/vhostSettings.ts"
import type { VhostState } from "./internal/vhostState.ts"
import * as Warnings from "./internal/warnings.ts"
import type * as Journal from "./Journal.ts"
import * as Lobby from "./Lobby.ts"
import type { Log } from "./Log.ts"
import type * as Replay from "./Replay.ts"
import * as ResponseCache from "./ResponseCache.ts"
import { type Registered, SharedVhosts } from "./SharedVhosts.ts"
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
  readonly channelRules: () => ReadonlyArray<ChannelRule>
  /** Sets the rules of its channels, and those of the broker after them. */
  readonly setChannelRules: (
    rules: ReadonlyArray<ChannelRule>
  ) => Effect.Effect<void, InvalidOptionError | InternalError>
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
 * Makes the registry, with the vhosts of the configuration and those that are registered already.
 *
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const config = yield* BrokerConfig
  const store = yield* VhostParts.openStore
  const shared = Option.getOrUndefined(yield* Effect.serviceOption(SharedVhosts))
  const registered = shared ?? store.local.vhosts
  const listeners = TokenRotation.makeListeners(config.shutdownTimeout)
  const own = yield* makeVhosts(store, (...args) => registry.setRules(...args))
  const { enter, removeUnsafe, rulesOf, vhosts } = own
  const registry: Registry.Registry<Entered> = yield* Registry.make<Entered>({
    registered,
    isShared: shared !== undefined,
    vhosts,
    enter: (path, registered, rules) => enter({ path, registered, rules }),
    removeUnsafe,
    rulesOf,
    end: listeners.end
  })
  const rules = GivenVhosts.rules(rulesOf)
  const add = makeAdd(registry, rules)
  const restore = makeRestore(registered, own, rules, shared !== undefined)
  const begin = (options: VhostOptions) =>
    Effect.flatMap(registered.load, (all) => {
      const { path } = options
      const known = all.get(path)
      if (vhosts.has(path)) return Effect.fail(new VhostExistsError({ path }))
      return known === undefined ? add(options) : restore(options, known, store.restored.get(path))
      // Another node may have added or changed it in between.
    }).pipe(Effect.retry({ while: ({ _tag }) => _tag === "VhostExistsError" && !vhosts.has(options.path) }))

  yield* Effect.forEach(GivenVhosts.of(config, yield* registered.load), begin, { discard: true })
  for (const [path, known] of yield* registered.load) {
    const stored = store.restored.get(path)
    if (!vhosts.has(path)) {
      yield* enter({ path, registered: known, rules: yield* rules({ path }, known.rules), stored })
    }
    if (stored !== undefined) yield* Effect.logInfo(`The vhost ${path} is restored: ${StoredVhosts.describe(stored)}`)
    // Until then its channels with history have no positions. If the storage fails, the log says so.
    yield* Effect.ignore(vhosts.get(path)?.vhost.journal.persisted ?? Effect.void)
  }
  yield* Effect.forkScoped(registry.follow)
  return Vhosts.of({
    add,
    get: (path) =>
      Effect.suspend(() => {
        const entry = vhosts.get(path)
        return entry === undefined ? Effect.fail(new VhostNotFoundError({ path })) : Effect.succeed(entry.vhost)
      }),
    list: Effect.sync(() => Array.from(vhosts.values(), ({ vhost }) => vhost)),
    ...TokenRotation.make(registry.changeTokens, listeners),
    onTokenRemoved: listeners.onTokenRemoved,
    remove: registry.remove,
    authorize: (identity) => {
      const authorized = Effect.suspend(() => authorize(vhosts, identity))
      // Another node may have added the token a moment ago.
      return shared === undefined
        ? authorized
        : Effect.catch(authorized, () => Effect.andThen(registry.refreshed, authorized))
    }
  })
})

const makeAdd = (registry: Registry.Registry<Entered>, rulesOf: GivenVhosts.CheckedRules): Vhosts["Service"]["add"] =>
  Effect.fnUntraced(function*(options) {
    const { path } = options
    const tokens = GivenVhosts.tokensOf(options, [VhostTokens.random()])
    yield* GivenVhosts.check(path, tokens)
    const rules = yield* rulesOf(options)
    const { vhost } = yield* registry.add(path, { tokens, rules: VhostRules.textOf(rules) }, rules)
    yield* Effect.onError(GivenVhosts.openAll(vhost, options), () => Effect.ignore(registry.remove(path)))
    yield* vhost.journal.persisted
    return vhost
  })

// Of a vhost that is registered and in the options, too.
const makeRestore = (
  { change }: SharedVhosts["Service"],
  { enter }: Effect.Success<ReturnType<typeof makeVhosts>>,
  rulesOf: GivenVhosts.CheckedRules,
  isShared: boolean
) =>
  Effect.fnUntraced(function*(options: VhostOptions, known: Registered, stored: StoredVhosts.StoredVhost | undefined) {
    const { path } = options
    const tokens = isShared ? known.tokens : GivenVhosts.tokensOf(options, known.tokens)
    yield* GivenVhosts.check(path, tokens)
    if (isShared) yield* GivenVhosts.warnOfToken(options, tokens)
    const rules = yield* rulesOf(options, known.rules)
    const settings = { tokens, rules: VhostRules.textOf(rules) }
    const isSame = tokens === known.tokens && settings.rules === known.rules
    const version = isSame ? known.version : yield* change(path, known.version, settings)
    if (version === undefined) return yield* new VhostExistsError({ path })
    const { created } = known
    const { vhost } = yield* enter({ path, registered: { ...settings, version, created }, rules, stored })
    yield* GivenVhosts.openAll(vhost, options)
    return vhost
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

/** A vhost of this broker. */
interface Entered {
  readonly vhost: Vhost
  readonly settings: VhostSettings.VhostSettings
  readonly removed: Deferred.Deferred<void>
  readonly warnings: Warnings.Warnings
  readonly log: Log
  readonly state: VhostState
  readonly logScope: Scope.Closeable
}

// The vhosts by their paths, and their background fibers.
const makeVhosts = Effect.fnUntraced(function*(
  { isComplete, local }: Effect.Success<typeof VhostParts.openStore>,
  setRules: Registry.Registry<Entered>["setRules"]
) {
  const config = yield* BrokerConfig
  const clock = yield* Clock.Clock
  const onDefect = logNotSent(Effect.runForkWith(yield* Effect.context<never>()))
  const sharedTokens = Option.getOrUndefined(yield* Effect.serviceOption(AccessTokens.SharedAccessTokens))
  const vhosts = new Map<string, Entered>()
  const lags = Metrics.makeLags(yield* Effect.context<never>())
  const common = { clock, patterns: Patterns.make(), lags, verifier: yield* StatelessTokens.Verifier }
  // The configuration that a vhost exposes must not contain the tokens of others.
  const limitsOnly = { ...config, vhosts: [], defaultVhost: undefined }
  const rulesOf = yield* VhostRules.make(config, clock)
  const limits = { ...Limits.fromConfig(config), history: History.makeTotal(config.history.totalSize) }
  let totalsOfRemoved = Metrics.nothing
  const { wake, ...work } = Background.make(config.heartbeat.interval, clock, () => vhosts.values())
  const shared = yield* VhostParts.shared
  const parts = yield* VhostParts.makeParts(shared, isComplete)

  const enter = Effect.fnUntraced(function*({ path, registered, rules, stored }: VhostParts.Entering) {
    const journal = local.journalOf(path)
    const name = VhostParts.sharedName(path, registered)
    const own = { ...limits, ...common, path, name, rules: rules.all, journal, wake }
    const { deadLetters, lobby, log, logScope, replay, state } = yield* parts({ ...own, onDefect }, stored)
    const removed = Deferred.makeUnsafe<void>()
    const settings = VhostSettings.make(registered, rules)
    const { tokens } = settings
    const vhost: Vhost = {
      path,
      tokens,
      get token() {
        return tokens.list()[0]
      },
      channels: Channels.make(state, log),
      channelRules: () => settings.rules().own,
      setChannelRules: (rules) => setRules(path, registered.created, rules),
      accessTokens: accessTokensOf(sharedTokens, name, { ...own, issued: stored?.issued }),
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
    const entered: Entered = { vhost, settings, removed, warnings, log, state, logScope }
    vhosts.set(path, entered)
    return entered
  })
  const removeUnsafe = makeRemove(vhosts, shared, config, (vhost) => {
    totalsOfRemoved = Metrics.add(totalsOfRemoved, vhost)
  })

  yield* watch(vhosts, work, () => totalsOfRemoved)
  return { vhosts, rulesOf, enter, removeUnsafe }
})

const watch = Effect.fnUntraced(function*(
  vhosts: ReadonlyMap<string, Entered>,
  { heartbeats, redeliveries }: Omit<Background.Background, "wake">,
  totalsOfRemoved: () => Metrics.Totals
) {
  const all = () => Iterable.map(vhosts.values(), ({ vhost }) => vhost)
  yield* NodeLoad.report(all)
  yield* Metrics.register(all, totalsOfRemoved)
  yield* Effect.forkScoped(heartbeats)
  yield* Effect.forkScoped(redeliveries)
})

// One synchronous step, so that an interruption cannot leave the vhost half removed. The effect ends its workers and its log.
const makeRemove = (
  vhosts: Map<string, Entered>,
  shared: VhostParts.Shared,
  { shutdownTimeout }: BrokerConfig["Service"],
  onRemoved: (vhost: Vhost) => void
) =>
({ logScope, removed, settings, state, vhost }: Entered): Effect.Effect<void> => {
  History.release(state.histories)
  vhosts.delete(vhost.path)
  // From now on nobody watches their deadlines.
  vhost.lobby.endRequestsUnsafe("its vhost was removed")
  onRemoved(vhost)
  Deferred.doneUnsafe(removed, Exit.void)
  return Effect.timeoutOption(vhost.lobby.dismissAll, shutdownTimeout).pipe(
    Effect.ensuring(Scope.close(logScope, Exit.void)),
    Effect.andThen(shared.remove(VhostParts.sharedName(vhost.path, settings.registered())))
  )
}

const logNotSent = (run: (effect: Effect.Effect<void>) => unknown) => (defect: unknown): void =>
  void run(Effect.logError("An event or the result of a request was not sent", defect))

// The nodes of a cluster share single access tokens. Stateless tokens are kept nowhere.
const accessTokensOf = (
  shared: AccessTokens.SharedAccessTokens["Service"] | undefined,
  name: string,
  options: AccessTokens.Shared & Parameters<typeof AccessTokens.make>[0] & Parameters<typeof StatelessTokens.make>[0]
): AccessTokens.AccessTokens =>
  shared === undefined
    ? AccessTokens.make(options)
    : { ...shared.tokensOf(name, options), ...StatelessTokens.make(options) }
