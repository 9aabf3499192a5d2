/**
 * A journal without a store: it shows what would be kept.
 */
import * as Journal from "../../src/server/engine/Journal.ts"
import { type Entry, keyOf, nameOf } from "../../src/server/store/Store.ts"

export interface FakeJournal extends Journal.Journal {
  /** What is noted and not forgotten, in the order of its first noting. */
  readonly noted: () => ReadonlyArray<Entry>
}

/** Makes a journal of the vhost `/test`. It dies of a note that makes no sense. */
export const make = (): FakeJournal => {
  const vhost = "/test"
  const entries = new Map<string, Entry>()
  const note = (isNew: boolean) => (noted: Journal.Noted) => {
    const entry = { ...noted, vhost } as Entry
    const name = nameOf(entry._tag, vhost, keyOf(entry))
    if (entries.has(name) === isNew) throw new Error(`${name} is ${isNew ? "not" : "no"} new`)
    entries.set(name, entry)
  }
  return {
    ...Journal.none,
    noteNew: note(true),
    noteChanged: note(false),
    forget: (kind, key) => {
      if (!entries.delete(nameOf(kind, vhost, key))) throw new Error(`${kind} ${key} was not noted`)
    },
    noted: () => [...entries.values()]
  }
}
