/**
 * The vhosts of a broker: isolated worlds, each with its access token, channels, workers and single access tokens.
 *
 * This is the service to administer a running broker with: add and remove vhosts, and through a vhost open and close its
 * channels. Endpoints use it to find out who may enter.
 *
 * Where there is a `Store`, the vhosts are those that the last broker has left there, as it left them, and those of the
 * configuration. One that is in both keeps its token unless the configuration gives one, and has the channels of both.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Iterable from "effect/Iterable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isAccessToken, isVhostPath } from "../../protocol/Endpoint.ts"
import { envelopeSize } from "../../protocol/Frame.ts"
import type { Identity } from "../../protocol/Identity.ts"
import { type InternalError, type InvalidChannelNameError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import { BrokerConfig, type VhostOptions } from "../BrokerConfig.ts"
import { InvalidVhostError, VhostExistsError, VhostNotFoundError } from "../BrokerError.ts"
import { Store } from "../store/Store.ts"
import * as AccessTokens from "./AccessTokens.ts"
import * as Channels from "./Channels.ts"
import * as DeadLetters from "./DeadLetters.ts"
import * as Idempotency from "./Idempotency.ts"
import * as Observe from "./internal/observe.ts"
import * as Stored from "./internal/stored.ts"
import * as Telling from "./internal/telling.ts"
import * as Journal from "./Journal.ts"
import * as Lobby from "./Lobby.ts"
import * as Pages from "./Pages.ts"
import * as Replaying from "./Replaying.ts"

/**
 * One vhost, alive until it is removed.
 *
 * @since 0.1.0
 */
export interface Vhost {
  readonly path: string
  /** What its backends authenticate with. */
  readonly token: Redacted.Redacted
  readonly channels: Channels.Channels
  readonly accessTokens: AccessTokens.AccessTokens
  readonly lobby: Lobby.Lobby
  /** What its broker was told: the limits of its browsers. */
  readonly config: BrokerConfig["Service"]
  /** Events that nobody will handle any more. */
  readonly deadLetters: DeadLetters.DeadLetters
  /**
   * Has a dead letter handled again, as a new event with new attempts; `false` says that there is none of this id. Where too
   * many events wait it fails, and the letter stays.
   */
  readonly replay: (id: string) => Effect.Effect<boolean, InternalError>
  /** What is noted of it for the store, and tells when it is kept. */
  readonly journal: Journal.Journal
  /** Has all dead letters handled again, the oldest first, as long as there is room for them. */
  readonly replayAll: Effect.Effect<Replaying.Replayed>
  /** The dead letters after a place, the oldest first. */
  readonly deadLettersAfter: (place: number) => Effect.Effect<Iterable<Channels.Placed<DeadLetters.DeadLetter>>>
  /** The pages that are connected. */
  readonly pages: Pages.Pages
  /** What was answered to Clients that may ask again. */
  readonly idempotency: Idempotency.Idempotency
  /** Waits until the vhost is removed; its browsers are disconnected then. */
  readonly removed: Effect.Effect<void>
  /** Whether it is removed. */
  readonly isRemoved: () => boolean
}

/**
 * The vhosts of a broker.
 *
 * @since 0.1.0
 */
export class Vhosts extends Context.Service<Vhosts, {
  /** Adds a vhost, with a random access token unless one is given. It fails, too, where the store cannot keep it yet. */
  readonly add: (
    options: VhostOptions
  ) => Effect.Effect<Vhost, InvalidVhostError | VhostExistsError | InvalidChannelNameError | InternalError>
  /** Removes a vhost: its workers are sent away, its browsers disconnected, what waited in it is gone. */
  readonly remove: (path: string) => Effect.Effect<void, VhostNotFoundError | InternalError>
  /** The vhost of this path. */
  readonly get: (path: string) => Effect.Effect<Vhost, VhostNotFoundError>
  /** All vhosts, in the order of their making. */
  readonly list: Effect.Effect<ReadonlyArray<Vhost>>
  /** The vhost that this identity's token opens. Tokens are compared in constant time. */
  readonly authorize: (identity: Identity) => Effect.Effect<Vhost, UnauthorizedError>
}>()("kosmonaut/server/engine/Vhosts") {}

/**
 * Makes the registry, with the vhosts of the configuration and of the store in it.
 *
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const config = yield* BrokerConfig
  const clock = yield* Clock.Clock
  const { journalOf, left } = yield* openStore
  const vhosts = new Map<string, Entered>()
  let totalsOfRemoved = Observe.nothing

  const enter = (path: string, token: Redacted.Redacted, stored?: Stored.Stored): Vhost => {
    const journal = journalOf(path)
    const bounds = { journal, largest: config.maxMessageSize - envelopeSize, now: clock.currentTimeMillisUnsafe() }
    const own = { ...config, ...stored && Stored.bury(stored, bounds), journal }
    const deadLetters = DeadLetters.make(own)
    const lobby = Lobby.make({ ...own, deadLetters })
    const removed = Deferred.makeUnsafe<void>()
    const vhost: Vhost = {
      path,
      token,
      channels: Channels.make({ ...own, announce: lobby.announceUnsafe }),
      accessTokens: AccessTokens.make(own),
      lobby,
      ...Replaying.make(deadLetters, lobby),
      config,
      deadLetters,
      journal,
      pages: Pages.make(lobby.announceUnsafe, config),
      idempotency: Idempotency.make({ ...config, clock }),
      removed: Deferred.await(removed),
      isRemoved: () => vhosts.get(path)?.vhost !== vhost
    }
    vhosts.set(path, { vhost, removed, tell: Telling.make(path, lobby, deadLetters) })
    journal.noteNew({ _tag: "Vhost", token })
    return vhost
  }
  const leave = (vhost: Vhost) => {
    vhosts.delete(vhost.path)
    vhost.journal.forget("Vhost", vhost.path)
  }

  const add: Vhosts["Service"]["add"] = Effect.fnUntraced(function*(options) {
    const token = options.token === undefined ? randomToken() : toRedacted(options.token)
    yield* check(options.path, token)
    if (vhosts.has(options.path)) return yield* new VhostExistsError({ path: options.path })
    const vhost = enter(options.path, token)
    yield* Effect.onError(openAll(vhost, options), () => Effect.sync(() => leave(vhost)))
    yield* vhost.journal.kept
    return vhost
  })
  const goOn = Effect.fnUntraced(function*(options: VhostOptions, stored: Stored.Stored) {
    const token = options.token === undefined ? stored.token : toRedacted(options.token)
    yield* check(options.path, token)
    if (vhosts.has(options.path)) return yield* new VhostExistsError({ path: options.path })
    yield* openAll(enter(options.path, token, stored), options)
  })

  const find = (path: string) =>
    Effect.suspend(() => {
      const entry = vhosts.get(path)
      return entry === undefined ? Effect.fail(new VhostNotFoundError({ path })) : Effect.succeed(entry)
    })

  yield* Observe.register(() => Iterable.map(vhosts.values(), ({ vhost }) => vhost), () => totalsOfRemoved)
  yield* Effect.forEach(config.vhosts, (options) => {
    const stored = left.get(options.path)
    return stored === undefined ? add(options) : goOn(options, stored)
  }, { discard: true })
  for (const [path, stored] of left) {
    if (!vhosts.has(path)) enter(path, stored.token, stored)
    yield* Effect.logInfo(`The vhost ${path} goes on with what was stored: ${Stored.describe(stored)}`)
  }
  const tick = Effect.suspend(() =>
    Effect.forEach(vhosts.values(), ({ tell, vhost }) => Effect.andThen(vhost.lobby.tick, tell), { discard: true })
  )
  yield* Effect.forkScoped(everyInTime(tick, config.heartbeatInterval))
  return Vhosts.of({
    add,
    get: (path) => Effect.map(find(path), ({ vhost }) => vhost),
    list: Effect.sync(() => Array.from(vhosts.values(), ({ vhost }) => vhost)),
    remove: Effect.fnUntraced(function*(path) {
      const { removed, vhost } = yield* find(path)
      leave(vhost)
      totalsOfRemoved = Observe.add(totalsOfRemoved, vhost)
      yield* vhost.lobby.dismissAll
      yield* Deferred.succeed(removed, undefined)
      yield* vhost.journal.kept
    }),
    authorize: (identity) =>
      Effect.suspend(() => {
        const vhost = vhosts.get(identity.vhost)?.vhost
        return vhost !== undefined && isSame(vhost.token, identity.token)
          ? Effect.succeed(vhost)
          : Effect.fail(new UnauthorizedError({ detail: "the vhost is unknown or the access token does not open it" }))
      })
  })
})

/**
 * The vhosts as a layer, from the configuration.
 *
 * @since 0.1.0
 */
export const layer = Layer.effect(Vhosts, make)

/** A vhost of the registry, what ends its browsers, and what tells its operator. */
interface Entered {
  readonly vhost: Vhost
  readonly removed: Deferred.Deferred<void>
  readonly tell: Effect.Effect<void>
}

// A broker that stood still hears first what workers have said meanwhile, before it takes one of them for dead.
const everyInTime = (tick: Effect.Effect<void>, interval: Duration.Duration) =>
  Effect.gen(function*() {
    const longest = 2 * Duration.toMillis(interval)
    for (let last = yield* Clock.currentTimeMillis;;) {
      const now = yield* Clock.currentTimeMillis
      if (now - last <= longest) yield* tick
      last = now
      yield* Effect.sleep(interval)
    }
  })

// Without a store nothing is left, and nothing noted.
const openStore = Effect.gen(function*() {
  const store = yield* Effect.serviceOption(Store)
  if (Option.isNone(store)) return { journalOf: () => Journal.none, left: new Map<string, Stored.Stored>() }
  return { left: yield* Stored.load(store.value), journalOf: yield* Journal.make(store.value) }
})

const check = (path: string, token: Redacted.Redacted): Effect.Effect<void, InvalidVhostError> =>
  !isVhostPath(path)
    ? Effect.fail(
      new InvalidVhostError({ path, detail: "a path is / and words of letters, digits, _ and -, up to 128" })
    )
    : !isAccessToken(Redacted.value(token))
    ? Effect.fail(new InvalidVhostError({ path, detail: "an access token has 40 letters, digits or _" }))
    : Effect.void

const openAll = ({ channels }: Vhost, options: VhostOptions) =>
  Effect.forEach(options.channels ?? [], channels.open, { discard: true })

const randomToken = (): Redacted.Redacted => Redacted.make(Hex.encode(SecureRandom.randomBytesUnsafe(20)))

const toRedacted = (token: string | Redacted.Redacted): Redacted.Redacted =>
  Redacted.isRedacted(token) ? token : Redacted.make(token)

const isSame = (one: Redacted.Redacted, other: Redacted.Redacted): boolean =>
  Mac.timingSafeEqual(encoder.encode(Redacted.value(one)), encoder.encode(Redacted.value(other)))

const encoder = new TextEncoder()
