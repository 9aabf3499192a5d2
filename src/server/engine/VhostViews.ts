/**
 * What an application sees of the vhosts: it changes what is persisted, and waits for that.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Grant from "../../protocol/Grant.ts"
import { InternalError } from "../../protocol/KosmonautError.ts"
import { type Counts, type Vhost, Vhosts } from "../Vhosts.ts"
import * as Engine from "./Vhosts.ts"

const make = Effect.map(Engine.Vhosts, (engine) =>
  Vhosts.of({
    add: (options) => Effect.map(engine.add(options), viewOf),
    remove: engine.remove,
    addToken: engine.addToken,
    removeToken: engine.removeToken,
    regenerateToken: engine.regenerateToken,
    get: (path) => Effect.map(engine.get(path), viewOf),
    list: Effect.map(engine.list, (all) => all.map(viewOf))
  }))

const views = new WeakMap<Engine.Vhost, Vhost>()
const vhosts = new WeakMap<Vhost, Engine.Vhost>()

const viewOf = (vhost: Engine.Vhost): Vhost => views.get(vhost) ?? makeView(vhost)

const makeView = (vhost: Engine.Vhost): Vhost => {
  const { accessTokens, channels, deadLetters, journal, replay, replayAll } = vhost
  const persisted = <A, E>(change: Effect.Effect<A, E>) => Effect.tap(change, () => journal.persisted)
  const view: Vhost = {
    path: vhost.path,
    get token() {
      return vhost.token
    },
    tokens: Effect.sync(vhost.tokens.list),
    counts: Effect.sync(() => countsOf(vhost)),
    issueToken: (uid, pattern, { subscribe, ...options } = {}) => {
      const grant = Grant.make({ uid, pattern, channels: subscribe, ...options })
      return Result.isFailure(grant)
        ? Effect.fail(new InternalError({ detail: grant.failure }))
        : persisted(accessTokens.issue(uid, pattern, grant.success))
    },
    revokeTokens: (uid) => persisted(accessTokens.revoke(uid)),
    channels: {
      open: (name) => persisted(channels.open(name)),
      close: (name) => persisted(channels.close(name)),
      list: channels.list
    },
    channelRules: Effect.sync(vhost.channelRules),
    setChannelRules: (rules) => persisted(vhost.setChannelRules(rules)),
    deadLetters: {
      list: deadLetters.list,
      replay: (id) => persisted(replay(id)),
      replayAll: persisted(replayAll),
      discard: (id) => persisted(Effect.map(deadLetters.take(id), (taken) => taken !== undefined)),
      discardAll: persisted(Effect.map(deadLetters.takeAll, (taken) => taken.length))
    }
  }
  views.set(vhost, view)
  vhosts.set(view, vhost)
  return view
}

const countsOf = ({ browsers, channels, deadLetters, lobby }: Engine.Vhost): Counts => ({
  browsers: browsers.count(),
  workers: lobby.counters.workers,
  channels: channels.counters.channels,
  subscriptions: channels.counters.subscriptions,
  queued: lobby.counters.queued,
  unacked: lobby.counters.unacknowledged,
  deadLetters: deadLetters.counters.count
})

/**
 * The vhost that a view is of.
 *
 * @since 0.1.0
 */
export const ofView = (view: Vhost): Engine.Vhost => vhosts.get(view)!

/**
 * The service as a layer, of the broker's own vhosts.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<Vhosts, never, Engine.Vhosts> = Layer.effect(Vhosts, make)
