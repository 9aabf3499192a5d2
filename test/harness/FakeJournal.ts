/**
 * A journal without a store: it shows what would be persisted.
 */
import * as Journal from "../../src/server/engine/Journal.ts"
import { type Entry, type Key, keyOf, nameOf } from "../../src/server/store/Store.ts"

export interface FakeJournal extends Journal.Journal {
  /** The entries that were created and not deleted, in the order of their creation. */
  readonly entries: () => ReadonlyArray<Entry>
}

/** Makes a journal of the vhost `/test`. It throws if a change makes no sense. */
export const make = (): FakeJournal => {
  const vhost = "/test"
  const entries = new Map<Key, Entry>()
  let place = 0
  const record = (isNew: boolean) => (recorded: Journal.Recorded) => {
    const entry = { ...recorded, vhost } as Entry
    const name = nameOf(entry._tag, vhost, keyOf(entry))
    // There is one for each vhost, and nobody creates it.
    if (entry._tag !== "Queue" && entries.has(name) === isNew) throw new Error(`${name} is ${isNew ? "not" : "no"} new`)
    entries.set(name, entry)
  }
  return {
    ...Journal.none,
    nextPlace: () => ++place,
    created: record(true),
    updated: record(false),
    delivered: (place) => record(false)({ _tag: "Queue", delivered: place }),
    deleted: (kind, key) => {
      if (!entries.delete(nameOf(kind, vhost, key))) throw new Error(`${kind} ${key} was not recorded`)
    },
    entries: () => [...entries.values()]
  }
}
