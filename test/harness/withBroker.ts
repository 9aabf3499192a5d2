/**
 * A broker of its own for one test.
 */
import { Effect, Layer, Logger, References, type Scope } from "effect"
import { expect } from "vitest"
import type { Broker, BrokerConfig, Vhosts } from "../../src/server/index.ts"
import { layer, type TestBroker } from "./TestBroker.ts"

/**
 * Runs a test against a broker with these options. Its connections end before the broker does. Whatever they have done,
 * nothing in the broker has failed that it did not expect to: such a fault is logged, and fails the test.
 */
export const withBroker =
  (options?: BrokerConfig.Options) =>
  <A, E>(test: Effect.Effect<A, E, TestBroker | Broker.Broker | Vhosts.Vhosts | Scope.Scope>) =>
    Effect.suspend(() => {
      const faults: Array<unknown> = []
      const logger = Logger.make(({ cause, logLevel, message }) => {
        if (logLevel === "Error" || logLevel === "Fatal") faults.push(message, ...cause.reasons)
      })
      return test.pipe(
        Effect.scoped,
        Effect.provide(Layer.provideMerge(layer(options), Logger.layer([logger]))),
        Effect.provideService(References.UnhandledLogLevel, "Error"),
        Effect.tap(() => Effect.sync(() => expect(faults).toEqual([])))
      )
    })
