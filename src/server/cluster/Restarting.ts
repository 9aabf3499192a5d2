/**
 * A node of a cluster that starts anew when it has lost its lease: everything of it ends, so that its browsers find another node and its
 * workers are dismissed, and is built again as a new node, on the same ports. Until that succeeds it is tried once a second.
 *
 * The process goes on, since the broker may be a part of an application. What the application has got stays valid: where the broker can be
 * reached does not change, and `Vhosts` waits for the new node.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { Cluster } from "../engine/Cluster.ts"
import { Vhosts } from "../Vhosts.ts"

/**
 * Builds a node, and builds it again whenever its lease is lost. `build` gets what was built first, for the ports.
 *
 * @since 0.1.0
 */
export const layer = <A, E extends { readonly message: string }, R>(
  build: (first: Context.Context<A> | undefined) => Layer.Layer<A | Vhosts | Cluster, E, R>
): Layer.Layer<A | Vhosts, E, R> =>
  Layer.effectContext(Effect.gen(function*() {
    const isUp = Latch.makeUnsafe(true)
    const first = yield* open(build(undefined))
    let current = first
    const next = Effect.gen(function*() {
      const { message } = yield* Effect.flip(Context.get(current.context, Cluster).fenced)
      isUp.closeUnsafe()
      yield* Effect.logError(`${message}. This node ends, and starts anew`)
      yield* current.close
      current = yield* Effect.orDie(Effect.retry(logged(open(build(first.context))), Schedule.spaced("1 second")))
      isUp.openUnsafe()
    })
    yield* Effect.addFinalizer(() => Effect.suspend(() => current.close))
    yield* Effect.forkScoped(Effect.forever(next))
    const vhosts = Effect.andThen(isUp.await, Effect.sync(() => Context.get(current.context, Vhosts)))
    return Context.add(first.context, Vhosts, vhostsOf(vhosts))
  }))

const logged = <A, E extends { readonly message: string }, R>(opening: Effect.Effect<A, E, R>) =>
  Effect.tapError(opening, ({ message }) => Effect.logError(`This node cannot start: ${message}`))

const open = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const close = Effect.uninterruptible(Scope.close(scope, Exit.void))
    const context = yield* Effect.onError(Layer.buildWithScope(layer, scope), () => close)
    return { context, close }
  })

const vhostsOf = (current: Effect.Effect<Vhosts["Service"]>): Vhosts["Service"] =>
  Vhosts.of({
    add: (options) => Effect.flatMap(current, ({ add }) => add(options)),
    remove: (path) => Effect.flatMap(current, ({ remove }) => remove(path)),
    addToken: (path, token) => Effect.flatMap(current, ({ addToken }) => addToken(path, token)),
    removeToken: (path, token) => Effect.flatMap(current, ({ removeToken }) => removeToken(path, token)),
    regenerateToken: (path) => Effect.flatMap(current, ({ regenerateToken }) => regenerateToken(path)),
    get: (path) => Effect.flatMap(current, ({ get }) => get(path)),
    list: Effect.flatMap(current, ({ list }) => list)
  })
