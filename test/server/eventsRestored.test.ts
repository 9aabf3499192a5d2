/** What the next broker has of the events and the dead letters of the last one. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import type { Vhost } from "../../src/server/engine/Vhosts.ts"
import { inTest, join, names, stores, trigger } from "../harness/lives.ts"

describe.each(stores)("a vhost on $name", ({ make }) => {
  it.effect("restores queued and unacked events in order, with their ids and attempts", () =>
    Effect.gen(function*() {
      const live = yield* make
      const first = yield* inTest((vhost) =>
        Effect.gen(function*() {
          yield* trigger(vhost, "a", "b", "c", "d")
          const worker = yield* join(vhost, { prefetch: 3 })
          yield* worker.acknowledge(1)
          // Now it has the last as well.
          yield* worker.acknowledge(3)
          yield* trigger(vhost, "e", "f")
          return worker.given
        })
      )(live)
      expect(names(first)).toEqual(["a", "b", "c", "d", "e"])
      const second = yield* inTest((vhost) =>
        Effect.gen(function*() {
          expect((yield* vhost.lobby.info).queued).toBe(4)
          const worker = yield* join(vhost)
          yield* trigger(vhost, "g")
          return worker.given
        })
      )(live)
      expect(names(second)).toEqual(["a", "c", "e", "f", "g"])
      expect(second.map(({ attempt }) => attempt)).toEqual([2, 2, 2, 1, 1])
      expect(second.map(({ origin }) => origin)).toEqual(names(second).map((name) => `{"uid":"${name}"}`))
      expect([0, 1, 2].map((n) => second[n]!.id)).toEqual([0, 2, 4].map((n) => first[n]!.id))
      expect(new Set([...first, ...second].map(({ id }) => id)).size).toBe(7)
    }))

  it.effect("stores new events beside those of earlier brokers and of other vhosts", () =>
    Effect.gen(function*() {
      const live = yield* make
      const paths = ["/test", "/other"]
      const inBoth = <A>(use: (vhost: Vhost) => Effect.Effect<A, unknown, Scope.Scope>) =>
        live((vhosts) => Effect.forEach(paths, (path) => Effect.flatMap(vhosts.get(path), use)), {
          vhosts: paths.map((path) => ({ path }))
        })
      for (const name of ["a", "b", "c"]) yield* inBoth((vhost) => trigger(vhost, `${name} 1`, `${name} 2`))
      const restored = yield* inBoth((vhost) => Effect.map(join(vhost), ({ given }) => names(given)))
      const all = ["a 1", "a 2", "b 1", "b 2", "c 1", "c 2"]
      expect(restored).toEqual([all, all])
    }))

  it.effect("restores how often events were delivered that had been written before", () =>
    Effect.gen(function*() {
      const live = yield* make
      const attempts = (prefetch: number) =>
        inTest((vhost) =>
          Effect.gen(function*() {
            yield* vhost.journal.persisted
            const worker = yield* join(vhost, { prefetch, maxAttempts: 10 })
            yield* vhost.journal.persisted
            return worker.given.map(({ attempt, json }) => [Object.keys(JSON.parse(json))[0], attempt])
          })
        )(live)
      yield* inTest((vhost) => trigger(vhost, "a", "b", "c"))(live)
      expect(yield* attempts(2)).toEqual([["a", 1], ["b", 1]])
      expect(yield* attempts(1)).toEqual([["a", 2]])
      yield* inTest((vhost) => trigger(vhost, "d"))(live)
      expect(yield* attempts(4)).toEqual([["a", 3], ["b", 2], ["c", 1], ["d", 1]])
      expect(yield* attempts(4)).toEqual([["a", 4], ["b", 3], ["c", 2], ["d", 2]])
      // The last places that were delivered are not given again.
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          yield* trigger(vhost, "e")
          yield* vhost.journal.persisted
          const worker = yield* join(vhost)
          yield* vhost.journal.persisted
          yield* worker.acknowledge(0, 1, 2, 3, 4)
        })
      )(live)
      yield* inTest((vhost) => trigger(vhost, "f"))(live)
      expect(yield* attempts(1)).toEqual([["f", 1]])
    }))

  it.effect("restores that a delayed event was not delivered, and one that could not be sent", () =>
    Effect.gen(function*() {
      const live = yield* make
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          yield* vhost.lobby.enqueue(`{"later":{}}`, undefined, { delay: Duration.hours(1) })
          yield* trigger(vhost, "unsent", "b")
          yield* vhost.journal.persisted
          const settle: Array<(sent: boolean) => void> = []
          yield* join(vhost, { deliverUnsafe: (_json, _origin, settled) => void settle.push(settled) })
          yield* vhost.journal.persisted
          settle[0]!(false)
          settle[1]!(true)
        })
      )(live)
      const given = inTest((vhost) =>
        Effect.gen(function*() {
          yield* TestClock.adjust("1 hour")
          const { given } = yield* join(vhost)
          yield* vhost.journal.persisted
          return given.map(({ attempt, json }) => [Object.keys(JSON.parse(json))[0], attempt])
        })
      )
      expect(yield* given(live)).toEqual([["later", 1], ["unsent", 1], ["b", 2]])
      expect(yield* given(live)).toEqual([["later", 2], ["unsent", 2], ["b", 3]])
      // One that is the last.
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          yield* vhost.lobby.enqueue(`{"last":{}}`, undefined, { delay: Duration.hours(1) })
          yield* vhost.journal.persisted
          yield* TestClock.adjust("1 hour")
          const worker = yield* join(vhost)
          expect(names(worker.given)).toContain("last")
          yield* worker.acknowledge(0, 1, 2)
        })
      )(live)
      expect(yield* given(live)).toEqual([["last", 2]])
    }))

  it.effect("stores nothing of events that were acked or sent to workers that do not ack", () =>
    Effect.gen(function*() {
      const live = yield* make
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          const worker = yield* join(vhost)
          yield* trigger(vhost, "a", "b")
          yield* worker.acknowledge(0, 1)
          yield* vhost.lobby.leave("worker")
          yield* trigger(vhost, "c")
          yield* join(vhost, { prefetch: undefined as unknown as number })
          yield* vhost.lobby.heartbeat("worker")
        })
      )(live)
      yield* inTest((vhost) => Effect.map(vhost.lobby.info, ({ queued }) => expect(queued).toBe(0)))(live)
    }))

  it.effect("restores dead letters until they are taken", () =>
    Effect.gen(function*() {
      const live = yield* make
      const letters = yield* inTest((vhost) =>
        Effect.gen(function*() {
          const worker = yield* join(vhost)
          yield* trigger(vhost, "a", "b", "c")
          for (const n of [0, 1, 2]) yield* worker.fail(n, "it broke")
          yield* vhost.deadLetters.take(worker.given[1]!.id)
          return yield* vhost.deadLetters.list
        })
      )(live)
      expect(names(letters)).toEqual(["a", "c"])
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          expect(yield* vhost.deadLetters.list).toMatchObject(letters)
          expect((yield* vhost.lobby.info).queued).toBe(0)
          expect(yield* vhost.replay(letters[0]!.id)).toBe(true)
        })
      )(live)
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          expect(names(yield* vhost.deadLetters.list)).toEqual(["c"])
          const { given } = yield* join(vhost)
          expect(names(given)).toEqual(["a"])
        })
      )(live)
    }))

  it.effect("deletes dead letters that are discarded all at once", () =>
    Effect.gen(function*() {
      const live = yield* make
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          const worker = yield* join(vhost)
          yield* trigger(vhost, "a", "b")
          for (const n of [0, 1]) yield* worker.fail(n, "it broke")
          // So that they have been written.
          yield* vhost.journal.persisted
          expect((yield* vhost.deadLetters.takeAll).length).toBe(2)
        })
      )(live)
      expect(yield* inTest((vhost) => vhost.deadLetters.list)(live)).toEqual([])
    }))

  it.effect("makes dead letters of events that are too large for the restarted broker's workers", () =>
    Effect.gen(function*() {
      const live = yield* make
      yield* inTest((vhost) => trigger(vhost, "a", "b".repeat(2000), "c"))(live)
      for (let round = 0; round < 2; round++) {
        yield* live((vhosts) =>
          Effect.gen(function*() {
            const vhost = yield* vhosts.get("/test")
            const [letter, ...others] = yield* vhost.deadLetters.list
            expect([names([letter!]), others]).toEqual([["b".repeat(2000)], []])
            expect(letter!.reason).toMatch(/^the event has 4017 bytes, the limit is \d+$/)
            const { given } = yield* join(vhost)
            expect(names(given)).toEqual(["a", "c"])
          }), { maxMessageSize: 3000 })
      }
    }))

  it.effect("drops the oldest dead letters if the restarted broker has a lower limit", () =>
    Effect.gen(function*() {
      const live = yield* make
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          const worker = yield* join(vhost)
          yield* trigger(vhost, "a", "b", "c")
          for (const n of [0, 1, 2]) yield* worker.fail(n, "it broke")
        })
      )(live)
      yield* live((vhosts) =>
        Effect.gen(function*() {
          const { deadLetters } = yield* vhosts.get("/test")
          expect(names(yield* deadLetters.list)).toEqual(["b", "c"])
          expect(deadLetters.counters).toMatchObject({ count: 2, dropped: 1 })
        }), { deadLetters: { capacity: 2 } })
      expect(names(yield* inTest((vhost) => vhost.deadLetters.list)(live))).toEqual(["b", "c"])
    }))
})
