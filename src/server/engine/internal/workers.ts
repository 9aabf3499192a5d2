/**
 * The registry of a vhost's workers: their heartbeats, their unacked events, and which of them gets the next event.
 *
 * The next event goes to the least loaded worker with credit left, round robin among equals. It is found in logarithmic time,
 * and a heartbeat takes constant time. `capacity` is the sum over all workers and always current.
 */

import type { Worker } from "../../domain/Worker.ts"
import type { Capacity, Lane, Queued } from "../EventQueue.ts"
import * as Heap from "./heap.ts"

/** A worker on one connection, as long as it is registered. */
export interface Member {
  worker: Worker
  /** When the last heartbeat was received, and when the last one was sent, in lived time. */
  heartbeatReceivedAt: number
  heartbeatSentAt: number
  /** Deliveries that the transport has accepted and whose outcome is not known yet. */
  unsettled: number
  /** `false` after a failed send, until the next heartbeat; and in a worker that does not ack, until its first heartbeat. */
  isReady: boolean
  /** Whether no heartbeat was received yet. */
  isNew: boolean
  /** Its unacked events, by their ids, in the order of delivery. */
  readonly unacked: Map<string, Queued>
}

/** The workers of one vhost. */
export interface Workers {
  /** How many events they can take, for each lane. Always the same object, with current numbers. */
  readonly capacity: Readonly<Record<Lane, Capacity>>
  readonly size: number
  /** How many unacked events they hold. */
  readonly unacked: number
  /** All workers, in the order of their registration. */
  readonly all: () => Iterable<Member>
  /** The worker with this id; if `connection` is given, only if it is on that one. */
  readonly find: (id: string, connection?: unknown) => Member | undefined
  /** Registers a worker. Another one with the same id is replaced and returned. */
  readonly add: (worker: Worker, now: number) => { readonly member: Member; readonly replaced: Member | undefined }
  /** Removes workers, and returns their unacked events. */
  readonly remove: (leaving: ReadonlyArray<Member>) => Array<Queued>
  /** The worker for the next event of this lane, if `capacity` has one. Its round robin turn is then over. */
  readonly next: (lane: Lane) => Member | undefined
  /** Adds an unacked event to a worker. */
  readonly hold: (member: Member, event: Queued) => void
  /** Removes an unacked event from a worker; `undefined` if it does not hold it. */
  readonly release: (member: Member, id: string) => Queued | undefined
  /** Call this when anything else of a member has changed. */
  readonly refresh: (member: Member) => void
}

/** How many deliveries to a worker that does not ack may be unsettled. */
const window = 64

interface Registered extends Member {
  /** Its turn in the round robin: lower numbers come first. */
  turn: number
  /** The share of this worker in the capacity. */
  isPresent: boolean
  credits: number
  idle: 0 | 1
  takesLifecycle: boolean
  readonly inEvents: Heap.Entry<Registered>
  readonly inLifecycle: Heap.Entry<Registered>
}

/** Makes an empty registry. */
export const make = (): Workers => {
  const members = new Map<string, Registered>()
  const empty = () => ({ workers: 0, credits: 0, idle: 0 })
  // No worker takes requests yet.
  const capacity = { events: empty(), requests: empty(), lifecycle: empty() }
  const heaps = { events: Heap.make(isBefore), lifecycle: Heap.make(isBefore) }
  let turn = 0
  let unacked = 0

  const count = (lane: "events" | "lifecycle", credits: number, idle: number, present: number) => {
    const own = capacity[lane]
    own.credits += credits
    own.idle += idle
    own.workers += present
  }
  const update = (heap: Heap.Heap<Registered>, entry: Heap.Entry<Registered>, isTaker: boolean) => {
    if (isTaker) heap.put(entry)
    else heap.remove(entry)
  }
  // Removes its share from the capacity.
  const withdraw = (member: Registered) => {
    const present = member.isPresent ? 1 : 0
    count("events", -member.credits, -member.idle, -present)
    if (member.takesLifecycle) count("lifecycle", -member.credits, -member.idle, -present)
    member.credits = 0
    member.idle = 0
    member.isPresent = false
    heaps.events.remove(member.inEvents)
    heaps.lifecycle.remove(member.inLifecycle)
  }
  const register = (member: Registered) => {
    member.isPresent = true
    member.takesLifecycle = member.worker.lifecycle
    count("events", 0, 0, 1)
    if (member.takesLifecycle) count("lifecycle", 0, 0, 1)
    refresh(member)
  }
  const refresh = (member: Registered) => {
    if (!member.isPresent) return
    if (member.takesLifecycle !== member.worker.lifecycle) {
      withdraw(member)
      return register(member)
    }
    const credits = creditsOf(member)
    const idle = credits > 0 && loadOf(member) === 0 ? 1 : 0
    count("events", credits - member.credits, idle - member.idle, 0)
    if (member.takesLifecycle) count("lifecycle", credits - member.credits, idle - member.idle, 0)
    member.credits = credits
    member.idle = idle
    update(heaps.events, member.inEvents, credits > 0)
    if (member.takesLifecycle) update(heaps.lifecycle, member.inLifecycle, credits > 0)
  }
  const takeAll = (member: Member) => {
    const events = [...member.unacked.values()]
    unacked -= events.length
    member.unacked.clear()
    return events
  }

  return {
    capacity,
    get size() {
      return members.size
    },
    get unacked() {
      return unacked
    },
    all: () => members.values(),
    find: (id, connection) => {
      const member = members.get(id)
      return connection === undefined || member?.worker.connection === connection ? member : undefined
    },
    add: (worker, now) => {
      const replaced = members.get(worker.id)
      const member = makeMember(worker, now, replaced === undefined ? ++turn : replaced.turn)
      members.set(worker.id, member)
      if (replaced !== undefined) withdraw(replaced)
      register(member)
      return { member, replaced }
    },
    remove: (leaving) => {
      for (const member of leaving as ReadonlyArray<Registered>) {
        if (members.get(member.worker.id) === member) members.delete(member.worker.id)
        withdraw(member)
      }
      return leaving.flatMap(takeAll)
    },
    next: (lane) => {
      const member = heaps[lane === "lifecycle" ? "lifecycle" : "events"].peek()
      if (member !== undefined) member.turn = ++turn
      return member
    },
    hold: (member, event) => {
      member.unacked.set(event.id, event)
      unacked++
    },
    release: (member, id) => {
      const event = member.unacked.get(id)
      if (event === undefined) return undefined
      member.unacked.delete(id)
      unacked--
      return event
    },
    refresh: (member) => refresh(member as Registered)
  }
}

const makeMember = (worker: Worker, now: number, turn: number): Registered => {
  const member: Omit<Registered, "inEvents" | "inLifecycle"> = {
    worker,
    heartbeatReceivedAt: now,
    heartbeatSentAt: now,
    unsettled: 0,
    isReady: worker.prefetch !== undefined,
    isNew: true,
    unacked: new Map(),
    turn,
    isPresent: false,
    credits: 0,
    idle: 0,
    takesLifecycle: worker.lifecycle
  }
  const registered = member as Registered
  return Object.assign(registered, { inEvents: Heap.entryOf(registered), inLifecycle: Heap.entryOf(registered) })
}

const creditsOf = ({ isReady, unacked, unsettled, worker }: Member): number => {
  if (!isReady) return 0
  if (worker.prefetch === undefined) return Math.max(0, window - unsettled)
  return Math.max(0, Math.min(worker.prefetch, mostCredits) - unacked.size)
}

// A sum that was once `Infinity` stays it.
const mostCredits = 1e9

// A worker that does not ack is done with an event once it is sent.
const loadOf = ({ unacked, worker }: Member): number => worker.prefetch === undefined ? 0 : unacked.size

const isBefore = (one: Registered, other: Registered): boolean => {
  const difference = loadOf(one) - loadOf(other)
  return difference < 0 || (difference === 0 && one.turn < other.turn)
}
