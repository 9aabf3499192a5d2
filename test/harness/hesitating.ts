/**
 * A broker whose store begins to hesitate when the broker is up.
 */
import { Deferred, Effect, Layer, Logger } from "effect"
import { Store, StoreError } from "../../src/server/store/Store.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "./engine.ts"

/** Why a store fails. */
export const diskFull = new StoreError({ location: "nowhere", detail: "the disk is full" })

/** Whatever is written to the store of this broker waits for `gate`, and has its outcome. `token` is a single access token. */
export const hesitating = (options?: Partial<TestBroker.BackendOptions>) =>
  Effect.gen(function*() {
    const gate = yield* Deferred.make<void, StoreError>()
    let hesitates = false
    const store = Store.of({
      isComplete: true,
      load: Effect.succeed([]),
      write: () => Effect.suspend(() => hesitates ? Deferred.await(gate) : Effect.void)
    })
    const context = yield* Layer.build(
      TestBroker.layerBackend({ channels: ["room"], ...options, store: Layer.succeed(Store, store) }).pipe(
        Layer.provideMerge(Logger.layer([]))
      )
    )
    const token = yield* Effect.provide(
      Effect.flatMap(
        testBroker,
        ({ vhost }) => Effect.tap(vhost.accessTokens.issue("joe", ".*"), vhost.journal.persisted)
      ),
      context
    )
    hesitates = true
    // Nothing could end otherwise.
    yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
    return { gate, context, token }
  })
