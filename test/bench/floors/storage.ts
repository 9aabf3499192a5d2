/**
 * The least that an event costs a broker with storage: `node test/bench/floors/storage.ts` inserts its row in one transaction and deletes it
 * in a later one with all that came with it, so many events to a transaction.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { spreadOf } from "../harness/Bench.ts"

const folder = mkdtempSync(join(tmpdir(), "kosmonaut-bench-"))
const db = new DatabaseSync(join(folder, "floor.sqlite"))
db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
db.exec("CREATE TABLE events (id INTEGER PRIMARY KEY, json TEXT, origin TEXT) STRICT")
const insert = db.prepare("INSERT INTO events VALUES (?, ?, ?)")
const remove = db.prepare("DELETE FROM events WHERE id BETWEEN ? AND ?")

const sid = "00000000-0000-4000-8000-000000000000"
const [json, origin] = [{ "chat/say": { text: "hello", sid } }, { sid, uid: "joe" }].map((value) =>
  JSON.stringify(value)
)

const transaction = (changes: () => void): void => {
  db.exec("BEGIN")
  changes()
  db.exec("COMMIT")
}

for (const count of [1, 16, 64, 256, 512]) {
  const samples: Array<number> = []
  for (let round = 0; round < 9; round++) {
    const before = process.cpuUsage()
    for (let from = 0; from < 16_384; from += count) {
      transaction(() => {
        for (let id = from; id < from + count; id++) insert.run(id, json!, origin!)
      })
      transaction(() => remove.run(from, from + count - 1))
    }
    const { system, user } = process.cpuUsage(before)
    if (round > 0) samples.push((system + user) / 16_384)
  }
  const { median, min } = spreadOf(samples)
  console.log(`${count} in a transaction: ${median.toFixed(1)} (${min.toFixed(1)}) µs an event`)
}
db.close()
rmSync(folder, { recursive: true })
