/**
 * The workers of one vhost and the events that wait for them.
 *
 * Every event goes to one worker, in the order of the triggers: to the least loaded that wants more, round robin over
 * equals. While there is none events wait, up to a bound; beyond it a trigger fails and nothing is dropped without a word.
 *
 * An event stays the lobby's until a worker has acknowledged it: delivery is at least once. What a worker has not
 * acknowledged goes back to its old place in the line when it leaves, when it is taken for dead, when its connection ends
 * or when it gives it back. One whose handler failed as often as it may becomes a dead letter. To a worker that does not
 * acknowledge, as the original's, an event is handed over once and for all.
 *
 * What is in hand counts for the bound, since it may have to wait again. A worker can always have one event, and more only
 * within the bound, however many it wants.
 *
 * What becomes of an event is noted in the journal, so that where the broker has a store, the lobby of the next broker
 * begins with those that were not acknowledged, in their old order and with their old names.
 *
 * Lifecycle events go only to workers that take them, in order with the others. They wait in a line of their own, so that
 * nobody's triggers are refused for them: beyond the same bound the oldest are dropped, and counted. They are kept from
 * the coming of the first such worker until none has been there for `lifecycleRetention`, and never stored: they tell of
 * browsers that the next broker does not have.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Iterable from "effect/Iterable"
import { envelopeSize } from "../../protocol/Frame.ts"
import { InternalError } from "../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import type { Delivery, Event } from "../../protocol/Trigger.ts"
import type { DeadLetters } from "./DeadLetters.ts"
import * as Line from "./internal/line.ts"
import * as Journal from "./Journal.ts"

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
  /** How many events it wants to have that it has not acknowledged; `undefined` for one that does not acknowledge. */
  readonly prefetch: number | undefined
  /** How often the handler of an event may fail; then it becomes a dead letter. */
  readonly maxAttempts: number
  /** Hands over an event; `settled` hears exactly once whether that worked. Never waits. */
  readonly deliverUnsafe: (
    json: string,
    origin: string | undefined,
    settled: (delivered: boolean) => void,
    delivery: Delivery | undefined
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
  /** A worker has handled events. What it has not been given, or has given back, is nothing. */
  readonly acknowledge: (id: string, connection: unknown, deliveries: ReadonlyArray<string>) => Effect.Effect<void>
  /** A worker has not: its handler failed, for this reason, or it gives the event back, for none. */
  readonly giveBack: (id: string, connection: unknown, delivery: string, reason: string) => Effect.Effect<void>
  /** A worker leaves. Where `connection` is given, only if it is still on that one. */
  readonly leave: (id: string, connection?: unknown) => Effect.Effect<void>
  /**
   * Gives an event, the text of `{"<event>": {…}}`, to a worker or puts it in line. `origin` is the text of its origin. A
   * lifecycle event that was dead is refused where no worker takes it.
   */
  readonly trigger: (json: string, origin?: string) => Effect.Effect<void, InternalError>
  /** Gives a lifecycle event to a worker that takes them or puts it in line; where nobody does, it is nothing. */
  readonly announceUnsafe: (event: Event) => void
  /** To be called every `heartbeatInterval`: greets the living, dismisses the dead. */
  readonly tick: Effect.Effect<void>
  /** Dismisses everybody. */
  readonly dismissAll: Effect.Effect<void>
  /** Dismisses the workers that this holds for, all at once. */
  readonly dismissWhere: (isMine: (worker: Worker) => boolean) => Effect.Effect<void>
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
  /** Events that were acknowledged. */
  readonly acknowledged: number
  /** Events that went back to the line after they had been handed over. */
  readonly redelivered: number
  /** Events that are handed over and not acknowledged, now. */
  readonly unacknowledged: number
  /** Events that wait, lifecycle events too, now. */
  readonly waiting: number
  /** Workers, now. */
  readonly workers: number
}

/**
 * An event that an earlier broker has left.
 *
 * @since 0.1.0
 */
export interface Left {
  /** Its name in the vhost. */
  readonly id: string
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** The text of its origin. */
  readonly origin: string | undefined
  /** How often it was handed out. */
  readonly attempts: number
  /** How often its handler failed. */
  readonly failures: number
}

interface Member {
  worker: Worker
  lastHeard: number
  lastGreeted: number
  /** Events handed to the transport and not settled yet. */
  unsettled: number
  /** Not after a failed delivery, until it is heard again. */
  ready: boolean
  /** What it has and has not acknowledged, by the events' names. */
  readonly inHand: Map<string, InHand>
}

interface InHand {
  readonly event: Line.Waiting
  readonly line: Line.Line
}

/** How many events may be on their way into one worker's connection. */
const window = 64

/**
 * Makes a vhost's lobby, with the events in it that an earlier one has left.
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
  /** Where events go whose handlers have failed as often as they may. */
  readonly deadLetters: DeadLetters
  /** Where it is noted what becomes of events, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** What the journal knows of, the oldest first. */
  readonly events?: ReadonlyArray<Left> | undefined
}): Lobby => {
  const interval = Duration.toMillis(options.heartbeatInterval)
  const largest = options.maxMessageSize - envelopeSize
  const known = (options.events ?? []).map((event, number) => ({
    ...event,
    number,
    size: Line.sizeOf(event.json, event.origin)
  }))
  const events = Line.make(options.journal ?? Journal.none, known)
  const lifecycle = Line.make(Journal.none)
  let number = known.length
  const retention = Duration.toMillis(options.lifecycleRetention)
  // Until when lifecycle events are kept.
  let attendedUntil = nobody
  // What tells its events from those of every other lobby, also of an earlier one.
  const name = Hex.encode(SecureRandom.randomBytesUnsafe(6))
  // The first member is the next in turn; whoever was served goes to the end.
  const members = new Map<string, Member>()
  const counters = {
    accepted: 0,
    delivered: 0,
    refused: 0,
    dropped: 0,
    acknowledged: 0,
    redelivered: 0,
    unacknowledged: 0,
    get waiting() {
      return events.length + lifecycle.length
    },
    get workers() {
      return members.size
    }
  }

  // What is handed over and not acknowledged may have to wait again.
  const isFull = (line: Line.Line, size: number) =>
    line.length + line.lent.count >= options.queueCapacity ||
    line.size + line.lent.size + size > options.queueSize
  // One event it can have whatever the others have, more only within the bounds.
  const canTake = (line: Line.Line, { inHand, ready, unsettled, worker }: Member): boolean => {
    if (!ready || (line === lifecycle && !worker.lifecycle)) return false
    if (worker.prefetch === undefined) return unsettled < window
    const isRoom = line.lent.count < options.queueCapacity && line.lent.size < options.queueSize
    return inHand.size < worker.prefetch && (inHand.size === 0 || isRoom)
  }

  const append = (line: Line.Line, event: { json: string; origin: string | undefined; size: number }) => {
    counters.accepted++
    line.append({ ...event, number, id: `${name}-${(number++).toString(36)}`, attempts: 0, failures: 0 })
    dispatch()
  }

  const nextInTurn = (line: Line.Line): Member | undefined => {
    let next: Member | undefined
    for (const member of members.values()) {
      if (!canTake(line, member)) continue
      if (next === undefined || member.inHand.size < next.inHand.size) next = member
      if (next.inHand.size === 0) break
    }
    if (next === undefined || members.size === 1) return next
    members.delete(next.worker.id)
    members.set(next.worker.id, next)
    return next
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
    const acknowledges = member.worker.prefetch !== undefined
    const { id } = event
    const inHand = { event, line }
    if (acknowledges) hold(member, id, inHand)
    member.unsettled++
    const settled = (delivered: boolean) => {
      member.unsettled--
      if (delivered) {
        counters.delivered++
        if (!acknowledges) line.finish(event)
      } else {
        member.ready = false
        if (!acknowledges) line.putBack(event)
        // It has not had it; where it has gone meanwhile the event is back already.
        else if (member.inHand.get(id) === inHand && release(member, id)) {
          line.attempt(event, -1)
          line.putBack(event)
        }
      }
      dispatch()
    }
    if (acknowledges) line.attempt(event, 1)
    member.worker.deliverUnsafe(
      event.json,
      event.origin,
      settled,
      acknowledges ? { id, attempt: event.attempts } : undefined
    )
  }

  const hold = (member: Member, id: string, inHand: InHand) => {
    member.inHand.set(id, inHand)
    counters.unacknowledged++
    inHand.line.lent.count++
    inHand.line.lent.size += inHand.event.size
  }
  const release = (member: Member, id: string): InHand | undefined => {
    const inHand = member.inHand.get(id)
    if (inHand === undefined) return undefined
    member.inHand.delete(id)
    counters.unacknowledged--
    inHand.line.lent.count--
    inHand.line.lent.size -= inHand.event.size
    return inHand
  }

  // The latest first, so that each goes before the one before it.
  const takeBack = (member: Member) => {
    for (const id of [...member.inHand.keys()].reverse()) {
      const { event, line } = release(member, id)!
      counters.redelivered++
      line.putBack(event)
    }
  }
  // All at once: what one of them had is nothing for the next.
  const remove = (leaving: ReadonlyArray<Member>) => {
    for (const { worker } of leaving) members.delete(worker.id)
    leaving.forEach(takeBack)
    dispatch()
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

  const dismiss = (leaving: ReadonlyArray<Member>) => {
    remove(leaving)
    return Effect.forEach(leaving, ({ worker }) => worker.dismiss, { discard: true })
  }

  return {
    join: (worker) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const known = find(worker.id, worker.connection)
        const member = known ??
          { worker, lastHeard: now, lastGreeted: now, unsettled: 0, ready: true, inHand: new Map() }
        const earlier = members.get(worker.id)
        if (known === undefined && earlier !== undefined) takeBack(earlier)
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

    acknowledge: (id, connection, deliveries) =>
      Effect.sync(() => {
        const member = find(id, connection)
        if (member === undefined) return
        for (const delivery of deliveries) {
          const inHand = release(member, delivery)
          if (inHand === undefined) continue
          inHand.line.finish(inHand.event)
          counters.acknowledged++
        }
        dispatch()
      }),

    giveBack: (id, connection, delivery, reason) =>
      Effect.suspend(() => {
        const member = find(id, connection)
        const inHand = member && release(member, delivery)
        if (inHand === undefined) return Effect.void
        const { event, line } = inHand
        if (reason !== "") line.fail(event)
        if (reason !== "" && event.failures >= member!.worker.maxAttempts) {
          dispatch()
          const { attempts, json, origin } = event
          // In this order: whatever happens in between, it is one of both.
          return Effect.map(
            options.deadLetters.add({ id: delivery, json, origin, attempts, reason }),
            () => line.finish(event)
          )
        }
        counters.redelivered++
        line.putBack(event)
        dispatch()
        return Effect.void
      }),

    leave: (id, connection) =>
      Effect.sync(() => {
        const member = find(id, connection)
        if (member !== undefined) remove([member])
      }),

    trigger: (json, origin) =>
      Effect.suspend(() => {
        const size = Line.sizeOf(json, origin)
        if (size > largest) {
          return Effect.fail(new InternalError({ detail: `the event has ${size} bytes, the most is ${largest}` }))
        }
        // It was dead, and is for those that take such events.
        const line = Lifecycle.isIn(json) ? lifecycle : events
        if (line === lifecycle && !Iterable.some(members.values(), ({ worker }) => worker.lifecycle)) {
          return Effect.fail(new InternalError({ detail: "no worker is there that takes lifecycle events" }))
        }
        // It need not wait where somebody takes it.
        if (isFull(line, size) && !Iterable.some(members.values(), (member) => canTake(line, member))) {
          counters.refused++
          return Effect.fail(
            new InternalError({
              detail:
                `${line.length} events wait for a worker, and ${line.lent.count} to be acknowledged, the most that can`
            })
          )
        }
        append(line, { json, origin, size })
        return Effect.void
      }),

    announceUnsafe: ({ data, event }) => {
      if (attendedUntil === nobody) return
      const json = JSON.stringify({ [event]: data })
      const size = Line.sizeOf(json, undefined)
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
      const dead: Array<Member> = []
      for (const member of members.values()) {
        if (now - member.lastHeard > interval * options.missedHeartbeats) dead.push(member)
        // One that speaks itself has been answered, and needs nothing more.
        else if (now - member.lastGreeted >= interval / 2) greet(member, now)
      }
      return dismiss(dead)
    }),

    dismissAll: Effect.suspend(() => dismiss([...members.values()])),
    dismissWhere: (isMine) =>
      Effect.suspend(() => dismiss([...members.values()].filter(({ worker }) => isMine(worker)))),

    info: Effect.sync(() => ({
      waiting: events.length,
      workers: Array.from(members.keys(), publicName)
    })),
    counters
  }
}

/** Where no worker has come that takes lifecycle events, or none for too long. */
const nobody = -Infinity

// The end of an identity, its uuid: what stands before it holds the token.
const publicName = (id: string): string => id.slice(-36)
