/**
 * The listenings of a Worker. Each has a connection, an inbox and a state of its own.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import type { ConnectionError } from "../../protocol/KosmonautError.ts"
import * as MetricSources from "../../protocol/MetricSources.ts"
import type * as Transport from "../../transport/Transport.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import * as ConnectionStates from "../ConnectionState.ts"
import * as Connection from "./connection.ts"
import * as Inbox from "./inbox.ts"
import * as Prefetch from "./prefetch.ts"

const { ConnectionState } = ConnectionStates
type ConnectionState = ConnectionStates.ConnectionState
type State = SubscriptionRef.SubscriptionRef<ConnectionState>

/** What is the same for all listenings of a Worker. */
export interface Settings {
  readonly transport: Transport.Transport["Service"]
  readonly endpoint: Endpoint
  readonly bufferSize: number
  readonly prefetch: number
  readonly mostPrefetch: number
  readonly maxAttempts: number
  readonly reconnect: Schedule.Schedule<unknown, ConnectionError>
  readonly heartbeatInterval: Duration.Duration
  readonly silenceTimeout: Duration.Duration
}

/** What one listening wants. */
export interface Options {
  /** Whether it takes lifecycle events, too. */
  readonly lifecycle: boolean
  /** Whether it responds to requests. */
  readonly responses: boolean
  /** Where its state is written; it makes one if it is `undefined`. */
  readonly state: State | undefined
}

/** What listens. */
export interface Listening {
  readonly inbox: Inbox.Inbox
  readonly connection: Connection.Connection
}

/** The listenings of a Worker. */
export interface Listenings {
  /** Begins to listen, until the scope ends. */
  readonly open: (options: Options) => Effect.Effect<Listening, never, Scope.Scope>
  /** The state of all together: that of the worst connection. */
  readonly state: Effect.Effect<ConnectionState>
  readonly changes: Stream.Stream<ConnectionState>
}

/** Makes it without a listening. */
export const make = Effect.fnUntraced(
  function*(settings: Settings): Effect.fn.Return<Listenings, never, Scope.Scope> {
    const { bufferSize, maxAttempts, mostPrefetch, prefetch, ...target } = settings
    const inboxes = new Set<Inbox.Inbox>()
    const states = yield* SubscriptionRef.make<ReadonlySet<State>>(new Set())
    // All Workers of a vhost in one process share one gauge, their sum.
    const { address, vhost } = settings.endpoint
    yield* MetricSources.gaugeScoped(
      ClientMetrics.inboxEvents,
      { address, vhost },
      () => Array.from(inboxes, (inbox) => inbox.size()).reduce((sum, size) => sum + size, 0)
    )

    const open: Listenings["open"] = Effect.fnUntraced(function*({ lifecycle, responses, state: given }) {
      const state = given ?? (yield* ConnectionStates.make)
      const inbox = Inbox.make(bufferSize)
      yield* Effect.acquireRelease(
        Effect.suspend(() => {
          inboxes.add(inbox)
          return SubscriptionRef.update(states, (all) => new Set(all).add(state))
        }),
        () => {
          inboxes.delete(inbox)
          return SubscriptionRef.update(states, (all) => new Set([...all].filter((other) => other !== state)))
        }
      )
      const connection = yield* Connection.make({
        ...target,
        inbox,
        state,
        ready: { lifecycle, maxAttempts, ...responses && { responses } },
        prefetch: Prefetch.make(prefetch, mostPrefetch)
      })
      return { inbox, connection }
    })

    return {
      open,
      state: Effect.sync(() => worst(SubscriptionRef.getUnsafe(states))),
      changes: SubscriptionRef.changes(states).pipe(Stream.switchMap(changesOf), Stream.changes)
    }
  }
)

// Of one listening each change as it was; of several what was the worst then.
const changesOf = (states: ReadonlySet<State>): Stream.Stream<ConnectionState> => {
  const changes = [...states].map(SubscriptionRef.changes)
  return changes.length === 0
    ? Stream.succeed(ConnectionState.Idle())
    : changes.length === 1
    ? changes[0]!
    : Stream.map(Stream.mergeAll(changes, { concurrency: "unbounded" }), () => worst(states))
}

const worst = (states: ReadonlySet<State>): ConnectionState => {
  const all = Array.from(states, SubscriptionRef.getUnsafe)
  return all.find(ConnectionState.$is("Disconnected")) ??
    all.find(ConnectionState.$is("Connecting")) ??
    all.find(ConnectionState.$is("Connected")) ??
    ConnectionState.Idle()
}
