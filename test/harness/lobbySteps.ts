/**
 * Steps that may happen to a lobby, in any order, and a lobby that takes them.
 */
import { Arbitrary, Effect } from "effect"
import { TestClock } from "effect/testing"
import type * as Lobby from "../../src/server/engine/Lobby.ts"
import { int, oneOf, pick } from "../protocol/arbitraries.ts"

export type Step =
  | {
    readonly do: "join"
    readonly id: string
    readonly connection: number
    readonly lifecycle: boolean
    readonly prefetch: number | undefined
    readonly maxAttempts: number
  }
  | { readonly do: "leave"; readonly id: string; readonly connection: number | undefined }
  | { readonly do: "heartbeat"; readonly id: string; readonly connection: number | undefined }
  | { readonly do: "enqueue" | "emit"; readonly count: number }
  | { readonly do: "tick"; readonly after: number }
  /** A connection has sent the pending event at this index, or failed to. */
  | { readonly do: "settle"; readonly which: number; readonly delivered: boolean }
  | { readonly do: "settleAll" }
  /** Of some of all deliveries, counted from the last: by the worker that received it, or by another one. */
  | { readonly do: "ack"; readonly which: ReadonlyArray<number>; readonly by: Sender | undefined }
  | { readonly do: "nack"; readonly which: number; readonly by: Sender | undefined; readonly reason: string }
  | { readonly do: "ackAll" }
  | { readonly do: "dismissAll" }

export interface Sender {
  readonly id: string
  readonly connection: number
}

/** A delivery to a worker that acks. */
export interface Delivered extends Sender {
  readonly text: string
}

/** The delivery at this place, counted from the last, as that of another worker if one is given. */
export const deliveredTo = (
  all: ReadonlyArray<Delivered>,
  which: number,
  by: Sender | undefined
): Delivered | undefined => {
  const delivered = all.at(-1 - which)
  return delivered && { ...delivered, ...by }
}

const id = pick(["a", "b", "c"])

const sender: Arbitrary.Arbitrary<Sender | undefined> = oneOf<Sender | undefined>(
  Arbitrary.Constant(undefined),
  Arbitrary.Constant(undefined),
  Arbitrary.all({ id, connection: int(0, 1) })
)

const recent = oneOf(int(0, 3), int(0, 9), int(0, 80))

const nack: Arbitrary.Arbitrary<Step> = Arbitrary.map(
  Arbitrary.all({ which: recent, by: sender, reason: pick(["", "it failed", "again"]) }),
  (nack) => ({ do: "nack", ...nack })
)

const anyStep: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  Arbitrary.map(
    Arbitrary.all({
      id,
      connection: int(0, 1),
      lifecycle: pick([true, false]),
      prefetch: pick([undefined, 0, 1, 2, 5, 100]),
      maxAttempts: pick([1, 2, 4])
    }),
    (join) => ({ do: "join", ...join })
  ),
  Arbitrary.map(Arbitrary.all({ id, connection: pick([0, 1, undefined]) }), (leave) => ({ do: "leave", ...leave })),
  Arbitrary.map(
    Arbitrary.all({ id, connection: pick([0, 1, undefined]) }),
    (heartbeat) => ({ do: "heartbeat", ...heartbeat })
  ),
  Arbitrary.map(pick([1, 1, 1, 2, 5, 70]), (count) => ({ do: "enqueue", count })),
  Arbitrary.map(pick([1, 1, 1, 2, 5, 70]), (count) => ({ do: "emit", count })),
  Arbitrary.map(pick([0, 100, 250, 500, 500, 1500, 1501, 2001]), (after) => ({ do: "tick", after })),
  Arbitrary.map(
    Arbitrary.all({ which: recent, delivered: pick([true, false]) }),
    (settle) => ({ do: "settle", ...settle })
  ),
  Arbitrary.Constant({ do: "settleAll" }),
  Arbitrary.map(
    Arbitrary.all({ which: Arbitrary.array(recent, { maxLength: 4 }), by: sender }),
    (ack) => ({ do: "ack", ...ack })
  ),
  nack,
  nack,
  nack,
  Arbitrary.Constant({ do: "ackAll" })
)

/** Any step. */
// Rarely dismisses all, so that there are workers most of the time.
export const step: Arbitrary.Arbitrary<Step> = Arbitrary.flatMap(
  int(0, 30),
  (n): Arbitrary.Arbitrary<Step> => n === 0 ? Arbitrary.Constant({ do: "dismissAll" }) : anyStep
)

/** Two workers that ack hold some events. */
export const atTheBeginning: ReadonlyArray<Step> = [
  { do: "join", id: "a", connection: 0, lifecycle: true, prefetch: 5, maxAttempts: 2 },
  { do: "join", id: "b", connection: 0, lifecycle: false, prefetch: 100, maxAttempts: 1 },
  { do: "enqueue", count: 8 },
  { do: "emit", count: 2 }
]

/** A worker that takes all that is left, also events that wait for their backoff. */
export const toTheEnd: ReadonlyArray<Step> = [
  { do: "settleAll" },
  { do: "dismissAll" },
  { do: "join", id: "z", connection: 0, lifecycle: true, prefetch: undefined, maxAttempts: 1 },
  { do: "heartbeat", id: "z", connection: 0 },
  { do: "settleAll" },
  { do: "tick", after: 300 * 64 },
  { do: "settleAll" },
  { do: "settleAll" }
]

/** The text of a lifecycle event; that of another is its number alone. */
export const lifecycleText = (number: number) => `{"${number}":{}}`

/** The lobby, with workers that log what they receive. Events are numbered in the order of their creation. */
export const makeReal = (lobby: Lobby.Lobby) => {
  let log: Array<string> = []
  let created = 0
  const settled: Array<string> = []
  const unsettled: Array<
    { readonly event: string; readonly isFinal: boolean; readonly settled: (delivered: boolean) => void }
  > = []
  const delivered: Array<Delivered> = []
  // Every delivery of an event has the same one.
  const ids = new Map<string, string>()
  const connections = new Map<string, object>()
  const connectionOf = (id: string, connection: number) => {
    const key = `${id}/${connection}`
    if (!connections.has(key)) connections.set(key, {})
    return connections.get(key)!
  }
  const settle = (index: number, delivered: boolean) => {
    const [one] = unsettled.splice(index, 1)
    if (one === undefined) return
    if (delivered && one.isFinal) settled.push(one.event)
    one.settled(delivered)
  }

  const run = (step: Step): Effect.Effect<void> => {
    switch (step.do) {
      case "join": {
        const name = `${step.id}/${step.connection}`
        return lobby.register({
          id: step.id,
          connection: connectionOf(step.id, step.connection),
          lifecycle: step.lifecycle,
          prefetch: step.prefetch,
          maxAttempts: step.maxAttempts,
          deliverUnsafe: (json, _origin, settled, delivery) => {
            log.push(`event ${json} to ${name}, ${delivery?.attempt ?? "final"}`)
            unsettled.push({ event: json, isFinal: delivery === undefined, settled })
            if (delivery === undefined) return
            if (ids.has(json) && ids.get(json) !== delivery.id) log.push(`another id for ${json}`)
            ids.set(json, delivery.id)
            delivered.push({ id: step.id, connection: step.connection, text: json })
          },
          heartbeatUnsafe: () => void log.push(`heartbeat to ${name}`),
          dismiss: Effect.sync(() => void log.push(`dismissed ${name}`))
        })
      }
      case "leave":
        return step.connection === undefined
          ? lobby.leave(step.id)
          : lobby.leave(step.id, connectionOf(step.id, step.connection))
      case "heartbeat":
        return Effect.map(
          step.connection === undefined
            ? lobby.heartbeat(step.id)
            : lobby.heartbeat(step.id, connectionOf(step.id, step.connection)),
          (known) => void log.push(`known ${known}`)
        )
      case "enqueue":
        return Effect.suspend(() => lobby.enqueue(String(created++))).pipe(
          Effect.catch(() => Effect.sync(() => void log.push("refused"))),
          Effect.replicateEffect(step.count, { discard: true })
        )
      case "emit":
        return Effect.sync(() => {
          for (let i = 0; i < step.count; i++) lobby.emitUnsafe({ event: String(created++), data: {} })
        })
      case "tick":
        return Effect.andThen(TestClock.adjust(step.after), lobby.tick)
      case "settle":
        return Effect.sync(() => settle(step.which, step.delivered))
      case "settleAll":
        return Effect.sync(() => {
          while (unsettled.length > 0) settle(0, true)
        })
      case "ack": {
        const [first, ...more] = step.which.flatMap((which) => deliveredTo(delivered, which, step.by) ?? [])
        return first === undefined
          ? Effect.void
          : Effect.sync(() =>
            lobby.ackUnsafe(
              first.id,
              connectionOf(first.id, first.connection),
              [first, ...more].map(({ text }) => ids.get(text)!)
            )
          )
      }
      case "nack": {
        const one = deliveredTo(delivered, step.which, step.by)
        return one === undefined
          ? Effect.void
          : Effect.sync(() =>
            lobby.nackUnsafe(one.id, connectionOf(one.id, one.connection), ids.get(one.text)!, step.reason)
          )
      }
      case "ackAll":
        return Effect.sync(() => {
          for (const { connection, id, text } of [...delivered]) {
            lobby.ackUnsafe(id, connectionOf(id, connection), [ids.get(text)!])
          }
        })
      case "dismissAll":
        return lobby.dismissAll
    }
  }

  return {
    settled,
    ids,
    run,
    takeLog: () => {
      const taken = log
      log = []
      return taken
    }
  }
}
