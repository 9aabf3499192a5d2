/** What the store on disk promises beyond. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import * as Fs from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Worker } from "node:worker_threads"
import * as SqliteStore from "../../../src/server/store/SqliteStore.ts"
import { Change, type Entry, keyOf } from "../../../src/server/store/Store.ts"
import { temporaryFolder } from "../../harness/temporaryFolder.ts"
import { costly, int } from "../../protocol/arbitraries.ts"
import { broadcast, byKind, channel, event, expected, log, put, remove, sqlite, vhost } from "./entries.ts"

/** An event as it is accepted, with no field that may be absent. */
const accepted = (place: number): Entry => ({
  _tag: "Event",
  place,
  vhost: "/a",
  id: `e-${place}`,
  json: `{"said":{"text":"ü \\u0000 ${place}"}}`,
  origin: null
})
/** The tables as they were at first. */
const firstVersion = `
create table Vhost (place integer primary key, vhost any, token any, unique (vhost)) strict;
create table Channel (place integer primary key, vhost any, name any, unique (vhost, name)) strict;
create table AccessToken (place integer primary key, vhost any, token any, uid any, pattern any, expiresAt any, unique (vhost, token)) strict;
create table Event (place integer primary key, vhost any, id any, json any, origin any, attempts any, failures any, unique (vhost, id)) strict;
create table DeadLetter (place integer primary key, vhost any, id any, json any, origin any, attempts any, reason any, failedAt any, unique (vhost, id)) strict;
pragma user_version = 1;`

/** Mostly accepted events that follow each other, with what may come between. */
const accepting = Arbitrary.map(
  Arbitrary.array(Arbitrary.all([int(0, 40), int(1, 20)]), { maxLength: 8 }),
  (runs) =>
    runs.flatMap(([from, length], run) => [
      ...Array.from({ length }, (_, index) => put(accepted(from + index))),
      [put(event("/a", from, run)), remove(event("/a", from)), put(channel("/a", "room", run))][run % 3]!
    ])
)

describe("SqliteStore", () => {
  it.effect.prop(
    "holds what is left of many events that are accepted in one batch",
    [accepting],
    ([changes]) =>
      Effect.gen(function*() {
        const store = yield* Effect.flatten(sqlite(false))
        yield* store.write(changes)
        expect(byKind(yield* store.load)).toEqual(byKind(expected(changes)))
      }).pipe(Effect.scoped),
    costly(50, 50)
  )

  it.effect.prop("removes the events that are to be removed, whether or not they follow each other", [
    Arbitrary.array(int(1, 12), { maxLength: 12 })
  ], ([places]) =>
    Effect.gen(function*() {
      const store = yield* Effect.flatten(sqlite(false))
      const events = Array.from({ length: 12 }, (_, index) => event("/a", index + 1))
      yield* store.write(events.map(put))
      yield* store.write(places.map((place) => remove(event("/a", place))))
      expect(yield* store.load).toEqual(events.filter((event) => !places.includes(keyOf(event) as number)))
    }).pipe(Effect.scoped), costly(50, 50))

  it.effect("is locked by one broker as long as that runs", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      yield* Effect.scoped(Effect.gen(function*() {
        yield* SqliteStore.make({ directory })
        const error = yield* Effect.flip(SqliteStore.make({ directory }))
        expect(error.message).toBe(
          `Cannot use the storage ${directory}: another broker uses it. Stop that one, or give this one a folder of its own`
        )
      }))
      yield* SqliteStore.make({ directory })
    }))

  it.effect("can be read by its owner alone", () =>
    Effect.gen(function*() {
      const parent = yield* temporaryFolder
      const directory = join(parent, "storage")
      const store = yield* SqliteStore.make({ directory })
      yield* store.write([put(vhost("/a"))])
      expect(Fs.statSync(directory).mode & 0o777).toBe(0o700)
      for (const file of Fs.readdirSync(directory)) expect(Fs.statSync(join(directory, file)).mode & 0o777).toBe(0o600)
    }))

  it.effect("can be read by its owner alone, also if a copy that others can read is restored", () =>
    Effect.gen(function*() {
      const [directory, copy] = [yield* temporaryFolder, yield* temporaryFolder]
      yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* SqliteStore.make({ directory })
        yield* store.write([put(vhost("/a"))])
        for (const file of Fs.readdirSync(directory)) {
          Fs.copyFileSync(join(directory, file), join(copy, file))
          Fs.chmodSync(join(copy, file), 0o644)
        }
      }))
      const store = yield* SqliteStore.make({ directory: copy })
      expect(byKind(yield* store.load)).toEqual(byKind([vhost("/a")]))
      expect(Fs.readdirSync(copy)).toContain("kosmonaut.db-wal")
      for (const file of Fs.readdirSync(copy)) expect(Fs.statSync(join(copy, file)).mode & 0o777).toBe(0o600)
    }))

  it.effect("waits a moment for a program that reads it at the same time", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const other = yield* Effect.acquireRelease(
        Effect.sync(() =>
          new Worker(
            `const { parentPort, workerData } = require("node:worker_threads")
            const database = new (require("node:sqlite").DatabaseSync)(workerData)
            database.exec("begin exclusive")
            parentPort.postMessage("locked")
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
            database.close()`,
            { eval: true, workerData: join(directory, "kosmonaut.db") }
          )
        ),
        (other) => Effect.promise(() => other.terminate())
      )
      yield* Effect.callback<void>((resume) => void other.once("message", () => resume(Effect.void)))
      yield* SqliteStore.make({ directory })
    }))

  it.effect("does not write into a folder that was replaced", () =>
    Effect.gen(function*() {
      const directory = join(yield* temporaryFolder, "storage")
      const moved = `${directory}-moved`
      const store = yield* SqliteStore.make({ directory })
      yield* store.write([put(vhost("/a"))])
      Fs.renameSync(directory, moved)
      expect((yield* Effect.flip(store.write([put(vhost("/b"))]))).message).toContain("removed or replaced")
      yield* Effect.scoped(SqliteStore.make({ directory }))
      expect((yield* Effect.flip(store.write([put(vhost("/b"))]))).message).toContain("removed or replaced")
      Fs.rmSync(directory, { recursive: true })
      Fs.renameSync(moved, directory)
      yield* store.write([put(vhost("/c"))])
      expect(byKind(yield* store.load)).toEqual(byKind([vhost("/a"), vhost("/c")]))
    }))

  it.effect("writes all of a batch or nothing", () =>
    Effect.gen(function*() {
      const store = yield* Effect.flatMap(temporaryFolder, (directory) => SqliteStore.make({ directory }))
      const impossibleName = { name: Symbol("none") as unknown as string }
      const impossible = { ...event("/a", 2), json: Symbol("none") as unknown as string }
      const error = yield* Effect.flip(store.write([put(event("/a", 1)), put(impossible)]))
      expect(error._tag).toBe("StoreError")
      yield* store.write([put(event("/a", 3))])
      expect(yield* store.load).toEqual([event("/a", 3)])
      yield* Effect.flip(store.write([remove(event("/a", 3)), put({ ...channel("/a", "c"), ...impossibleName })]))
      yield* store.write([put(event("/a", 4))])
      expect(yield* store.load).toEqual([event("/a", 3), event("/a", 4)])
      const impossibleKey = Change.Remove({ kind: "Channel", vhost: "/a", key: impossibleName.name })
      yield* Effect.flip(store.write([remove(event("/a", 3)), impossibleKey]))
      yield* store.write([put(event("/a", 5))])
      expect(yield* store.load).toEqual([event("/a", 3), event("/a", 4), event("/a", 5)])
    }))

  it.effect("describes what is wrong with a folder", () =>
    Effect.gen(function*() {
      const parent = yield* temporaryFolder
      const inFile = join(parent, "file")
      Fs.writeFileSync(inFile, "")
      const noFolder = yield* Effect.flip(SqliteStore.make({ directory: inFile }))
      expect(noFolder.message).toBe(`Cannot use the storage ${inFile}: it is no folder`)

      const broken = join(parent, "broken")
      Fs.mkdirSync(broken)
      Fs.writeFileSync(join(broken, "kosmonaut.db"), "this is no database, but a text that is long enough".repeat(100))
      const noDatabase = yield* Effect.flip(SqliteStore.make({ directory: broken }))
      expect(noDatabase.message).toContain("no database of a broker, or a broken one")
    }))

  it.effect.each([
    ["of another application", "create table Event (other); create table Orders (id)"],
    ["with a table of ours and others", "create table Vhost (place, vhost, token); create table Orders (id)"],
    ["with another table of the name of ours", "create table Event (other)"],
    ["that says whose it is", "create table Vhost (place, vhost, token); pragma application_id = 7"],
    ["in write-ahead mode", "pragma journal_mode = wal; create table Orders (id)"]
  ])("rejects a database %s before it writes anything", ([_, content]) =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const file = join(directory, "kosmonaut.db")
      const foreign = new DatabaseSync(file)
      foreign.exec(content)
      foreign.close()
      Fs.chmodSync(file, 0o644)
      const look = () => [Fs.readFileSync(file).toString("hex"), Fs.statSync(file).mode, Fs.statSync(file).mtimeMs]
      const before = look()
      const error = yield* Effect.flip(SqliteStore.make({ directory }))
      expect(error.message).toContain("no database of a broker, or a broken one. Move it away")
      expect(look()).toEqual(before)
    }))

  it.effect.each([
    { version: 1, columns: "" },
    { version: 2, columns: ", losses any" },
    { version: 3, columns: ", losses any, delay any, dueAt any, dedupeKey any" },
    { version: 4, columns: ", losses any, delay any, dueAt any, dedupeKey any" }
  ])("goes on with a database of version $version", ({ columns, version }) =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const earlier = new DatabaseSync(join(directory, "kosmonaut.db"))
      earlier.exec(
        `pragma journal_mode = wal; ${
          firstVersion.replace("failures any", `failures any${columns}`).replace("= 1;", `= ${version};`)
        }
        insert into Vhost (vhost, token) values ('/a', 'token of /a');
        insert into Channel (vhost, name) values ('/a', 'room'), ('/a', 'hall');
        insert into Event (vhost, id, json, origin, attempts, failures) values ('/a', '1', '{"e":{}}', null, 3, 2), ('/b', '2', '{"e":{}}', null, 0, 0);
        delete from Event where id = '1';
        insert into Event (vhost, id, json, origin, attempts, failures) values ('/a', '1', '{"e":{}}', null, 3, 2);`
      )
      earlier.exec(`pragma application_id = ${0x4b_6f_73_6d}; ${version > 1 ? "update Event set losses = 0" : ""}`)
      earlier.close()
      // At first they were not counted.
      const losses = { losses: version > 1 ? 0 : undefined }
      const written = [log("/a", 5), channel("/a", "room", 3), broadcast("/a", 4, 1)]
      yield* Effect.scoped(Effect.flatMap(SqliteStore.make({ directory }), (store) => store.write(written.map(put))))
      const store = yield* SqliteStore.make({ directory })
      expect(byKind(yield* store.load)).toEqual(byKind([
        vhost("/a"),
        ...written,
        channel("/a", "hall"),
        { ...event("/b", 2), ...losses, id: "2", json: "{\"e\":{}}" } as Entry,
        { ...event("/a", 3), ...losses, id: "1", json: "{\"e\":{}}", attempts: 3, failures: 2 } as Entry
      ]))
    }))

  it.effect("does not change what a newer version has written", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const database = new DatabaseSync(join(directory, "kosmonaut.db"))
      database.exec("pragma user_version = 7")
      database.close()
      const error = yield* Effect.flip(SqliteStore.make({ directory }))
      expect(error.message).toContain("a newer Kosmonaut has written it (version 7, this one reads 5)")
    }))

  describe("is complete", () => {
    const isComplete = (directory: string, fsync = false) =>
      Effect.scoped(Effect.map(SqliteStore.make({ directory, fsync }), (store) => store.isComplete))
    /** As a broker leaves it that was killed, on a machine that was started since then, or not. */
    const kill = (directory: string, boot: string | null) => {
      const database = new DatabaseSync(join(directory, "kosmonaut.db"))
      database.exec(`update Last set boot = ${boot === null ? null : `'${boot}'`}`)
      database.close()
    }
    const bootId = Fs.existsSync("/proc/sys/kernel/random/boot_id")
      ? Fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
      : undefined

    it.effect("if the last broker has ended, also if the machine was started since then", () =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        yield* isComplete(directory)
        expect(yield* isComplete(directory)).toBe(true)
      }))

    it.effect("if the last broker was killed and the machine runs since before it, where the system says so", () =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        yield* isComplete(directory)
        kill(directory, bootId ?? "unknown")
        expect(yield* isComplete(directory)).toBe(bootId !== undefined)
      }))

    it.effect("not if the last broker was killed without fsync and the machine was started since then", () =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        yield* isComplete(directory)
        kill(directory, "another start of the machine")
        expect(yield* isComplete(directory)).toBe(false)
        // A broker that did not say so.
        kill(directory, "unknown")
        expect(yield* isComplete(directory)).toBe(false)
      }))

    it.effect("in any case if the last broker had fsync", () =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        const rows = () => {
          const database = new DatabaseSync(join(directory, "copy.db"), { readOnly: true })
          const all = database.prepare("select boot from Last").all()
          database.close()
          return all.map(({ boot }) => boot)
        }
        // What a kill would leave of each, in a copy of the folder.
        for (const fsync of [true, false]) {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* SqliteStore.make({ directory, fsync })
            for (const suffix of ["", "-wal"]) {
              Fs.copyFileSync(join(directory, `kosmonaut.db${suffix}`), join(directory, `copy.db${suffix}`))
            }
          }))
          expect(rows()).toEqual([fsync ? null : bootId ?? "unknown"])
        }
      }))

    it.effect("not if it is a copy of another moment", () =>
      Effect.gen(function*() {
        const [directory, copy] = [yield* temporaryFolder, yield* temporaryFolder]
        yield* isComplete(directory)
        Fs.copyFileSync(join(directory, "kosmonaut.db"), join(copy, "kosmonaut.db"))
        expect(yield* isComplete(copy)).toBe(false)
        expect(yield* isComplete(directory)).toBe(true)
      }))
  })

  it.effect("fails to read what it has not written", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      yield* Effect.scoped(SqliteStore.make({ directory }))
      const database = new DatabaseSync(join(directory, "kosmonaut.db"))
      database.exec("insert into Event (vhost, id, json, origin, attempts) values ('/a', '1', 7, null, 'many')")
      database.close()
      const store = yield* SqliteStore.make({ directory })
      const error = yield* Effect.flip(store.load)
      expect(error._tag).toBe("StoreError")
    }))
})
