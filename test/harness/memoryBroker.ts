/**
 * A broker in memory for one test, by the test's clock: for what needs no socket.
 */
import { Duration, Effect, Layer, Logger, References, type Scope } from "effect"
import { expect } from "vitest"
import { Client, type Transport, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "./engine.ts"

/** Runs a test with a broker in memory. A defect in it is logged, and fails the test. */
export const withMemoryBroker =
  (options?: TestBroker.Options) =>
  <A, E>(test: Effect.Effect<A, E, TestBroker.TestBroker | Transport.Transport | Scope.Scope>) =>
    Effect.suspend(() => {
      const defects: Array<unknown> = []
      const logger = Logger.make(({ cause, logLevel, message }) => {
        if (logLevel === "Error" || logLevel === "Fatal") defects.push(message, ...cause.reasons)
      })
      return test.pipe(
        Effect.scoped,
        Effect.provide(
          Layer.provideMerge(
            TestBroker.layer({ channels: ["room", "presence-room", "private-room"], ...options }),
            Logger.layer([logger])
          )
        ),
        Effect.provideService(References.UnhandledLogLevel, "Error"),
        Effect.tap(() => Effect.sync(() => expect(defects).toEqual([])))
      )
    })

/** A Client and a Worker of that broker. */
export const memoryBackend = (options?: Omit<Worker.Options, "url">) =>
  Layer.unwrap(Effect.map(testBroker, ({ url, vhost: { config: { heartbeat } } }) =>
    Layer.mergeAll(
      Client.layer({ url }),
      Worker.layer({
        heartbeatInterval: heartbeat.interval,
        silenceTimeout: Duration.times(heartbeat.interval, heartbeat.maxMissed + 2),
        ...options,
        url
      })
    )))
