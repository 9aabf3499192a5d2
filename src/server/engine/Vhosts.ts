/**
 * The vhosts of a broker: isolated worlds, each with its access token, channels, workers and single access tokens.
 *
 * This is the service to administer a running broker with: add and remove vhosts, and through a vhost open and close its
 * channels. Endpoints use it to find out who may enter.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Iterable from "effect/Iterable"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { isAccessToken, isVhostPath } from "../../protocol/Endpoint.ts"
import type { Identity } from "../../protocol/Identity.ts"
import { type InternalError, type InvalidChannelNameError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import { BrokerConfig, type VhostOptions } from "../BrokerConfig.ts"
import { InvalidVhostError, VhostExistsError, VhostNotFoundError } from "../BrokerError.ts"
import * as AccessTokens from "./AccessTokens.ts"
import * as Channels from "./Channels.ts"
import * as DeadLetters from "./DeadLetters.ts"
import * as Idempotency from "./Idempotency.ts"
import * as Observe from "./internal/observe.ts"
import * as Lobby from "./Lobby.ts"
import * as Pages from "./Pages.ts"

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
  /** Whether its pages may not broadcast themselves. */
  readonly onlyBackendsBroadcast: boolean
  /** Events that nobody will handle any more. */
  readonly deadLetters: DeadLetters.DeadLetters
  /**
   * Has a dead letter handled again, as a new event with new attempts; `false` says that there is none of this id. Where too
   * many events wait it fails, and the letter stays.
   */
  readonly replay: (id: string) => Effect.Effect<boolean, InternalError>
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
  /** Adds a vhost, with a random access token unless one is given. */
  readonly add: (
    options: VhostOptions
  ) => Effect.Effect<Vhost, InvalidVhostError | VhostExistsError | InvalidChannelNameError | InternalError>
  /** Removes a vhost: its workers are sent away, its browsers disconnected, what waited in it is gone. */
  readonly remove: (path: string) => Effect.Effect<void, VhostNotFoundError>
  /** The vhost of this path. */
  readonly get: (path: string) => Effect.Effect<Vhost, VhostNotFoundError>
  /** All vhosts, in the order of their making. */
  readonly list: Effect.Effect<ReadonlyArray<Vhost>>
  /** The vhost that this identity's token opens. Tokens are compared in constant time. */
  readonly authorize: (identity: Identity) => Effect.Effect<Vhost, UnauthorizedError>
}>()("kosmonaut/server/engine/Vhosts") {}

/**
 * Makes the registry, with the vhosts of the configuration in it.
 *
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const config = yield* BrokerConfig
  const vhosts = new Map<string, { readonly vhost: Vhost; readonly removed: Deferred.Deferred<void> }>()
  let totalsOfRemoved = Observe.nothing

  const add: Vhosts["Service"]["add"] = Effect.fnUntraced(function*(options) {
    const { path } = options
    const token = tokenOf(options)
    if (!isVhostPath(path)) {
      return yield* new InvalidVhostError({
        path,
        detail: "a path is / and words of letters, digits, _ and -, up to 128"
      })
    }
    if (!isAccessToken(Redacted.value(token))) {
      return yield* new InvalidVhostError({ path, detail: "an access token has 40 letters, digits or _" })
    }
    const deadLetters = DeadLetters.make(config)
    const lobby = Lobby.make({ ...config, deadLetters })
    const channels = Channels.make({ ...config, announce: lobby.announceUnsafe })
    yield* Effect.forEach(options.channels ?? [], channels.open, { discard: true })
    const idempotency = yield* Idempotency.make(config)
    const removed = yield* Deferred.make<void>()
    // From here to the end nothing else can run between.
    if (vhosts.has(path)) return yield* new VhostExistsError({ path })
    const vhost: Vhost = {
      path,
      token,
      channels,
      accessTokens: AccessTokens.make(config),
      lobby,
      replay: replay(deadLetters, lobby),
      onlyBackendsBroadcast: config.onlyBackendsBroadcast,
      deadLetters,
      pages: Pages.make(lobby.announceUnsafe),
      idempotency,
      removed: Deferred.await(removed),
      isRemoved: () => vhosts.get(path)?.vhost !== vhost
    }
    vhosts.set(path, { vhost, removed })
    return vhost
  })

  const find = (path: string) =>
    Effect.suspend(() => {
      const entry = vhosts.get(path)
      return entry === undefined ? Effect.fail(new VhostNotFoundError({ path })) : Effect.succeed(entry)
    })

  yield* Observe.register(() => Iterable.map(vhosts.values(), ({ vhost }) => vhost), () => totalsOfRemoved)
  yield* Effect.forEach(config.vhosts, add, { discard: true })
  yield* Effect.suspend(() => Effect.forEach(vhosts.values(), ({ vhost }) => vhost.lobby.tick, { discard: true })).pipe(
    Effect.repeat(Schedule.spaced(config.heartbeatInterval)),
    Effect.forkScoped
  )
  return Vhosts.of({
    add,
    get: (path) => Effect.map(find(path), ({ vhost }) => vhost),
    list: Effect.sync(() => Array.from(vhosts.values(), ({ vhost }) => vhost)),
    remove: Effect.fnUntraced(function*(path) {
      const { removed, vhost } = yield* find(path)
      vhosts.delete(path)
      totalsOfRemoved = Observe.add(totalsOfRemoved, vhost)
      yield* vhost.lobby.dismissAll
      yield* Deferred.succeed(removed, undefined)
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

// It is a dead letter until it is an event again: in between nothing else can run.
const replay = (deadLetters: DeadLetters.DeadLetters, lobby: Lobby.Lobby): Vhost["replay"] =>
  Effect.fnUntraced(function*(id) {
    const letters = yield* deadLetters.list
    const letter = letters.find((letter) => letter.id === id)
    if (letter === undefined) return false
    yield* lobby.trigger(letter.json, letter.origin)
    yield* deadLetters.take(id)
    return true
  })

const tokenOf = ({ token }: VhostOptions): Redacted.Redacted =>
  token === undefined
    ? Redacted.make(Hex.encode(SecureRandom.randomBytesUnsafe(20)))
    : Redacted.isRedacted(token)
    ? token
    : Redacted.make(token)

const isSame = (one: Redacted.Redacted, other: Redacted.Redacted): boolean =>
  Mac.timingSafeEqual(encoder.encode(Redacted.value(one)), encoder.encode(Redacted.value(other)))

const encoder = new TextEncoder()
