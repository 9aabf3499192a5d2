/**
 * What a queue that several nodes share should do, written for clarity and not for speed. It does not say which node gets an event
 * when several want some; it says which events a node may be given, and how many there must be if nobody else waits.
 */
import { expect } from "vitest"
import type { Lane, Outcome } from "../../src/server/engine/EventQueue.ts"
import type { Answer, Call, Turn, TurnResult } from "../../src/server/engine/SharedQueue.ts"

export interface Modelled {
  readonly json: string
  readonly lane: Lane
  readonly size: number
  readonly key: string | undefined
  readonly deadline: number
  readonly replyTo: readonly [node: string, id: string] | undefined
  number: number
  place: "queued" | "delayed" | "gone" | { readonly node: string }
  dueAt: number
  hasResult: boolean
  attempts: number
  failures: number
  releases: number
  losses: number
}

export interface Bounds {
  readonly capacity: number
  readonly size: number
  readonly maxDeliveries: number
  readonly backoff: number
  readonly retention: number
}

const lanes: ReadonlyArray<Lane> = ["events", "requests", "lifecycle"]

type Enqueue = Extract<Call, { readonly _tag: "Enqueue" }>

/** Makes the model, empty. */
export const make = (bounds: Bounds, now: () => number) => {
  const all: Array<Modelled> = []
  const letters: Array<readonly [json: string, attempts: number]> = []
  const fates = { acked: 0, dropped: 0, cancelled: 0, expired: 0 }
  const workers = new Map<string, Readonly<Record<Lane, number>>>()
  // What each node waits for, as of its last turn.
  const waiting = new Map<string, Readonly<Record<Lane, number>>>()
  const mail = new Map<string, Array<readonly [id: string, tag: string]>>()
  let attendedUntil = -1

  const isIn = (lane: Lane) => (one: Modelled) => one.lane === lane && one.place !== "gone"
  const inLane = (lane: Lane) => all.filter(isIn(lane))
  const queued = (lane: Lane) =>
    all.filter((one) => one.lane === lane && one.place === "queued").toSorted((a, b) => a.number - b.number)
  const heldBy = (node: string) => all.filter(({ place }) => typeof place === "object" && place.node === node)
  const unacked = (lane: Lane) => inLane(lane).filter(({ place }) => typeof place === "object")
  const bytes = (some: ReadonlyArray<Modelled>) => some.reduce((sum, { size }) => sum + size, 0)
  const isFull = (lane: Lane, size: number) =>
    inLane(lane).length >= bounds.capacity || bytes(inLane(lane)) + size > bounds.size
  const workersOf = (lane: Lane) => [...workers.values()].reduce((sum, one) => sum + one[lane], 0)
  const isAttended = () => workersOf("lifecycle") > 0 || now() <= attendedUntil
  const attend = (node: string, some: Readonly<Record<Lane, number>> | undefined) => {
    const before = workersOf("lifecycle")
    if (some === undefined) workers.delete(node)
    else workers.set(node, some)
    if (before > 0 && workersOf("lifecycle") === 0) attendedUntil = now() + bounds.retention
  }
  const result = (one: Modelled, tag: string) => {
    if (one.hasResult || one.replyTo === undefined) return
    one.hasResult = true
    const [node, id] = one.replyTo
    if (workers.has(node)) mail.set(node, [...mail.get(node) ?? [], [id, tag]])
  }
  const requeue = (one: Modelled, delay: number) => {
    if (one.replyTo !== undefined && one.hasResult) one.place = "gone"
    else if (delay > 0) {
      one.place = "delayed"
      one.dueAt = now() + delay
    } else one.place = "queued"
  }
  const backoff = (times: number) => times === 0 ? 0 : bounds.backoff * 2 ** Math.min(times - 1, 6)
  const fail = (one: Modelled) => {
    one.place = "gone"
    if (one.lane === "requests") result(one, "Failed")
    else letters.push([one.json, one.attempts])
  }
  const lose = (one: Modelled, isCounted: boolean) => {
    if (isCounted && ++one.losses >= bounds.maxDeliveries) fail(one)
    else requeue(one, 0)
  }
  const settle = (one: Modelled, outcome: Outcome): void => {
    switch (outcome._tag) {
      case "Acked":
      case "Responded":
        one.place = "gone"
        fates.acked++
        return result(one, outcome._tag === "Responded" ? "Responded" : "Failed")
      case "Nacked":
        if (++one.failures >= outcome.maxAttempts || one.lane === "requests") return fail(one)
        return requeue(one, backoff(one.failures))
      case "Released":
        return requeue(one, backoff(one.releases++))
      case "Unsent":
        one.attempts--
        return requeue(one, 0)
      case "Lost":
        return lose(one, outcome.isCounted)
    }
  }
  const dropOldest = (lane: Lane) => {
    const oldest = queued(lane)[0]
    if (oldest === undefined) return false
    oldest.place = "gone"
    fates.dropped++
    return true
  }
  const enqueue = (node: string, call: Enqueue, given: Answer): void => {
    const { dedupeKey, lane, replyTo, size, timeLeft } = call
    const key = dedupeKey === undefined ? undefined : lane === "requests" ? `${node} ${dedupeKey}` : dedupeKey
    if (key !== undefined && inLane(lane).some((one) => one.key === key)) return expect(given).toBe("Duplicate")
    if (lane === "requests" && workersOf(lane) === 0) return expect(given).toBe("NoWorker")
    if (lane === "lifecycle") {
      if (!isAttended()) return expect(given).toBe("NoWorker")
      while (isFull(lane, size) && dropOldest(lane));
    } else if (isFull(lane, size)) {
      const credits = [...waiting.values()].reduce((sum, one) => sum + one[lane], 0)
      if (call.delay > 0 || credits <= queued(lane).length) return expect(given).toBe("Full")
      // One that is delivered at once needs no room; only the queue knows.
      if (given === "Full") return
    }
    expect(given).toBe("Queued")
    const one: Modelled = {
      json: call.json,
      lane,
      size,
      key,
      deadline: timeLeft === undefined ? Infinity : now() + timeLeft,
      replyTo: replyTo === undefined ? undefined : [node, replyTo],
      number: all.length + 1,
      place: "queued",
      dueAt: 0,
      hasResult: false,
      attempts: 0,
      failures: 0,
      releases: 0,
      losses: 0
    }
    all.push(one)
    requeue(one, call.delay)
  }
  const cancel = (node: string, { dedupeKey, lane }: Extract<Call, { readonly _tag: "Cancel" }>, given: Answer) => {
    const key = lane === "requests" ? `${node} ${dedupeKey}` : dedupeKey
    const one = inLane(lane).find((one) => one.key === key)
    const isWaiting = one !== undefined && one.attempts === 0 && typeof one.place === "string"
    expect(given).toBe(isWaiting ? "Done" : "None")
    if (!isWaiting) return
    one.place = "gone"
    one.hasResult = true
    fates.cancelled++
  }
  const sweep = () => {
    for (const one of all) if (one.place === "delayed" && one.dueAt <= now()) one.place = "queued"
    for (const one of all) {
      if (one.deadline > now() || one.hasResult || one.place === "gone") continue
      one.hasResult = true
      if (typeof one.place === "object") continue
      one.place = "gone"
      fates.expired++
    }
    if (!isAttended()) { while (dropOldest("lifecycle")); }
  }
  const claim = (node: string, turn: Turn, { claimed }: TurnResult) => {
    const left = { ...turn.capacity.events.credits > 0 ? creditsOf(turn) : { events: 0, requests: 0, lifecycle: 0 } }
    let before = 0
    for (const { attempts, json, lane, number } of claimed) {
      expect(number).toBeGreaterThan(before)
      before = number
      const one = queued(lane)[0]
      // The oldest of its lane.
      expect([json, number, attempts]).toEqual([one?.json, one?.number, (one?.attempts ?? 0) + 1])
      one!.place = { node }
      one!.attempts++
      left[lane]--
      if (lane !== "events") left.events--
    }
    expect(Math.min(left.events, left.requests, left.lifecycle)).toBeGreaterThanOrEqual(0)
    const others = [...waiting].filter(([other]) => other !== node)
    for (const lane of lanes) {
      const isContended = others.some(([, credits]) => credits[lane] > 0)
      const isLimited = unacked(lane).length >= bounds.capacity || bytes(unacked(lane)) >= bounds.size
      if (isContended || isLimited || Math.min(left.events, left[lane]) === 0) continue
      expect(queued(lane).map(({ json }) => json)).toEqual([])
    }
    waiting.set(node, left)
  }
  const creditsOf = ({ capacity }: Turn) => ({
    events: capacity.events.credits,
    requests: capacity.requests.credits,
    lifecycle: capacity.lifecycle.credits
  })

  return {
    all,
    letters,
    fates,
    heldBy,
    /** Checks what the queue has done in a turn of a node, and does the same. */
    run: (node: string, turn: Turn, done: TurnResult) => {
      attend(node, {
        events: turn.capacity.events.workers,
        requests: turn.capacity.requests.workers,
        lifecycle: turn.capacity.lifecycle.workers
      })
      waiting.delete(node)
      if (turn.responsesSeen > 0) mail.set(node, mail.get(node)!.slice(turn.responsesSeen))
      sweep()
      for (const { numbers, outcome } of turn.settled) {
        for (const number of numbers) {
          const one = heldBy(node).find((one) => one.number === number)
          if (one !== undefined) settle(one, outcome)
        }
      }
      waiting.set(node, creditsOf(turn))
      for (const [index, call] of turn.calls.entries()) {
        if (call._tag === "Enqueue") enqueue(node, call, done.answers[index]!)
        if (call._tag === "Cancel") cancel(node, call, done.answers[index]!)
      }
      // Those that are claimed too late are gone as well; a turn sweeps first, so there are none.
      claim(node, turn, done)
      expect(done.responses.map(({ result, to }) => [to, result._tag])).toEqual(
        turn.takesResponses ? mail.get(node) ?? [] : []
      )
      for (const lane of lanes) {
        expect([lane, done.status.lanes[lane].queued, done.status.lanes[lane].unacked]).toEqual([
          lane,
          inLane(lane).length - unacked(lane).length,
          unacked(lane).length
        ])
      }
    },
    /** A node has ended. */
    end: (node: string, isCounted: boolean) => {
      attend(node, undefined)
      waiting.delete(node)
      mail.delete(node)
      for (const one of heldBy(node)) lose(one, isCounted)
    }
  }
}
