/**
 * The registry of a vhost's workers: their heartbeats, their unacked events, and which of them gets the next event.
 *
 * The next event goes to the least loaded worker with credit left, round robin among equals. It is found in logarithmic time,
 * and a heartbeat takes constant time. `capacity` is the sum over all workers and always current.
 */

import { TransientMap } from "../../../protocol/TransientMap.ts"
import type { Worker } from "../../domain/Worker.ts"
import type { Capacity, Lane, Queued } from "../EventQueue.ts"
import * as Heap from "./heap.ts"

/** A worker on one connection, as long as it is registered. */
export interface Member {
  worker: Worker
  /** When it registered on this connection, in lived time. */
  readonly registeredAt: number
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
  readonly unacked: TransientMap<string, Queued>
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
  /** The share of this worker in the capacity of each of its lanes. */
  isPresent: boolean
  credits: number
  idle: 0 | 1
  /** The lanes that it takes. */
  lanes: ReadonlyArray<LaneState>
  /** Its entries in the heaps of all lanes. */
  readonly entries: ReadonlyArray<Heap.Entry<Registered>>
}

/** The workers of one lane. */
interface LaneState {
  /** Which entry of a worker is that of this lane. */
  readonly index: number
  readonly capacity: Capacity
  /** Those with credit. */
  readonly heap: Heap.Heap<Registered>
}

/** Makes an empty registry. */
export const make = (): Workers => {
  const members = new Map<string, Registered>()
  const lanes = makeLanes()
  let turn = 0
  let unacked = 0

  const takeAll = (member: Member) => {
    const events = [...member.unacked.values()]
    unacked -= events.length
    member.unacked.clear()
    return events
  }
  return {
    capacity: lanes.capacity,
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
      if (replaced !== undefined) lanes.remove(replaced)
      lanes.add(member)
      return { member, replaced }
    },
    remove: (leaving) => {
      for (const member of leaving as ReadonlyArray<Registered>) {
        if (members.get(member.worker.id) === member) members.delete(member.worker.id)
        lanes.remove(member)
      }
      return leaving.flatMap(takeAll)
    },
    next: (lane) => {
      const member = lanes.peek(lane)
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
    refresh: (member) => lanes.refresh(member as Registered)
  }
}

// The lanes, each with the capacity and the order of its workers.
const makeLanes = () => {
  const events = laneOf(0)
  const requests = laneOf(1)
  const lifecycle = laneOf(2)
  const lanes = { events, requests, lifecycle }
  const lanesBy = [[events], [events, requests], [events, lifecycle], [events, requests, lifecycle]] as const
  const lanesOf = (worker: Worker): ReadonlyArray<LaneState> =>
    lanesBy[(takesRequests(worker) ? 1 : 0) + (worker.lifecycle ? 2 : 0)]!

  const add = (member: Registered) => {
    member.isPresent = true
    member.lanes = lanesOf(member.worker)
    for (const { capacity } of member.lanes) capacity.workers++
    refresh(member)
  }
  const refresh = (member: Registered) => {
    if (!member.isPresent) return
    if (member.lanes !== lanesOf(member.worker)) {
      withdraw(member)
      return add(member)
    }
    const credits = creditsOf(member)
    const idle = credits > 0 && loadOf(member) === 0 ? 1 : 0
    for (const { capacity, heap, index } of member.lanes) {
      capacity.credits += credits - member.credits
      capacity.idle += idle - member.idle
      if (credits > 0) heap.put(member.entries[index]!)
      else heap.remove(member.entries[index]!)
    }
    member.credits = credits
    member.idle = idle
  }
  return {
    capacity: { events: events.capacity, requests: requests.capacity, lifecycle: lifecycle.capacity },
    add,
    remove: withdraw,
    refresh,
    peek: (lane: Lane) => lanes[lane].heap.peek()
  }
}

const laneOf = (index: number): LaneState => ({
  index,
  capacity: { workers: 0, credits: 0, idle: 0 },
  heap: Heap.make(isBefore)
})

// Removes its share from the capacity.
const withdraw = (member: Registered): void => {
  if (!member.isPresent) return
  for (const { capacity, heap, index } of member.lanes) {
    capacity.workers--
    capacity.credits -= member.credits
    capacity.idle -= member.idle
    heap.remove(member.entries[index]!)
  }
  member.credits = 0
  member.idle = 0
  member.isPresent = false
}

const makeMember = (worker: Worker, now: number, turn: number): Registered => {
  const member: Omit<Registered, "entries"> = {
    worker,
    registeredAt: now,
    heartbeatReceivedAt: now,
    heartbeatSentAt: now,
    unsettled: 0,
    isReady: worker.prefetch !== undefined,
    isNew: true,
    unacked: new TransientMap(),
    turn,
    isPresent: false,
    credits: 0,
    idle: 0,
    lanes: []
  }
  const registered = member as Registered
  return Object.assign(registered, {
    entries: [Heap.entryOf(registered), Heap.entryOf(registered), Heap.entryOf(registered)]
  })
}

const takesRequests = ({ prefetch, responses }: Worker): boolean => responses === true && prefetch !== undefined

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
