/**
 * The lobby of a vhost under test, and workers that record what they receive.
 */
import { Clock, Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import type { Delivery } from "../../src/protocol/Trigger.ts"
import * as DeadLetters from "../../src/server/engine/DeadLetters.ts"
import * as Lobby from "../../src/server/engine/Lobby.ts"

/** A lobby. Workers that do not ack are given events after their first heartbeat. */
export const makeWithoutHeartbeats = (options?: Partial<Parameters<typeof Lobby.make>[0]>) =>
  Effect.map(Clock.Clock, (clock) =>
    Lobby.make({
      queueCapacity: 10_000,
      heartbeatInterval: Duration.millis(500),
      missedHeartbeats: 3,
      lifecycleRetention: Duration.minutes(1),
      maxMessageSize: 1_048_576,
      queueSize: 64 * 1_048_576,
      maxDeliveries: Infinity,
      redeliveryBackoff: Duration.zero,
      deadLetters: DeadLetters.make({ deadLetterCapacity: 1000, deadLetterSize: 16 * 1_048_576, clock }),
      clock,
      ...options
    }))

/** A lobby whose workers that do not ack send a heartbeat when they join, so that they are given events at once. */
export const make = (options?: Parameters<typeof makeWithoutHeartbeats>[0]) =>
  Effect.map(makeWithoutHeartbeats(options), (lobby): Lobby.Lobby => ({
    ...lobby,
    counters: lobby.counters,
    register: (worker) =>
      Effect.andThen(
        lobby.register(worker),
        worker.prefetch === undefined ? lobby.heartbeat(worker.id, worker.connection) : Effect.void
      )
  }))

/** A small list of dead letters, to look into. */
export const makeDeadLetters = Effect.map(
  Clock.Clock,
  (clock) => DeadLetters.make({ deadLetterCapacity: 10, deadLetterSize: 1000, clock })
)

/** Moves the clock, ticks whenever a tick is due, and at the end. */
export const tickAfter = (lobby: Lobby.Lobby, millis: number): Effect.Effect<void> =>
  millis <= 500
    ? Effect.andThen(TestClock.adjust(millis), lobby.tick)
    : Effect.andThen(tickAfter(lobby, 500), tickAfter(lobby, millis - 500))

export interface FakeWorker extends Lobby.Worker {
  /** What its connection has neither sent nor failed to send. */
  readonly pending: Array<{ readonly json: string; readonly sent: (isSent: boolean) => void }>
  /** Every event that it received, in order. */
  readonly received: Array<string>
  /** The origins of `received`. */
  readonly origins: Array<string | undefined>
  /** The deliveries of `received`. */
  readonly deliveries: Array<Delivery | undefined>
  /** Everything that it received: events, `heartbeat` and `dismissed`. */
  readonly log: Array<string>
}

/** A worker whose connection sends an event when the test says so, or at once if it is told whether that succeeds. */
export const worker = (id: string, options?: {
  readonly connection?: object
  readonly isSent?: boolean
  readonly lifecycle?: boolean
  readonly prefetch?: number
  readonly maxAttempts?: number
}): FakeWorker => {
  const self: FakeWorker = {
    id,
    connection: options?.connection ?? {},
    lifecycle: options?.lifecycle === true,
    prefetch: options?.prefetch,
    maxAttempts: options?.maxAttempts ?? 1,
    pending: [],
    received: [],
    origins: [],
    deliveries: [],
    log: [],
    deliverUnsafe: (json, origin, settled, delivery) => {
      self.received.push(json)
      self.origins.push(origin)
      self.deliveries.push(delivery)
      self.log.push(json)
      if (options?.isSent !== undefined) return settled(options.isSent)
      self.pending.push({
        json,
        sent: (isSent) => {
          self.pending.splice(self.pending.findIndex((event) => event.json === json), 1)
          settled(isSent)
        }
      })
    },
    heartbeatUnsafe: () => void self.log.push("heartbeat"),
    dismiss: Effect.sync(() => void self.log.push("dismissed"))
  }
  return self
}

/** The events `e<from>` up to before `e<to>`. */
export const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `e${from + index}`)

/** Enqueues events. */
export const enqueue = (lobby: Lobby.Lobby, ...events: ReadonlyArray<string>) =>
  Effect.forEach(events, (event) => lobby.enqueue(event), { discard: true })

/** Emits lifecycle events. Workers receive them as `texts` has them. */
export const emit = (lobby: Lobby.Lobby, ...events: ReadonlyArray<string>) =>
  Effect.sync(() => {
    for (const event of events) lobby.emitUnsafe({ event, data: {} })
  })

/** Lifecycle events as workers receive them. */
export const texts = (...events: ReadonlyArray<string>) => events.map((event) => `{"${event}":{}}`)

/** Every event that a worker received, with its attempt. */
export const deliveriesOf = (w: FakeWorker) => w.received.map((json, index) => [json, w.deliveries[index]?.attempt])

/** The events `e<from>` up to before `e<to>`, each with attempt 1. */
export const firstAttempts = (from: number, to: number) => numbers(from, to).map((event) => [event, 1])

/** The id of the last delivery of an event to a worker. */
export const idOf = (w: FakeWorker, json: string) => w.deliveries[w.received.lastIndexOf(json)]!.id

/** Acks events, all in one message. */
export const ack = (lobby: Lobby.Lobby, w: FakeWorker, ...events: ReadonlyArray<string>) =>
  Effect.sync(() => lobby.ackUnsafe(w.id, w.connection, events.map((event) => idOf(w, event))))

/** Nacks an event: its handler failed. */
export const nack = (lobby: Lobby.Lobby, w: FakeWorker, event: string, reason: string) =>
  Effect.sync(() => lobby.nackUnsafe(w.id, w.connection, idOf(w, event), reason))

/** Releases an event: it was not handled. */
export const release = (lobby: Lobby.Lobby, w: FakeWorker, event: string) => nack(lobby, w, event, "")
