/**
 * Brokers without endpoints, one after the other on one store.
 */
import { Effect, Layer, type Scope } from "effect"
import type { Delivery } from "../../src/protocol/Trigger.ts"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import type { Worker } from "../../src/server/engine/Lobby.ts"
import * as Vhosts from "../../src/server/engine/Vhosts.ts"
import * as SqliteStore from "../../src/server/store/SqliteStore.ts"
import { layerMemory, Store, StoreError } from "../../src/server/store/Store.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

/** One broker's time on a store: it ends without a word, and all that was kept is there. */
export type Live = <A, E>(
  use: (vhosts: Vhosts.Vhosts["Service"]) => Effect.Effect<A, E, Scope.Scope>,
  options?: BrokerConfig.Options
) => Effect.Effect<A, unknown>

const liveOn = (open: Effect.Effect<Store["Service"], StoreError, Scope.Scope>): Live => (use, options) =>
  Effect.flatMap(open, (store) =>
    Effect.flatMap(Vhosts.make, use).pipe(
      Effect.provideService(Store, store),
      Effect.provide(BrokerConfig.layer({ vhosts: [{ path: "/test" }], ...options }))
    )).pipe(Effect.scoped)

/** Each kind of store. */
export const stores = [
  {
    name: "layerMemory",
    make: Effect.map(Layer.build(layerMemory), (context) => liveOn(Effect.provide(Store, context)))
  },
  {
    name: "SqliteStore",
    make: Effect.map(temporaryFolder, (directory) => liveOn(SqliteStore.make({ directory })))
  }
]

interface Given extends Delivery {
  readonly json: string
  readonly origin: string | undefined
}

/** A worker that keeps what it is given. */
export const join = (vhost: Vhosts.Vhost, options?: Partial<Worker>) =>
  Effect.gen(function*() {
    const given: Array<Given> = []
    const connection = {}
    yield* vhost.lobby.register({
      id: "worker",
      connection,
      lifecycle: false,
      prefetch: 100,
      maxAttempts: 1,
      deliverUnsafe: (json, origin, settled, delivery = { id: "", attempt: 0 }) => {
        given.push({ json, origin, ...delivery })
        settled(true)
      },
      heartbeatUnsafe: () => {},
      dismiss: Effect.void,
      ...options
    })
    return {
      given,
      acknowledge: (...which: ReadonlyArray<number>) =>
        Effect.sync(() => vhost.lobby.ackUnsafe("worker", connection, which.map((n) => given[n]!.id))),
      fail: (which: number, reason: string) =>
        Effect.sync(() => vhost.lobby.nackUnsafe("worker", connection, given[which]!.id, reason))
    }
  })

/** Puts an event into the queue for each of these users. */
export const trigger = (vhost: Vhosts.Vhost, ...names: ReadonlyArray<string>) =>
  Effect.forEach(names, (name) => vhost.lobby.enqueue(`{"${name}":{}}`, `{"uid":"${name}"}`), { discard: true })

/** Issues a single access token. */
export const issue = (vhost: Vhosts.Vhost) => vhost.accessTokens.issue("joe", ".*")

/** The names of events. */
export const names = (given: ReadonlyArray<{ readonly json: string }>) =>
  given.map(({ json }) => Object.keys(JSON.parse(json))[0])

/** One broker's time with the vhost `/test`. */
export const inTest = <A, E>(use: (vhost: Vhosts.Vhost) => Effect.Effect<A, E, Scope.Scope>) => (live: Live) =>
  live((vhosts) => Effect.flatMap(vhosts.get("/test"), use))
