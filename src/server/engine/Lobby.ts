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
import * as MutableList from "effect/MutableList"
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
  readonly connection: object
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
  /** A sign of life, which is answered with one. `false` says that no such worker is known. */
  readonly heard: (id: string) => Effect.Effect<boolean>
  /** A worker leaves. Where `connection` is given, only if it is still on that one. */
  readonly leave: (id: string, connection?: object) => Effect.Effect<void>
  /** Gives an event, the text of `{"<event>": {…}}`, to a worker or puts it in line. */
  readonly trigger: (json: string) => Effect.Effect<void, InternalError>
  /** To be called every `heartbeatInterval`: greets the living, dismisses the dead. */
  readonly tick: Effect.Effect<void>
  /** Dismisses everybody. */
  readonly dismissAll: Effect.Effect<void>
  /** How many events wait, and who is there. */
  readonly info: Effect.Effect<{ readonly waiting: number; readonly workers: ReadonlyArray<string> }>
}

interface Waiting {
  /** Its place in the order of the triggers. */
  readonly number: number
  readonly json: string
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
  readonly heartbeatInterval: Duration.Duration
  readonly missedHeartbeats: number
}): Lobby => {
  const interval = Duration.toMillis(options.heartbeatInterval)
  const waiting = MutableList.make<Waiting>()
  let triggered = 0
  // The first member is the next in turn; whoever was served goes to the end.
  const members = new Map<string, Member>()

  const nextInTurn = (): Member | undefined => {
    for (const [id, member] of members) {
      if (!member.ready || member.unsettled >= window) continue
      members.delete(id)
      members.set(id, member)
      return member
    }
    return undefined
  }

  const dispatch = () => {
    while (waiting.length > 0) {
      const member = nextInTurn()
      if (member === undefined) return
      const event = MutableList.take(waiting)
      if (event !== MutableList.Empty) deliver(member, event)
    }
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
        const member = members.get(worker.id)
        if (member === undefined) {
          members.set(worker.id, { worker, lastHeard: now, lastGreeted: now, unsettled: 0, ready: true })
        } else {
          member.worker = worker
          member.lastHeard = now
          member.ready = true
        }
        greet(member ?? members.get(worker.id)!, now)
        dispatch()
      }),

    heard: (id) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const member = members.get(id)
        if (member === undefined) return false
        member.lastHeard = now
        member.ready = true
        greet(member, now)
        dispatch()
        return true
      }),

    leave: (id, connection) =>
      Effect.sync(() => {
        if (connection === undefined || members.get(id)?.worker.connection === connection) members.delete(id)
      }),

    trigger: (json) =>
      Effect.suspend(() => {
        if (waiting.length >= options.queueCapacity) {
          return Effect.fail(
            new InternalError({ detail: `${waiting.length} events wait for a worker, the most that can` })
          )
        }
        MutableList.append(waiting, { number: triggered++, json })
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

    info: Effect.sync(() => ({ waiting: waiting.length, workers: [...members.keys()] }))
  }
}
