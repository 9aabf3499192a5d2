import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, type Clock, Duration, Exit } from "effect"
import * as DeadLetters from "../../../src/server/engine/DeadLetters.ts"
import { Outcome, type Queued, type RequestResult } from "../../../src/server/engine/EventQueue.ts"
import * as LocalQueue from "../../../src/server/engine/internal/localQueue.ts"
import { costly, int, oneOf, pick } from "../../protocol/arbitraries.ts"

type Step =
  | { readonly does: "enqueue"; readonly timeout: number }
  | { readonly does: "grant"; readonly credits: number }
  | { readonly does: "settle"; readonly which: number; readonly outcome: Outcome }
  | { readonly does: "cancel"; readonly which: number }
  | { readonly does: "wait"; readonly millis: number; readonly isDue: boolean }

const outcomes: ReadonlyArray<Outcome> = [
  Outcome.Responded({ outcome: "ok", json: "1" }),
  Outcome.Responded({ outcome: "error", json: "2" }),
  Outcome.Nacked({ reason: "it failed", maxAttempts: 5 }),
  Outcome.Acked(),
  Outcome.Released(),
  Outcome.Unsent(),
  Outcome.Lost({ isCounted: true }),
  Outcome.Lost({ isCounted: false })
]

const step: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  Arbitrary.map(pick([1, 10, 100, 1000]), (timeout) => ({ does: "enqueue", timeout })),
  Arbitrary.map(pick([1, 10, 100, 1000]), (timeout) => ({ does: "enqueue", timeout })),
  Arbitrary.map(int(0, 3), (credits) => ({ does: "grant", credits })),
  Arbitrary.map(
    Arbitrary.all([int(0, 20), pick(outcomes)]),
    ([which, outcome]) => ({ does: "settle", which, outcome })
  ),
  Arbitrary.map(
    Arbitrary.all([int(0, 20), pick(outcomes)]),
    ([which, outcome]) => ({ does: "settle", which, outcome })
  ),
  Arbitrary.map(int(0, 6), (which) => ({ does: "cancel", which })),
  Arbitrary.map(Arbitrary.all([pick([1, 9, 50, 400]), pick([true, true, false])]), ([millis, isDue]) => ({
    does: "wait",
    millis,
    isDue
  }))
)

const capacity = 6
const maxDeliveries = 2
const backoff = 20

/** The queue, and what it has delivered and said. */
const makeReal = (now: () => number) => {
  const clock = { currentTimeMillisUnsafe: now } as Clock.Clock
  const none = () => ({ workers: 0, credits: 0, idle: 0 })
  const granted = { events: none(), requests: { ...none(), workers: 1 }, lifecycle: none() }
  const deadLetters = DeadLetters.make({ deadLetterCapacity: 10, deadLetterSize: 10_000, clock })
  const delivered: Array<Queued> = []
  const results: Array<readonly [unknown, RequestResult["_tag"]]> = []
  const queue = LocalQueue.make({
    queueCapacity: capacity,
    queueSize: 100_000,
    maxDeliveries,
    redeliveryBackoff: Duration.millis(backoff),
    lifecycleRetention: Duration.zero,
    deadLetters,
    clock,
    timeline: { now, lived: now, tick: () => {} },
    deliver: (event) => {
      granted.requests.credits--
      delivered.push(event)
    },
    respond: (replyTo, result) => void results.push([replyTo, result._tag])
  })
  queue.grant(granted)
  return { queue, granted, delivered, results, deadLetters }
}

interface Modelled {
  readonly n: number
  readonly deadline: number
  place: "queued" | "delayed" | "delivered" | "nowhere"
  hasResult: boolean
  dueAt: number
  attempts: number
  releases: number
  losses: number
}

/** The rules, one sentence each. */
const makeModel = (now: () => number) => {
  const all: Array<Modelled> = []
  const delivered: Array<number> = []
  const results: Array<readonly [unknown, RequestResult["_tag"]]> = []
  let credits = 0
  const inQueue = () => all.filter(({ place }) => place !== "nowhere")
  const result = (one: Modelled, tag: RequestResult["_tag"]) => {
    if (!one.hasResult) results.push([one.n, tag])
    one.hasResult = true
  }
  const deliver = () => {
    for (;;) {
      const next = all.find(({ place }) => place === "queued")
      const inFlight = all.filter(({ place }) => place === "delivered").length
      if (next === undefined || credits === 0 || inFlight >= capacity) return
      if (next.deadline <= now()) {
        next.place = "nowhere"
        result(next, "Expired")
        continue
      }
      next.place = "delivered"
      next.attempts++
      credits--
      delivered.push(next.n)
    }
  }
  // It waits for nobody once it has its result.
  const requeue = (one: Modelled, delay: number) => {
    one.place = one.hasResult ? "nowhere" : delay > 0 ? "delayed" : "queued"
    one.dueAt = now() + delay
  }
  const end = (one: Modelled, tag: RequestResult["_tag"]) => {
    one.place = "nowhere"
    result(one, tag)
  }
  return {
    all,
    delivered,
    results,
    size: () => inQueue().length,
    unacked: () => all.filter(({ place }) => place === "delivered").length,
    grant: (more: number) => {
      credits = more
      deliver()
    },
    enqueue: (timeout: number) => {
      const inFlight = all.filter(({ place }) => place === "delivered").length
      if (inQueue().length >= capacity && !(credits > 0 && inFlight < capacity)) return false
      all.push({
        n: all.length,
        deadline: now() + timeout,
        place: "queued",
        hasResult: false,
        dueAt: 0,
        attempts: 0,
        releases: 0,
        losses: 0
      })
      deliver()
      return true
    },
    cancel: (n: number) => {
      const one = all[n]
      if (one === undefined || one.attempts > 0 || one.place === "nowhere") return false
      end(one, "Cancelled")
      return true
    },
    settle: (n: number, outcome: Outcome) => {
      const one = all[n]!
      switch (outcome._tag) {
        case "Responded":
          return end(one, "Responded")
        case "Acked":
        case "Nacked":
          return end(one, "Failed")
        case "Released":
          return requeue(one, one.releases++ === 0 ? 0 : backoff * 2 ** Math.min(one.releases - 2, 6))
        case "Unsent":
          one.attempts--
          return requeue(one, 0)
        case "Lost":
          if (outcome.isCounted && ++one.losses >= maxDeliveries) return end(one, "Failed")
          return requeue(one, 0)
      }
    },
    due: () => {
      const late = all.filter(({ deadline, hasResult }) => !hasResult && deadline <= now())
      for (const one of late.toSorted((a, b) => a.deadline - b.deadline)) {
        if (one.place !== "delivered") one.place = "nowhere"
        result(one, "Expired")
      }
      for (const one of all) if (one.place === "delayed" && one.dueAt <= now()) one.place = "queued"
      deliver()
    }
  }
}

describe("the lane of requests", () => {
  it.prop(
    "equals a model: one result for each, at its deadline at the latest, in order, within the limits",
    [Arbitrary.array(step, { minLength: 20, maxLength: 80 })],
    ([steps]) => {
      let time = 0
      const now = () => time
      const real = makeReal(now)
      const model = makeModel(now)
      const inFlight = () => model.all.filter(({ place }) => place === "delivered")
      const settle = (which: number, outcome: Outcome) => {
        const some = inFlight()
        const one = some[which % some.length]
        if (one === undefined) return
        const event = real.delivered.findLast(({ replyTo }) => replyTo === one.n)!
        real.queue.settle([event], outcome)
        model.settle(one.n, outcome)
      }
      const check = () => {
        expect(real.delivered.map(({ replyTo }) => replyTo)).toEqual(model.delivered)
        // Those of one deadline may come in any order.
        expect(real.results.map(String).toSorted()).toEqual(model.results.map(String).toSorted())
        expect(real.queue.queuedIn("requests")).toBe(model.size() - model.unacked())
      }
      for (const step of steps) {
        switch (step.does) {
          case "enqueue": {
            const n = model.all.length
            const exit = real.queue.enqueue({
              lane: "requests",
              json: "{}",
              deadline: time + step.timeout,
              dedupeKey: String(n),
              replyTo: n
            })
            expect(Exit.isExit(exit) && Exit.isSuccess(exit)).toBe(model.enqueue(step.timeout))
            break
          }
          case "grant":
            real.granted.requests.credits = step.credits
            real.queue.grant(real.granted)
            model.grant(step.credits)
            break
          case "settle":
            settle(step.which, step.outcome)
            break
          case "cancel":
            expect(real.queue.cancel("requests", String(step.which))).toEqual(Exit.succeed(model.cancel(step.which)))
            break
          case "wait":
            time += step.millis
            if (!step.isDue) break
            real.queue.requeueDue()
            model.due()
            // Nothing is left that is due.
            expect(real.queue.nextDue() ?? Infinity).toBeGreaterThan(time)
        }
        check()
      }
      // In the end each has one result, and nothing is left.
      time += 10_000
      real.queue.requeueDue()
      model.due()
      while (inFlight().length > 0) settle(0, Outcome.Released())
      check()
      expect(real.results.map(([n]) => String(n)).toSorted()).toEqual(model.all.map(({ n }) => String(n)).toSorted())
      expect([real.queue.counters.queued, real.queue.nextDue(), real.deadLetters.counters.added]).toEqual([
        0,
        undefined,
        0
      ])
    },
    costly(150)
  )
})
