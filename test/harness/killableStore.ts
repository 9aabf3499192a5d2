/**
 * A store whose broker can be killed: what is not written then is lost, and the next broker has the rest.
 */
import { Effect, Layer, Logger, type Scope } from "effect"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import * as Vhosts from "../../src/server/engine/Vhosts.ts"
import { type Entry, layerMemory, Store, StoreError } from "../../src/server/store/Store.ts"

export interface Killable {
  /** The life of one broker with the vhost `/test`. It ends with `kill`, or in order. */
  readonly live: <A, E>(
    options: BrokerConfig.Options,
    use: (vhost: Vhosts.Vhost) => Effect.Effect<A, E, Scope.Scope>
  ) => Effect.Effect<A, unknown>
  /** What is stored, while no broker runs. */
  readonly stored: Effect.Effect<ReadonlyArray<Entry>, StoreError>
  /** From now on the broker that runs writes nothing. */
  readonly kill: () => void
  /** From now on it cannot write, until it can. */
  readonly fail: (whether: boolean) => void
  /** The machine was started again, and its last writes may be lost. */
  readonly loseLast: () => void
}

/** Makes a store in memory, or wraps one that can be opened again. */
export const make = (open?: Effect.Effect<Store["Service"], StoreError, Scope.Scope>) =>
  Effect.gen(function*() {
    const memory = yield* Layer.build(layerMemory)
    let generation = 0
    let fails = false
    let isComplete = true
    const wrap = (store: Store["Service"]): Store["Service"] => {
      const own = generation
      const all = isComplete && store.isComplete
      isComplete = true
      return Store.of({
        load: store.load,
        isComplete: all,
        write: (changes) =>
          Effect.suspend(() => own === generation && !fails ? store.write(changes) : Effect.fail(failure))
      })
    }
    const opening = open ?? Effect.provide(Store, memory)
    const killable: Killable = {
      stored: Effect.scoped(Effect.flatMap(opening, ({ load }) => load)),
      live: Effect.fnUntraced(
        function*(options, use) {
          const layer = Layer.mergeAll(
            Layer.succeed(Store, wrap(yield* opening)),
            BrokerConfig.layer({ vhosts: [{ path: "/test" }], ...options }),
            Logger.layer([])
          )
          const live = Effect.flatMap(Vhosts.make, (vhosts) => Effect.flatMap(vhosts.get("/test"), use))
          return yield* Effect.provide(live, layer)
        },
        Effect.scoped,
        Effect.ensuring(Effect.sync(() => void (fails = false)))
      ),
      kill: () => void generation++,
      fail: (whether) => void (fails = whether),
      loseLast: () => void (isComplete = false)
    }
    return killable
  })

const failure = new StoreError({ location: "nowhere", detail: "the broker was killed" })
