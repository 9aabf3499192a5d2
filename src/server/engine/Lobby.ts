/**
 * The workers of one vhost and the events that wait for them.
 *
 * Every event goes to exactly one worker, round robin over those that are ready, in the order of the triggers. While no
 * worker is ready events wait, up to a bound; beyond it a trigger fails and nothing is dropped without a word. An event
 * that could not be handed over goes back to the head of the line. Once handed over it is the worker's: delivery is at
 * most once.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Iterable from "effect/Iterable"
import * as MutableList from "effect/MutableList"
import { envelopeSize } from "../../protocol/Frame.ts"
import { InternalError } from "../../protocol/KosmonautError.ts"

/**
 * A worker's connection as the lobby sees it.
 *
 * @since 0.1.0
 */
export interface Worker {
  /** Its identity, unique among the vhost's workers. */
  readonly id: string
  /** What tells its connection from another with the same identity. */
  readonly connection: unknown
  /** Hands over an event; `settled` hears exactly once whether that worked. Never waits. */
  readonly deliverUnsafe: (json: string, settled: (delivered: boolean) => void) => void
  /** Tells it that the broker lives. */
  readonly heartbeatUnsafe: () => void
  /** Tells it that it is no longer known, and ends its connection. */
  readonly dismiss: Effect.Effect<void>
}

/**
 * The lobby of one vhost.
 *
 * @since 0.1.0
 */
export interface Lobby {
  /** A worker is ready. One that is known already just goes on; the same id on another connection takes its place. */
  readonly join: (worker: Worker) => Effect.Effect<void>
  /** A sign of life, which is answered with one. `false` says that no such worker is known (on this connection). */
  readonly heard: (id: string, connection?: unknown) => Effect.Effect<boolean>
  /** A worker leaves. Where `connection` is given, only if it is still on that one. */
  readonly leave: (id: string, connection?: unknown) => Effect.Effect<void>
  /** Gives an event, the text of `{"<event>": {…}}`, to a worker or puts it in line. */
  readonly trigger: (json: string) => Effect.Effect<void, InternalError>
  /** To be called every `heartbeatInterval`: greets the living, dismisses the dead. */
  readonly tick: Effect.Effect<void>
  /** Dismisses everybody. */
  readonly dismissAll: Effect.Effect<void>
  /** How many events wait, and who is there, by the uuids of their identities. */
  readonly info: Effect.Effect<{ readonly waiting: number; readonly workers: ReadonlyArray<string> }>
}

interface Waiting {
  readonly size: number
  /** Its place in the order of the triggers. */
  readonly number: number
  readonly json: string
}

interface Member {
  readonly worker: Worker
  lastHeard: number
  lastGreeted: number
  /** Events handed to the transport and not settled yet. */
  unsettled: number
  /** Not after a failed delivery, until it is heard again. */
  ready: boolean
}

/** How many events may be on their way into one worker's connection. */
const window = 64

/**
 * Makes a vhost's lobby, empty.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly queueCapacity: number
  readonly queueSize: number
  readonly heartbeatInterval: Duration.Duration
  readonly missedHeartbeats: number
  /** What a worker's connection carries, in bytes. */
  readonly maxMessageSize: number
}): Lobby => {
  const interval = Duration.toMillis(options.heartbeatInterval)
  const largest = options.maxMessageSize - envelopeSize
  const waiting = MutableList.make<Waiting>()
  let waitingSize = 0
  let triggered = 0
  // The first member is the next in turn; whoever was served goes to the end.
  const members = new Map<string, Member>()

  const nextInTurn = (): Member | undefined => {
    for (const [id, member] of members) {
      if (!canTake(member)) continue
      members.delete(id)
      members.set(id, member)
      return member
    }
    return undefined
  }

  // Not within itself: a delivery may settle, and so dispatch, before it returns.
  let dispatching = false
  const dispatch = () => {
    if (dispatching) return
    dispatching = true
    for (;;) {
      const member = waiting.length > 0 ? nextInTurn() : undefined
      const event = member === undefined ? MutableList.Empty : MutableList.take(waiting)
      if (member === undefined || event === MutableList.Empty) break
      waitingSize -= event.size
      deliver(member, event)
    }
    dispatching = false
  }

  const deliver = (member: Member, event: Waiting) => {
    member.unsettled++
    member.worker.deliverUnsafe(event.json, (delivered) => {
      member.unsettled--
      if (!delivered) {
        member.ready = false
        putBack(event)
      }
      dispatch()
    })
  }

  // To its old place: behind those that failed before it and were triggered before it.
  const putBack = (event: Waiting) => {
    const earlier: Array<Waiting> = []
    for (;;) {
      const head = MutableList.take(waiting)
      if (head === MutableList.Empty) break
      if (head.number > event.number) {
        MutableList.prepend(waiting, head)
        break
      }
      earlier.push(head)
    }
    MutableList.prependAllUnsafe(waiting, [...earlier, event])
    waitingSize += event.size
  }

  const find = (id: string, connection: unknown): Member | undefined => {
    const member = members.get(id)
    return connection === undefined || member?.worker.connection === connection ? member : undefined
  }

  const hear = (member: Member, now: number) => {
    member.lastHeard = now
    member.ready = true
    greet(member, now)
    dispatch()
  }

  const greet = (member: Member, now: number) => {
    member.lastGreeted = now
    member.worker.heartbeatUnsafe()
  }

  const dismiss = (id: string, member: Member) => {
    members.delete(id)
    return member.worker.dismiss
  }

  return {
    join: (worker) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const known = find(worker.id, worker.connection)
        const member = known ?? { worker, lastHeard: now, lastGreeted: now, unsettled: 0, ready: true }
        if (known === undefined) members.set(worker.id, member)
        hear(member, now)
      }),

    heard: (id, connection) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const member = find(id, connection)
        if (member !== undefined) hear(member, now)
        return member !== undefined
      }),

    leave: (id, connection) =>
      Effect.sync(() => {
        if (find(id, connection) !== undefined) members.delete(id)
      }),

    trigger: (json) =>
      Effect.suspend(() => {
        const size = encoder.encode(json).length
        if (size > largest) {
          return Effect.fail(new InternalError({ detail: `the event has ${size} bytes, the most is ${largest}` }))
        }
        const isFull = waiting.length >= options.queueCapacity || waitingSize + size > options.queueSize
        // It need not wait where somebody takes it.
        if (isFull && !Iterable.some(members.values(), canTake)) {
          return Effect.fail(
            new InternalError({ detail: `${waiting.length} events wait for a worker, the most that can` })
          )
        }
        MutableList.append(waiting, { number: triggered++, size, json })
        waitingSize += size
        dispatch()
        return Effect.void
      }),

    tick: Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.forEach([...members], ([id, member]) => {
        if (now - member.lastHeard > interval * options.missedHeartbeats) return dismiss(id, member)
        // One that speaks itself has been answered, and needs nothing more.
        if (now - member.lastGreeted >= interval / 2) greet(member, now)
        return Effect.void
      }, { discard: true })),

    dismissAll: Effect.suspend(() =>
      Effect.forEach([...members], ([id, member]) => dismiss(id, member), { discard: true })
    ),

    info: Effect.sync(() => ({ waiting: waiting.length, workers: Array.from(members.keys(), publicName) }))
  }
}

const canTake = (member: Member): boolean => member.ready && member.unsettled < window

// The end of an identity, its uuid: what stands before it holds the token.
const publicName = (id: string): string => id.slice(-36)

const encoder = new TextEncoder()
