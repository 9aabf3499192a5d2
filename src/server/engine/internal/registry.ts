/**
 * The vhosts that this broker has are those that are registered. What administrators change is registered first, and then done here.
 *
 * If several nodes share the registry, each does what the others have registered: at once when it is told, and every few seconds
 * in case that was lost. Connections that have shown a token which another node has removed are ended.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { InternalError } from "../../../protocol/KosmonautError.ts"
import type { ChannelRule } from "../../BrokerConfig.ts"
import { type InvalidOptionError, VhostExistsError, VhostNotFoundError } from "../../BrokerError.ts"
import type { Channels } from "../Channels.ts"
import type { Journal } from "../Journal.ts"
import type { Registered, Settings, SharedVhosts } from "../SharedVhosts.ts"
import { supervised } from "../Supervisor.ts"
import type { Decision, VhostToken } from "../VhostTokens.ts"
import * as VhostRules from "./vhostRules.ts"
import type { VhostSettings } from "./vhostSettings.ts"

/** A vhost of this broker. */
export interface Entry {
  readonly vhost: { readonly path: string; readonly channels: Channels; readonly journal: Journal }
  readonly settings: VhostSettings
}

/** What the registry needs. */
export interface Options<E extends Entry> {
  readonly registered: SharedVhosts["Service"]
  /** Whether others change it, too. */
  readonly isShared: boolean
  /** The vhosts of this broker, by their paths. */
  readonly vhosts: ReadonlyMap<string, E>
  readonly enter: (
    path: string,
    registered: Registered,
    rules: VhostRules.VhostRules
  ) => Effect.Effect<E, InternalError>
  /** Removes a vhost in one step, and returns what is left to do for it. */
  readonly removeUnsafe: (entry: E) => Effect.Effect<void>
  readonly rulesOf: VhostRules.VhostRulesOf
  /** Ends the connections that have shown these tokens. */
  readonly end: (removed: ReadonlyArray<VhostToken>) => Effect.Effect<unknown>
}

/** The registry. */
export interface Registry<E extends Entry> {
  /** Adds a vhost that is not registered. */
  readonly add: (path: string, settings: Settings, rules: VhostRules.VhostRules) => Effect.Effect<
    E,
    VhostExistsError | InternalError
  >
  readonly remove: (path: string) => Effect.Effect<void, VhostNotFoundError | InternalError>
  readonly changeTokens: <A, F>(
    path: string,
    decide: (tokens: ReadonlyArray<Redacted.Redacted>) => Result.Result<Decision<A>, F>
  ) => Effect.Effect<Changed<E, A>, F | VhostNotFoundError | InternalError>
  /** Sets the own rules of the vhost with this path that was added by this change. */
  readonly setRules: (
    path: string,
    created: number,
    rules: ReadonlyArray<ChannelRule>
  ) => Effect.Effect<void, InvalidOptionError | InternalError>
  /** Waits, for a moment, until this broker has what is registered now. Others who wait make it no more work. */
  readonly refreshed: Effect.Effect<void>
  /** Does what others register, until the scope ends. */
  readonly follow: Effect.Effect<void>
}

/** A change that was made: what it is told with, and the tokens that are removed by it. */
export interface Changed<E extends Entry, A> {
  readonly value: A
  readonly removed: ReadonlyArray<VhostToken>
  readonly vhost: E["vhost"]
}

/** After how many milliseconds a broker looks without having been told. */
const interval = 5000

/** How many milliseconds pass between two looks, however many ask for one. */
const pause = 100

/** How many milliseconds somebody waits for one. */
const patience = 1000

/** Makes it. */
export const make = Effect.fnUntraced(function*<E extends Entry>(
  options: Options<E>
): Effect.fn.Return<Registry<E>, never, Scope.Scope> {
  const { isShared, registered, removeUnsafe } = options
  const alone = Semaphore.makeUnsafe(1).withPermits(1)
  const due = new WeakSet<E>()
  const { found, sync } = yield* makeSync(options, due)
  const change = makeChange(options, found, sync)

  const add = Effect.fnUntraced(function*(path: string, settings: Settings, rules: VhostRules.VhostRules) {
    const version = yield* registered.change(path, 0, settings)
    if (version === undefined) return yield* new VhostExistsError({ path })
    return yield* Effect.onError(
      options.enter(path, { ...settings, version, created: version }, rules),
      () => Effect.ignore(registered.change(path, version, undefined))
    )
  })
  const remove = Effect.fnUntraced(function*(path: string) {
    for (;;) {
      const entry = yield* found(path)
      const version = yield* registered.change(path, entry.settings.registered().version, undefined)
      if (version !== undefined) return { journal: entry.vhost.journal, rest: removeUnsafe(entry) }
      yield* sync
    }
  })
  const setRules = makeSetRules(options, change, sync, due)
  const { follow, refreshed } = makeFollow(registered, alone(sync))
  return {
    add: (path, settings, rules) => alone(add(path, settings, rules)),
    remove: (path) =>
      Effect.flatMap(
        alone(Effect.uninterruptible(remove(path))),
        ({ journal, rest }) => Effect.andThen(rest, journal.persisted)
      ),
    changeTokens: (path, decide) =>
      alone(change(path, (current) =>
        Result.map(decide(current.tokens), ({ tokens, value }) => ({
          settings: tokens === current.tokens ? current : { tokens, rules: current.rules },
          value
        })))),
    setRules: (path, created, rules) =>
      Effect.catchTag(
        alone(setRules(path, created, rules)),
        "VhostNotFoundError",
        ({ message }) => Effect.fail(new InternalError({ detail: message }))
      ),
    refreshed: isShared ? refreshed : Effect.void,
    follow: isShared ? follow : Effect.void
  }
})

// Makes the vhosts of this broker those that are registered. The rules of those that are `due` are to be put into their logs.
const makeSync = Effect.fnUntraced(function*<E extends Entry>(options: Options<E>, due: WeakSet<E>) {
  const { end, isShared, registered, removeUnsafe, rulesOf, vhosts } = options
  const scope = yield* Effect.scope
  // What takes its time nobody waits for.
  const inBackground = (work: Effect.Effect<unknown>) => Effect.asVoid(Effect.forkIn(work, scope))
  // Those that were looked at once. The others have put their rules into their logs, though others may have set some meanwhile.
  const settled = new WeakSet<E>()

  const update = Effect.fnUntraced(function*(entry: E, now: Registered) {
    const { settings, vhost } = entry
    const before = settings.rules()
    const isChanged = now.rules !== settings.registered().rules
    // Those that cannot be read are not taken over.
    const rules = isChanged ? yield* Effect.option(rulesOf(undefined, now.rules)) : Option.none()
    const removed = settings.apply(now, Option.getOrUndefined(rules))
    if (removed.length > 0) yield* inBackground(end(removed))
    if (!settled.has(entry) && settings.rules() !== before) due.add(entry)
    settled.add(entry)
    if (!due.has(entry)) return
    // If this fails, the next look tries it again.
    const setting = vhost.channels.setRules(settings.rules().all)
    yield* Effect.ignore(Effect.andThen(setting, Effect.sync(() => due.delete(entry))))
  })
  const enter = Effect.fnUntraced(function*(path: string, now: Registered) {
    yield* options.enter(path, now, yield* rulesOf(undefined, now.rules))
    yield* Effect.logInfo(`The vhost ${path} was added at another node`)
  })
  const sync = Effect.gen(function*() {
    const all = yield* registered.load
    for (const entry of [...vhosts.values()]) {
      const now = all.get(entry.vhost.path)
      if (now !== undefined && now.created === entry.settings.registered().created) yield* update(entry, now)
      else {
        yield* inBackground(removeUnsafe(entry))
        yield* Effect.logInfo(`The vhost ${entry.vhost.path} was removed at another node`)
      }
    }
    for (const [path, now] of all) {
      if (vhosts.has(path)) continue
      yield* Effect.catch(
        enter(path, now),
        ({ message }) => Effect.logError(`The vhost ${path} of another node cannot be served here: ${message}`)
      )
    }
  })
  const find = (path: string): Effect.Effect<E, VhostNotFoundError> =>
    Effect.suspend(() => {
      const entry = vhosts.get(path)
      return entry === undefined ? Effect.fail(new VhostNotFoundError({ path })) : Effect.succeed(entry)
    })
  const found = (path: string): Effect.Effect<E, VhostNotFoundError | InternalError> =>
    isShared && !vhosts.has(path) ? Effect.andThen(sync, find(path)) : find(path)
  return { sync, found }
})

const makeChange = <E extends Entry>(
  { registered }: Options<E>,
  found: (path: string) => Effect.Effect<E, VhostNotFoundError | InternalError>,
  sync: Effect.Effect<void, InternalError>
) =>
  Effect.fnUntraced(function*<A, F>(
    path: string,
    decide: (current: Registered) => Result.Result<{ readonly settings: Settings; readonly value: A }, F>,
    rules?: VhostRules.VhostRules
  ): Effect.fn.Return<Changed<E, A>, F | VhostNotFoundError | InternalError> {
    for (;;) {
      const { settings: known, vhost } = yield* found(path)
      const current = known.registered()
      const { settings, value } = yield* Effect.fromResult(decide(current))
      if (settings === current) return { value, vhost, removed: [] }
      const version = yield* registered.change(path, current.version, settings)
      if (version !== undefined) {
        return { value, vhost, removed: known.apply({ ...settings, version, created: current.created }, rules) }
      }
      yield* sync
    }
  })

const makeSetRules = <E extends Entry>(
  { isShared, rulesOf, vhosts }: Options<E>,
  change: ReturnType<typeof makeChange<E>>,
  sync: Effect.Effect<void, InternalError>,
  due: WeakSet<E>
) =>
  Effect.fnUntraced(function*(path: string, created: number, given: ReadonlyArray<ChannelRule>) {
    const compiled = yield* rulesOf(given)
    const rules = VhostRules.textOf(compiled)
    const decide = (current: Registered) =>
      current.created === created
        ? Result.succeed({ settings: { tokens: current.tokens, rules }, value: undefined })
        : Result.fail(new VhostNotFoundError({ path }))
    yield* change(path, decide, compiled)
    let last: VhostRules.VhostRules | undefined
    // If others have set rules after that, and put them into the log before, theirs are the ones that count.
    for (
      let entry = vhosts.get(path);
      entry !== undefined && entry.settings.rules() !== last;
      entry = vhosts.get(path)
    ) {
      last = entry.settings.rules()
      // If this fails, it is tried again.
      due.add(entry)
      yield* entry.vhost.channels.setRules(last.all)
      due.delete(entry)
      if (isShared) yield* sync
    }
  })

const makeFollow = ({ onChangeUnsafe }: SharedVhosts["Service"], sync: Effect.Effect<void, InternalError>) => {
  const isWanted = Latch.makeUnsafe(true)
  let next = Deferred.makeUnsafe<void>()
  const look = Effect.gen(function*() {
    yield* Effect.timeoutOption(isWanted.await, interval)
    isWanted.closeUnsafe()
    const waited = next
    next = Deferred.makeUnsafe()
    // Why it fails the connection says.
    yield* Effect.ignore(sync)
    Deferred.doneUnsafe(waited, Exit.void)
    yield* Effect.sleep(pause)
  })
  return {
    refreshed: Effect.suspend(() => {
      const looked = Deferred.await(next)
      // The look may begin within this call.
      isWanted.openUnsafe()
      return Effect.asVoid(Effect.timeoutOption(looked, patience))
    }),
    follow: Effect.acquireUseRelease(
      Effect.sync(() => onChangeUnsafe(() => void isWanted.openUnsafe())),
      () => supervised("The registry of vhosts", Effect.forever(look)),
      (stop) => Effect.sync(stop)
    )
  }
}
