/**
 * The workers of one vhost and the events that wait for them.
 *
 * Every event goes to exactly one worker, round robin over those that are ready, in the order of the triggers. While no
 * worker is ready events wait, up to a bound; beyond it a trigger fails and nothing is dropped without a word. An event
 * that could not be handed over goes back to the head of the line. Once handed over it is the worker's: delivery is at
 * most once.
 *
 * Lifecycle events go only to workers that take them, in order with the others. They wait in a line of their own, so that
 * nobody's triggers are refused for them: beyond the same bound the oldest are dropped, and counted. They are kept from
 * the coming of the first such worker until none has been there for `lifecycleRetention`.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Iterable from "effect/Iterable"
import type { Event } from "../../protocol/Command.ts"
import { envelopeSize } from "../../protocol/Frame.ts"
import { InternalError } from "../../protocol/KosmonautError.ts"
import * as Line from "./internal/line.ts"

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
  /** Whether it takes lifecycle events. */
  readonly lifecycle: boolean
  /** Hands over an event; `settled` hears exactly once whether that worked. Never waits. */
  readonly deliverUnsafe: (
    json: string,
    origin: string | undefined,
    settled: (delivered: boolean) => void
  ) => void
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
  /** Gives an event, the text of `{"<event>": {…}}`, to a worker or puts it in line. `origin` is the text of its origin. */
  readonly trigger: (json: string, origin?: string) => Effect.Effect<void, InternalError>
  /** Gives a lifecycle event to a worker that takes them or puts it in line; where nobody does, it is nothing. */
  readonly announceUnsafe: (event: Event) => void
  /** To be called every `heartbeatInterval`: greets the living, dismisses the dead. */
  readonly tick: Effect.Effect<void>
  /** Dismisses everybody. */
  readonly dismissAll: Effect.Effect<void>
  /** How many events wait, without lifecycle events, and who is there, by the uuids of their identities. */
  readonly info: Effect.Effect<LobbyInfo>
  /** What has been counted since the start. */
  readonly counters: LobbyCounters
}

/**
 * A lobby as an administrator sees it.
 *
 * @since 0.1.0
 */
export interface LobbyInfo {
  readonly waiting: number
  readonly workers: ReadonlyArray<string>
}

/**
 * What a lobby has counted, and has now.
 *
 * @since 0.1.0
 */
export interface LobbyCounters {
  /** Events that were accepted, lifecycle events too. */
  readonly accepted: number
  /** Events that were handed to a worker's connection. */
  readonly delivered: number
  /** Triggers that were refused since too many wait. */
  readonly refused: number
  /** Lifecycle events that were dropped since too many wait, since nobody came for them or since no worker could read them. */
  readonly dropped: number
  /** Events that wait, lifecycle events too, now. */
  readonly waiting: number
  /** Workers, now. */
  readonly workers: number
}

interface Member {
  worker: Worker
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
  readonly lifecycleRetention: Duration.Duration
  /** What a worker's connection carries, in bytes. */
  readonly maxMessageSize: number
}): Lobby => {
  const interval = Duration.toMillis(options.heartbeatInterval)
  const largest = options.maxMessageSize - envelopeSize
  const events = Line.make()
  const lifecycle = Line.make()
  const retention = Duration.toMillis(options.lifecycleRetention)
  // Until when lifecycle events are kept.
  let attendedUntil = nobody
  // The first member is the next in turn; whoever was served goes to the end.
  const members = new Map<string, Member>()
  const counters = {
    accepted: 0,
    delivered: 0,
    refused: 0,
    dropped: 0,
    get waiting() {
      return events.length + lifecycle.length
    },
    get workers() {
      return members.size
    }
  }

  const isFull = (line: Line.Line, size: number) =>
    line.length >= options.queueCapacity || line.size + size > options.queueSize

  const append = (line: Line.Line, event: { json: string; origin: string | undefined; size: number }) => {
    line.append({ ...event, number: counters.accepted++ })
    dispatch()
  }

  const nextInTurn = (line: Line.Line): Member | undefined => {
    for (const [id, member] of members) {
      if (!canTake(member) || (line === lifecycle && !member.worker.lifecycle)) continue
      members.delete(id)
      members.set(id, member)
      return member
    }
    return undefined
  }

  // The oldest event that somebody takes.
  const deliverNext = (): boolean => {
    const lines = lifecycle.length === 0
      ? [events]
      : events.first < lifecycle.first
      ? [events, lifecycle]
      : [lifecycle, events]
    for (const line of lines) {
      const member = line.length > 0 ? nextInTurn(line) : undefined
      const event = member && line.take()
      if (event === undefined) continue
      deliver(member!, event, line)
      return true
    }
    return false
  }

  // Not within itself: a delivery may settle, and so dispatch, before it returns.
  let dispatching = false
  const dispatch = () => {
    if (dispatching) return
    dispatching = true
    while (deliverNext());
    dispatching = false
  }

  const deliver = (member: Member, event: Line.Waiting, line: Line.Line) => {
    member.unsettled++
    member.worker.deliverUnsafe(event.json, event.origin, (delivered) => {
      member.unsettled--
      if (delivered) {
        counters.delivered++
      } else {
        member.ready = false
        line.putBack(event)
      }
      dispatch()
    })
  }

  const dropOldest = () => {
    if (lifecycle.take() !== undefined) counters.dropped++
  }

  const find = (id: string, connection: unknown): Member | undefined => {
    const member = members.get(id)
    return connection === undefined || member?.worker.connection === connection ? member : undefined
  }

  const hear = (member: Member, now: number) => {
    member.lastHeard = now
    member.ready = true
    if (member.worker.lifecycle) attendedUntil = now + retention
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
        member.worker = worker
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

    trigger: (json, origin) =>
      Effect.suspend(() => {
        const size = sizeOf(json) + sizeOf(origin ?? "")
        if (size > largest) {
          return Effect.fail(new InternalError({ detail: `the event has ${size} bytes, the most is ${largest}` }))
        }
        // It need not wait where somebody takes it.
        if (isFull(events, size) && !Iterable.some(members.values(), canTake)) {
          counters.refused++
          return Effect.fail(
            new InternalError({ detail: `${events.length} events wait for a worker, the most that can` })
          )
        }
        append(events, { json, origin, size })
        return Effect.void
      }),

    announceUnsafe: ({ data, event }) => {
      if (attendedUntil === nobody) return
      const json = JSON.stringify({ [event]: data })
      const size = sizeOf(json)
      if (size > largest) {
        counters.dropped++
        return
      }
      while (lifecycle.length > 0 && isFull(lifecycle, size)) dropOldest()
      append(lifecycle, { json, origin: undefined, size })
    },

    tick: Effect.flatMap(Clock.currentTimeMillis, (now) => {
      // One that is there is there, however long ago it was heard.
      if (Iterable.some(members.values(), ({ worker }) => worker.lifecycle)) attendedUntil = now + retention
      else if (now > attendedUntil) {
        attendedUntil = nobody
        while (lifecycle.length > 0) dropOldest()
      }
      return Effect.forEach([...members], ([id, member]) => {
        if (now - member.lastHeard > interval * options.missedHeartbeats) return dismiss(id, member)
        // One that speaks itself has been answered, and needs nothing more.
        if (now - member.lastGreeted >= interval / 2) greet(member, now)
        return Effect.void
      }, { discard: true })
    }),

    dismissAll: Effect.suspend(() =>
      Effect.forEach([...members], ([id, member]) => dismiss(id, member), { discard: true })
    ),

    info: Effect.sync(() => ({
      waiting: events.length,
      workers: Array.from(members.keys(), publicName)
    })),
    counters
  }
}

/** Where no worker has come that takes lifecycle events, or none for too long. */
const nobody = -Infinity

const canTake = (member: Member): boolean => member.ready && member.unsettled < window

// The end of an identity, its uuid: what stands before it holds the token.
const publicName = (id: string): string => id.slice(-36)

const sizeOf = (json: string): number => encoder.encode(json).length

const encoder = new TextEncoder()
