import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Deferred, Effect, Fiber, Logger, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { InternalError } from "../../../src/protocol/KosmonautError.ts"
import * as Journal from "../../../src/server/engine/Journal.ts"
import { type Change, keyOf, layerMemory, Store, StoreError } from "../../../src/server/store/Store.ts"
import { costly, int, oneOf, pick } from "../../protocol/arbitraries.ts"

const channel = (name: string): Journal.Recorded => ({ _tag: "Channel", name })
const event = (place: number, attempts: number): Journal.Recorded => ({
  _tag: "Event",
  place,
  id: `e-${place}`,
  json: "{}",
  origin: null,
  attempts,
  failures: 0,
  losses: 0
})
const vhost: Journal.Recorded = { _tag: "Vhost", token: Redacted.make("a token") }

const failure = new StoreError({ location: "nowhere", detail: "the disk is full" })

/** A store in memory that remembers its batches, can be made to fail, and to wait. */
const fakeStore = Effect.gen(function*() {
  const memory = yield* Store
  const batches: Array<ReadonlyArray<Change>> = []
  let fails = false
  const gates: Array<Effect.Effect<void>> = []
  return {
    store: Store.of({
      isComplete: true,
      load: memory.load,
      write: (changes) =>
        Effect.suspend(() => {
          batches.push(changes)
          const written = fails ? Effect.fail(failure) : memory.write(changes)
          return Effect.andThen(gates.shift() ?? Effect.void, written)
        })
    }),
    batches,
    fail: (whether: boolean) => {
      fails = whether
    },
    /** The next write waits for this, one after the other. */
    waitFor: (gate: Effect.Effect<void>) => void gates.push(gate),
    names: Effect.map(memory.load, (entries) => entries.map((entry) => `${entry._tag} ${entry.vhost} ${keyOf(entry)}`))
  }
}).pipe(Effect.provide(layerMemory))

const makeGate = Effect.gen(function*() {
  const reached = yield* Deferred.make<void>()
  const opened = yield* Deferred.make<void>()
  return {
    gate: Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(opened)),
    reached: Deferred.await(reached),
    open: Deferred.succeed(opened, undefined)
  }
})

const outcome = (journal: Journal.Journal) => {
  const outcomes: Array<boolean> = []
  journal.whenPersistedUnsafe((persisted) => outcomes.push(persisted))
  return outcomes
}

type Step =
  | { readonly do: "record"; readonly kind: "Channel" | "Event"; readonly id: number; readonly deletes: boolean }
  | { readonly do: "fail"; readonly whether: boolean }
  | { readonly do: "turn" }

const record = Arbitrary.map(
  Arbitrary.all({ kind: pick(["Channel", "Event"]), id: int(0, 2), deletes: pick([true, false]) }),
  (record): Step => ({ do: "record", ...record })
)

const step: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  record,
  record,
  record,
  Arbitrary.map(pick([true, false]), (whether): Step => ({ do: "fail", whether })),
  Arbitrary.Constant({ do: "turn" })
)

const quiet = Effect.provide(Logger.layer([]))

describe("Journal", () => {
  it.effect("writes everything recorded in one turn at once", () =>
    Effect.gen(function*() {
      const { batches, names, store } = yield* fakeStore
      const of = yield* Journal.make(store)
      const [a, b] = [of("/a"), of("/b")]
      a.created(channel("one"))
      b.created(channel("two"))
      a.created(event(1, 0))
      yield* b.persisted
      expect(batches.length).toBe(1)
      expect(yield* names).toEqual(["Channel /a one", "Channel /b two", "Event /a 1"])
    }))

  it.effect("writes only the last of several changes of an entry, and none of an entry that was created and deleted", () =>
    Effect.gen(function*() {
      const { batches, store } = yield* fakeStore
      const journal = (yield* Journal.make(store))("/a")
      journal.created(event(1, 0))
      journal.updated(event(1, 1))
      journal.created(event(2, 0))
      journal.deleted("Event", 2)
      yield* journal.persisted
      expect(batches.map((batch) => batch.length)).toEqual([1])
      expect(yield* store.load).toMatchObject([{ place: 1, attempts: 1 }])
      journal.created(event(3, 0))
      journal.deleted("Event", 3)
      yield* journal.persisted
      yield* Effect.yieldNow
      expect(batches.length).toBe(1)
    }))

  it.effect("deletes what is stored, even if it was created again in between", () =>
    Effect.gen(function*() {
      const { names, store } = yield* fakeStore
      const journal = (yield* Journal.make(store))("/a")
      journal.created(channel("one"))
      yield* journal.persisted
      journal.deleted("Channel", "one")
      journal.created(channel("one"))
      journal.deleted("Channel", "one")
      yield* journal.persisted
      expect(yield* names).toEqual([])
    }))

  it.effect("writes an entry that was deleted and created again in one turn once, in its new position", () =>
    Effect.gen(function*() {
      const { batches, names, store } = yield* fakeStore
      const journal = (yield* Journal.make(store))("/a")
      journal.created(channel("one"))
      journal.created(channel("two"))
      yield* journal.persisted
      journal.deleted("Channel", "one")
      journal.created(channel("one"))
      yield* journal.persisted
      expect(yield* names).toEqual(["Channel /a two", "Channel /a one"])
      for (let n = 0; n < 3; n++) {
        journal.deleted("Channel", "two")
        journal.created(channel("two"))
      }
      journal.created(channel("three"))
      journal.deleted("Channel", "three")
      yield* journal.persisted
      expect(batches.at(-1)!.map(({ _tag }) => _tag)).toEqual(["Remove", "Put"])
      expect(yield* names).toEqual(["Channel /a one", "Channel /a two"])
    }))

  it.effect("keeps the position of an entry that was deleted and created again if a write fails", () =>
    Effect.gen(function*() {
      const { fail, names, store } = yield* fakeStore
      const journal = (yield* Journal.make(store))("/a")
      for (const name of ["one", "two"]) journal.created(channel(name))
      yield* journal.persisted
      fail(true)
      journal.deleted("Channel", "one")
      yield* Effect.flip(journal.persisted)
      journal.created(channel("one"))
      fail(false)
      yield* TestClock.adjust("1 second")
      expect(yield* names).toEqual(["Channel /a two", "Channel /a one"])
    }).pipe(quiet))

  it.effect("calls back all that wait, also if one of them throws, and none that was cancelled", () =>
    Effect.gen(function*() {
      const { store, waitFor } = yield* fakeStore
      const said: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ logLevel, message }) => void said.push([logLevel, message]))])
      yield* Effect.gen(function*() {
        const journal = (yield* Journal.make(store))("/a")
        const { gate, open, reached } = yield* makeGate
        waitFor(gate)
        journal.created(channel("one"))
        const called: Array<string> = []
        const then = (name: string) => () => void called.push(name)
        const takeBack = journal.whenPersistedUnsafe(then("taken back"))
        journal.whenPersistedUnsafe(() => {
          throw new Error("no")
        })
        const waiting = yield* Effect.forkChild(Effect.ensuring(journal.persisted, Effect.sync(then("interrupted"))))
        yield* reached
        takeBack()
        yield* Fiber.interrupt(waiting)
        journal.whenPersistedUnsafe(then("last"))
        yield* open
        yield* journal.persisted
        expect(called).toEqual(["interrupted", "last"])
        // The journal goes on.
        journal.created(channel("two"))
        yield* journal.persisted
        expect(said).toMatchObject([["Error", ["A callback that waited for the storage has failed", {
          message: "no"
        }]]])
      }).pipe(Effect.scoped, Effect.provide(logger))
    }))

  it.effect("calls back after the write that is under way, and at once if there is nothing to write", () =>
    Effect.gen(function*() {
      const { store, waitFor } = yield* fakeStore
      const journal = (yield* Journal.make(store))("/a")
      expect(outcome(journal)).toEqual([true])
      const writes = [yield* makeGate, yield* makeGate] as const
      for (const { gate } of writes) waitFor(gate)
      journal.created(channel("one"))
      const before = outcome(journal)
      yield* writes[0].reached
      const during = outcome(journal)
      journal.created(channel("two"))
      const after = outcome(journal)
      expect([before, during, after]).toEqual([[], [], []])
      yield* writes[0].open
      yield* writes[1].reached
      expect([before, during, after]).toEqual([[true], [true], []])
      yield* writes[1].open
      yield* journal.persisted
      expect(after).toEqual([true])
    }))

  it.effect("fails waiting callers if a write fails, and retries every second", () =>
    Effect.gen(function*() {
      const { batches, fail, names, store } = yield* fakeStore
      const journal = (yield* Journal.make(store))("/a")
      fail(true)
      journal.created(event(1, 0))
      journal.created(event(2, 0))
      const error = yield* Effect.flip(journal.persisted)
      expect(error).toEqual(new InternalError({ detail: Journal.notPersisted }))
      // What is recorded meanwhile is newer.
      journal.updated(event(1, 1))
      journal.deleted("Event", 2)
      journal.created(event(3, 0))
      fail(false)
      const written = outcome(journal)
      yield* TestClock.adjust(999)
      expect(batches.length).toBe(1)
      expect(written).toEqual([])
      yield* TestClock.adjust(1)
      expect(written).toEqual([true])
      expect(yield* names).toEqual(["Event /a 1", "Event /a 3"])
      expect(batches[1]!.length).toBe(2)
      expect(yield* store.load).toMatchObject([{ attempts: 1 }, { attempts: 0 }])
    }).pipe(quiet))

  it.effect("keeps newer changes that were recorded during a failed write", () =>
    Effect.gen(function*() {
      const { fail, store, waitFor } = yield* fakeStore
      const journal = (yield* Journal.make(store))("/a")
      const { gate, open, reached } = yield* makeGate
      waitFor(gate)
      fail(true)
      journal.created(event(1, 0))
      journal.created(event(2, 0))
      yield* reached
      journal.updated(event(1, 1))
      journal.deleted("Event", 2)
      journal.created(event(3, 0))
      yield* open
      yield* Effect.yieldNow
      fail(false)
      yield* TestClock.adjust("1 second")
      expect(yield* store.load).toMatchObject([{ place: 1, attempts: 1 }, { place: 3, attempts: 0 }])
    }).pipe(quiet))

  it.effect("logs once that it fails, and once that it has recovered", () =>
    Effect.gen(function*() {
      const { fail, store } = yield* fakeStore
      const said: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ logLevel, message }) => void said.push(logLevel, message))])
      yield* Effect.gen(function*() {
        const journal = (yield* Journal.make(store))("/a")
        fail(true)
        journal.created(channel("one"))
        yield* TestClock.adjust(5000)
        fail(false)
        yield* TestClock.adjust(1000)
        fail(true)
        journal.created(channel("two"))
        yield* TestClock.adjust(1000)
        fail(false)
        yield* TestClock.adjust(9000)
        journal.created(channel("three"))
        yield* journal.persisted
        expect(said.length).toBe(2)
        yield* TestClock.adjust(1000)
        journal.created(channel("four"))
        yield* journal.persisted
        yield* Effect.yieldNow
      }).pipe(Effect.provide(logger))
      expect(said.flat()).toEqual([
        "Error",
        "Cannot use the storage nowhere: the disk is full. Retrying every second",
        "Info",
        "The storage can be written to again"
      ])
    }))

  it.effect("writes all pending changes when it ends, and logs how many could not be written", () =>
    Effect.gen(function*() {
      const { fail, names, store } = yield* fakeStore
      yield* Effect.scoped(Effect.map(Journal.make(store), (of) => of("/a").created(channel("one"))))
      expect(yield* names).toEqual(["Channel /a one"])
      const said: Array<unknown> = []
      fail(true)
      yield* Effect.scoped(Effect.map(Journal.make(store), (of) => of("/a").created(channel("two")))).pipe(
        Effect.provide(Logger.layer([Logger.make(({ message }) => void said.push(message))]))
      )
      expect(said.flat()).toEqual(["1 changes could not be stored. Cannot use the storage nowhere: the disk is full"])
    }))

  it.effect("counts what could not be written at the end, so that a command line can fail", () =>
    Effect.gen(function*() {
      const { fail, store } = yield* fakeStore
      fail(true)
      const unpersisted = { changes: 0 }
      for (const names of [["one"], ["two", "three"], []]) {
        yield* Effect.scoped(Effect.map(Journal.make(store), (of) => {
          for (const name of names) of("/a").created(channel(name))
        })).pipe(Effect.provideService(Journal.Unpersisted, unpersisted))
      }
      expect(unpersisted.changes).toBe(3)
    }).pipe(quiet))

  it.effect("goes on after a defect of its store, and logs it", () =>
    Effect.gen(function*() {
      const memory = yield* Effect.provide(Store, layerMemory)
      let isBroken = true
      const store = Store.of({
        isComplete: true,
        load: memory.load,
        write: (changes) => {
          if (isBroken) throw new Error("no store")
          return memory.write(changes)
        }
      })
      const said: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ logLevel, message }) => void said.push([logLevel, message]))])
      yield* Effect.gen(function*() {
        const journal = (yield* Journal.make(store))("/a")
        journal.created(channel("one"))
        yield* Effect.flip(journal.persisted)
        isBroken = false
        yield* TestClock.adjust("1 second")
        yield* journal.persisted
        expect(said).toMatchObject([["Error", [expect.stringContaining("no store")]]])
        expect(yield* store.load).toMatchObject([{ name: "one" }])
      }).pipe(Effect.scoped, Effect.provide(logger))
    }))

  it.effect("deletes a vhost with everything in it, and records nothing of it afterwards", () =>
    Effect.gen(function*() {
      const { names, store } = yield* fakeStore
      const of = yield* Journal.make(store)
      const journal = of("/a")
      journal.created(vhost)
      journal.created(channel("one"))
      yield* journal.persisted
      journal.created(channel("two"))
      of("/b").created(vhost)
      journal.deleted("Vhost", "/a")
      journal.created(channel("three"))
      const next = of("/a")
      next.created(vhost)
      next.created(channel("four"))
      yield* next.persisted
      expect((yield* names).toSorted()).toEqual(["Channel /a four", "Vhost /a /a", "Vhost /b /b"])
    }))

  it.effect.prop("persists every recorded change, whatever fails meanwhile", [
    Arbitrary.array(step, { maxLength: 40 })
  ], ([steps]) =>
    Effect.gen(function*() {
      const { fail, store } = yield* fakeStore
      // By kinds and ids: its key, which a channel has again and an event does not, and how often it was changed.
      const model = new Map<string, { readonly key: string | number; readonly changes: number }>()
      yield* Effect.gen(function*() {
        const journal = (yield* Journal.make(store))("/a")
        for (const step of steps) {
          if (step.do === "turn") yield* TestClock.adjust(500)
          else if (step.do === "fail") fail(step.whether)
          else {
            const name = `${step.kind} ${step.id}`
            const known = model.get(name)
            if (known !== undefined && step.deletes) {
              model.delete(name)
              journal.deleted(step.kind, known.key)
            } else {
              const key = known?.key ?? (step.kind === "Event" ? journal.nextPlace!() : name)
              const changes = (known?.changes ?? 0) + 1
              model.set(name, { key, changes })
              const entry = typeof key === "number" ? event(key, changes) : { ...channel(key), floor: changes }
              if (known === undefined) journal.created(entry)
              else journal.updated(entry)
            }
          }
        }
        fail(false)
      }).pipe(Effect.scoped)
      const left = new Map(
        (yield* store.load).map((
          entry
        ) => [keyOf(entry), "attempts" in entry ? entry.attempts : "floor" in entry && entry.floor])
      )
      expect(left).toEqual(new Map(Array.from(model.values(), ({ changes, key }) => [key, changes])))
    }).pipe(quiet), costly(100, 40))
})
