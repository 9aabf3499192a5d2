/** What is put into stores, and what they are to hold then. */
import { Effect, Redacted, type Scope } from "effect"
import { join } from "node:path"
import * as SqliteStore from "../../../src/server/store/SqliteStore.ts"
import {
  Change,
  type Entry,
  type Key,
  keyOf,
  nameOf,
  type Store,
  type StoreError
} from "../../../src/server/store/Store.ts"
import { temporaryFolder } from "../../harness/temporaryFolder.ts"

/** A store that can be left and come back to. */
export type Opened = Effect.Effect<Store["Service"], StoreError, Scope.Scope>

/** One on disk, in a folder that does not exist yet. */
export const sqlite = (fsync: boolean) =>
  Effect.map(temporaryFolder, (directory): Opened => SqliteStore.make({ directory: join(directory, "a", "b"), fsync }))

export const vhost = (vhost: string): Entry => ({ _tag: "Vhost", vhost, token: Redacted.make(`token of ${vhost}`) })
export const channel = (vhost: string, name: string, floor = 0): Entry =>
  floor === 0 ? { _tag: "Channel", vhost, name } : { _tag: "Channel", vhost, name, opened: 1, floor }
export const log = (vhost: string, reserved: number): Entry => ({ _tag: "Log", vhost, epoch: "an epoch", reserved })
export const broadcast = (vhost: string, position: number, attempts = 0): Entry => ({
  _tag: "Broadcast",
  vhost,
  position,
  channel: "room",
  message: `{"said":{"text":"ü \\u0000 ${attempts}"}}`,
  ...attempts > 0 && { exceptSid: "a sid" },
  at: 1_800_000_000_123
})
export const event = (vhost: string, place: number, attempts = 0): Entry => ({
  _tag: "Event",
  place,
  vhost,
  id: `e-${place}`,
  json: `{"said":{"text":"ü \\u0000 ${place}"}}`,
  origin: attempts === 0 ? null : "{\"uid\":\"joe\"}",
  attempts,
  failures: attempts,
  losses: attempts
})
export const letter = (vhost: string, id: string): Entry => ({
  _tag: "DeadLetter",
  vhost,
  id,
  json: "{\"said\":{}}",
  origin: null,
  attempts: 3,
  reason: "it's \"broken\"; -- \u0000 \u{1f680}",
  failedAt: 1_800_000_000_123
})
export const accessToken = (vhost: string, token: string): Entry => ({
  _tag: "AccessToken",
  vhost,
  token: Redacted.make(token),
  uid: "joe",
  pattern: "presence-.*",
  expiresAt: 1_800_000_000_123
})

export const put = (entry: Entry) => Change.Put({ entry })
export const remove = (entry: Entry) => Change.Remove({ kind: entry._tag, vhost: entry.vhost, key: keyOf(entry) })

/** Those of a kind are in order, kinds are not. */
export const byKind = (entries: ReadonlyArray<Entry>) => Object.groupBy(entries.map(plain), ({ _tag }) => _tag)
const plain = (entry: Entry) => "token" in entry ? { ...entry, token: Redacted.value(entry.token) } : entry

/** What a store is to hold after these changes. */
export const expected = (changes: ReadonlyArray<Change>): ReadonlyArray<Entry> => {
  const entries = new Map<Key, Entry>()
  for (const change of changes) {
    if (change._tag === "Put") {
      entries.set(nameOf(change.entry._tag, change.entry.vhost, keyOf(change.entry)), change.entry)
    } else if (change.kind === "Vhost") {
      for (const [name, entry] of entries) if (entry.vhost === change.vhost) entries.delete(name)
    } else {
      entries.delete(nameOf(change.kind, change.vhost, change.key))
    }
  }
  const placeOf = (entry: Entry) => "place" in entry ? entry.place : 0
  return [...entries.values()].sort((one, other) => placeOf(one) - placeOf(other))
}
