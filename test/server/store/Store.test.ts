/** What every store promises. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Layer } from "effect"
import { Change, type Entry, layerMemory, Store } from "../../../src/server/store/Store.ts"
import { costly, int, oneOf } from "../../protocol/arbitraries.ts"
import {
  accessToken,
  broadcast,
  byKind,
  channel,
  event,
  expected,
  letter,
  log,
  type Opened,
  put,
  remove,
  sqlite,
  vhost
} from "./entries.ts"

const memory = Effect.map(Layer.build(layerMemory), (context): Opened => Effect.provide(Store, context))
const stores = [
  { name: "layerMemory", open: memory },
  { name: "SqliteStore", open: sqlite(false) },
  { name: "SqliteStore with fsync", open: sqlite(true) }
]

const entry = Arbitrary.map(
  Arbitrary.all([int(0, 6), int(0, 1), int(0, 3), int(0, 2)]),
  ([kind, where, which, attempts]): Entry => {
    const path = `/v${where}`
    const id = `k${which}`
    return [
      vhost(path),
      channel(path, id, attempts),
      // Their places are of the whole store.
      event(path, 10 * where + which, attempts),
      letter(path, id),
      accessToken(path, id),
      log(path, which),
      broadcast(path, 2 ** 40 + which, attempts)
    ][kind]!
  }
)
const change = oneOf<Change>(Arbitrary.map(entry, put), Arbitrary.map(entry, put), Arbitrary.map(entry, remove))
const batches = Arbitrary.array(Arbitrary.array(change, { maxLength: 20 }), { maxLength: 4 })

describe.each(stores)("$name", ({ open }) => {
  it.effect("starts empty", () =>
    Effect.gen(function*() {
      const store = yield* Effect.flatten(open)
      expect(yield* store.load).toEqual([])
    }))

  it.effect("returns entries of every kind, also after it was closed", () =>
    Effect.gen(function*() {
      const opened = yield* open
      const all = [
        vhost("/a"),
        log("/a", 2 ** 53 - 1),
        channel("/a", "room"),
        channel("/a", "hall", 7),
        broadcast("/a", 1),
        broadcast("/a", 2 ** 53 - 1, 1),
        accessToken("/a", "t"),
        event("/a", 1, 2),
        letter("/a", "2")
      ]
      yield* Effect.scoped(Effect.flatMap(opened, (store) => store.write(all.map(put))))
      const store = yield* opened
      expect(byKind(yield* store.load)).toEqual(byKind(all))
    }))

  it.effect("keeps the order of creation", () =>
    Effect.gen(function*() {
      const store = yield* Effect.flatten(open)
      const channels = ["c", "a", "b"].map((name) => channel("/a", name))
      yield* store.write(channels.map(put))
      yield* store.write([put(channel("/a", "a", 7))])
      expect(yield* store.load).toEqual([channels[0], channel("/a", "a", 7), channels[2]])
    }))

  it.effect("deletes a vhost with all its entries, and nothing else", () =>
    Effect.gen(function*() {
      const store = yield* Effect.flatten(open)
      const others = [vhost("/b"), channel("/b", "room"), event("/b", 2)]
      const gone = [
        vhost("/a"),
        log("/a", 1),
        channel("/a", "room"),
        broadcast("/a", 1),
        event("/a", 1),
        letter("/a", "2"),
        accessToken("/a", "t")
      ]
      yield* store.write([...gone, ...others].map(put))
      yield* store.write([Change.Remove({ kind: "Vhost", vhost: "/a", key: "/a" })])
      expect(byKind(yield* store.load)).toEqual(byKind(others))
    }))

  it.effect("keeps an event that is removed and put again in one batch", () =>
    Effect.gen(function*() {
      const store = yield* Effect.flatten(open)
      yield* store.write([put(event("/a", 1)), put(event("/a", 2))])
      yield* store.write([remove(event("/a", 1)), put(event("/a", 1, 1)), remove(event("/a", 2))])
      expect(yield* store.load).toEqual([event("/a", 1, 1)])
    }))

  it.effect.prop("holds what is left after any changes", [batches], ([batches]) =>
    Effect.gen(function*() {
      const opened = yield* open
      for (const batch of batches) yield* Effect.scoped(Effect.flatMap(opened, (store) => store.write(batch)))
      const store = yield* opened
      expect(byKind(yield* store.load)).toEqual(byKind(expected(batches.flat())))
    }).pipe(Effect.scoped), costly(20, 20))
})
