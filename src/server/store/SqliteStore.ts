/**
 * A store in a folder of this machine: one SQLite database, `kosmonaut.db`, in write-ahead mode.
 *
 * A batch that is written outlasts the broker's process, however that ends, `kill -9` included. With `fsync` it also outlasts a
 * loss of power, and each batch waits for the disk. Without `fsync` a loss of power may lose the last moments; the database is
 * intact in either case.
 *
 * One broker uses the database at a time: it has a lock that ends with the process. The database holds access tokens, and only
 * its owner can read it. It has a table for each kind of entry, and one that says how the last broker has ended: `isComplete` is
 * `false` if that one, without `fsync`, neither closed the database nor ran since the machine was started, or if the file is a copy.
 *
 * SQLite was chosen over files of our own because of its lock, its recovery and its maturity; `docs/performance.md` says what
 * it costs.
 *
 * @since 0.1.0
 */

import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { join } from "node:path"
import type { DatabaseSync, DatabaseSyncOptions, SQLInputValue, StatementSync } from "node:sqlite"
import { messageOf } from "../../protocol/ErrorText.ts"
import { type Change, type Entry, type Key, type Kind, kinds, Store, StoreError } from "./Store.ts"

/**
 * The options of the store.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The folder, which is created if it does not exist. */
  readonly directory: string
  /** Whether each batch waits until it is on the disk, default `false`. */
  readonly fsync?: boolean | undefined
}

/** What the tables are like: earlier ones are given the columns that they lack. */
const version = 5

/**
 * After how many pages of 4 KiB the log of writes is copied to the database. What was written and deleted before then is not copied, so events
 * that are soon handled cost less with more.
 */
const checkpoint = 4000

/** Marks a database as a broker's: "Kosm". */
const applicationId = 0x4b_6f_73_6d

type Table = (typeof kinds)[Kind]

const tables = Object.entries(kinds) as ReadonlyArray<[Kind, Table]>

const columnsOf = ({ schema }: Table): ReadonlyArray<string> =>
  Object.keys(schema.fields).filter((field) => field !== "_tag")

const list = (names: ReadonlyArray<string>): string => names.join(", ")

/** What identifies a row. */
const uniqueOf = ({ key }: Table): ReadonlyArray<string> => key === "vhost" || key === "place" ? [key] : ["vhost", key]

// The column `place` is the order in which rows were inserted; an update does not change it.
const creation = tables.map(([kind, table]) => {
  const columns = columnsOf(table).filter((column) => column !== "place").map((column) => `${column} any`)
  const unique = table.key === "place" ? [] : [`unique (${list(uniqueOf(table))})`]
  return `create table if not exists ${kind} (${list(["place integer primary key", ...columns, ...unique])}) strict;`
}).join("\n")

/** Until version 4 events were found by an index of their names. */
const withoutIndex = `alter table Event rename to Earlier; ${creation}
  insert into Event (${list(columnsOf(kinds.Event))}) select ${list(columnsOf(kinds.Event))} from Earlier;
  drop table Earlier;`

// The one row of the broker that has the database, or had it last: in which file, and since which start of the machine. Those
// are null if all that it has written is on the disk.
const lastCreation = `create table if not exists Last (file any, boot any) strict;`

/**
 * Opens a store, and locks it until the scope ends. Fails for a database that is not a broker's, before anything is written to
 * it. A database of an earlier version is migrated in one transaction.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  { directory, fsync = false }: Options
): Effect.fn.Return<Store["Service"], StoreError, Scope.Scope> {
  const fail = (cause: unknown) =>
    cause instanceof StoreError ? cause : new StoreError({ location: directory, detail: explain(cause), cause })
  const refuse = (detail: string) => new StoreError({ location: directory, detail })
  const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: fail })
  const file = join(directory, "kosmonaut.db")
  // Imported only when it is needed, because earlier versions of Node.js print a warning on import.
  const sqlite = yield* Effect.promise(() => import("node:sqlite"))
  const open = (options: DatabaseSyncOptions) =>
    Effect.acquireRelease(
      // If two brokers open it at the same moment, one of them waits.
      attempt(() => new sqlite.DatabaseSync(file, { timeout: 500, ...options })),
      (database) => Effect.sync(() => database.close())
    )
  yield* attempt(() => Fs.mkdirSync(directory, { recursive: true, mode: 0o700 }))
  if (Fs.existsSync(file)) {
    const problem = yield* Effect.scoped(Effect.flatMap(
      open({ readOnly: true }),
      (database) => attempt(() => problemOf(database))
    ))
    if (problem !== undefined) return yield* refuse(problem)
  }
  const { ino } = yield* attempt(() => {
    // SQLite would create files that everybody can read, and a restored copy may have any mode.
    Fs.closeSync(Fs.openSync(file, "a", 0o600))
    for (const each of [file, `${file}-wal`, `${file}-shm`].filter(Fs.existsSync)) Fs.chmodSync(each, 0o600)
    return Fs.statSync(file)
  })
  const database = yield* open({})
  const apply = yield* attempt(() => {
    // The first access takes the lock, and exclusive mode holds it. What is written before `isComplete` is on the disk.
    database.exec("pragma locking_mode = exclusive; pragma journal_mode = wal; pragma synchronous = full")
    database.exec(`pragma wal_autocheckpoint = ${checkpoint}`)
    return prepare(database)
  })
  const isComplete = yield* attempt(() => begin(database, { file: String(ino), fsync }))
  yield* Effect.addFinalizer(() => Effect.ignore(attempt(() => end(database))))
  yield* attempt(() => database.exec(`pragma synchronous = ${fsync ? "full" : "normal"}`))
  const transaction = { begin: database.prepare("begin"), commit: database.prepare("commit") }
  return {
    isComplete,
    load: Effect.flatMap(
      attempt(() => tables.flatMap(([kind]) => rowsOf(database, kind))),
      (rows) => Effect.mapError(Schema.decodeUnknownEffect(Entries)(rows), fail)
    ),
    write: (changes) =>
      attempt(() => {
        transaction.begin.run()
        apply(changes)
        // Writing to a file that was removed succeeds, but the next broker would not find it.
        return Fs.statSync(file, { throwIfNoEntry: false })?.ino === ino
      }).pipe(
        Effect.filterOrFail((isThere) => isThere, () => refuse(removed)),
        Effect.andThen(attempt(() => transaction.commit.run())),
        Effect.tapError(() => Effect.ignore(attempt(() => database.exec("rollback"))))
      )
  }
})

// Why a database cannot be used. One without tables may be of a broker that ended while it started.
const problemOf = (database: DatabaseSync): string | undefined => {
  const id = pragmaOf(database, "application_id")
  const found = pragmaOf(database, "user_version")
  const isNew = id === 0 && database.prepare("select 1 from sqlite_schema").get() === undefined
  if (id !== applicationId && !isNew) return foreign
  return found > version
    ? `a newer Kosmonaut has written it (version ${found}, this one reads ${version}). Use that one`
    : undefined
}

const columnsIn = (database: DatabaseSync, table: string): ReadonlyArray<string> =>
  database.prepare("select name from pragma_table_info(?)").all(table).map(({ name }) => String(name))

const pragmaOf = (database: DatabaseSync, pragma: string): number =>
  Number(database.prepare(`pragma ${pragma}`).get()?.[pragma])

// One transaction, so that the tables are always those of one version.
const prepare = (database: DatabaseSync): (changes: ReadonlyArray<Change>) => void => {
  const hasIndex = pragmaOf(database, "user_version") < 5 && columnsIn(database, "Event").length > 0
  const steps = tables.flatMap(([kind, table]) => {
    const found = columnsIn(database, kind)
    const missing = found.length === 0 ? [] : columnsOf(table).filter((column) => !found.includes(column))
    // What is required and was added counts something.
    return missing.map((column) =>
      `alter table ${kind} add column ${column} any default ${optionalOf(kind).includes(column) ? null : 0};`
    )
  })
  database.exec(`begin immediate; ${steps.join("\n")} ${hasIndex ? withoutIndex : ""} ${creation} ${lastCreation}
    pragma user_version = ${version}; pragma application_id = ${applicationId}; commit`)
  return applyTo(database)
}

// Whether all is there that the last broker has written. An earlier version did not say.
const begin = (
  database: DatabaseSync,
  { file, fsync }: { readonly file: string; readonly fsync: boolean }
): boolean => {
  const last = database.prepare("select file, boot from Last").get()
  const boot = bootId()
  database.exec("begin; delete from Last")
  database.prepare("insert into Last (file, boot) values (?, ?)").run(file, fsync ? null : boot ?? unknownBoot)
  database.exec("commit")
  return last?.["file"] === file && (last["boot"] === null || last["boot"] === boot)
}

const end = (database: DatabaseSync): void => {
  database.exec("pragma synchronous = full; update Last set boot = null")
}

// Linux says which start of the machine this is. It is the same in containers.
const bootId = (): string | undefined => {
  const file = "/proc/sys/kernel/random/boot_id"
  return Fs.existsSync(file) ? Fs.readFileSync(file, "utf8").trim() : undefined
}

const unknownBoot = "unknown"

/**
 * The store as a layer. It fails if another broker uses the folder, or if the folder cannot be written to.
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Store, StoreError> => Layer.effect(Store, make(options))

const Entries = Schema.Array(Schema.Union(tables.map(([_, { schema }]) => schema)))

// Columns that are null in most rows, and absent in their entries.
const optionalOf = (kind: Kind): ReadonlyArray<string> =>
  Object.entries(kinds[kind].schema.fields).flatMap(([name, { ast }]) => SchemaAST.isOptional(ast) ? [name] : [])

const rowsOf = (database: DatabaseSync, kind: Kind): ReadonlyArray<object> => {
  const optional = optionalOf(kind)
  return database.prepare(`select * from ${kind} order by place`).all().map((row) => {
    for (const column of optional) if (row[column] === null) delete row[column]
    return { ...row, _tag: kind }
  })
}

const applyTo = (database: DatabaseSync): (changes: ReadonlyArray<Change>) => void => {
  const statements = new Map(tables.map(([kind, table]) => [kind, statementsOf(database, kind, table)]))
  const removals = removalsOf(database)
  const remove = ({ key, kind, vhost }: Extract<Change, { readonly _tag: "Remove" }>) => {
    if (kind === "Event" && typeof key === "number") return removals.remove(key)
    removals.flush()
    if (kind === "Vhost") return statements.forEach(({ removeAll }) => removeAll(vhost))
    return statements.get(kind)!.remove(vhost, key)
  }
  return (changes) => {
    // What has collected changes: they come before those of anything else.
    let collecting: Collecting = removals
    const next = (by: Collecting) => {
      if (by !== collecting) collecting.flush()
      collecting = by
    }
    for (const change of changes) {
      if (change._tag === "Put") {
        const rows = statements.get(change.entry._tag)!
        next(rows)
        rows.put(change.entry)
      } else {
        next(removals)
        remove(change)
      }
    }
    collecting.flush()
  }
}

/** Changes that are one statement if they follow each other. What is flushed is forgotten, even if that fails. */
interface Collecting {
  readonly flush: () => void
}

// Events are mostly handled in the order of their places.
const removalsOf = (database: DatabaseSync) => {
  const statement = database.prepare("delete from Event where place between ? and ?")
  let [first, last] = [0, -1]
  const flush = () => {
    const until = last
    last = first - 1
    if (first <= until) statement.run(first, until)
  }
  return {
    remove: (place: number): void => {
      if (first > last || place !== last + 1) {
        flush()
        first = place
      }
      last = place
    },
    flush
  }
}

/** How many rows are inserted by one statement. Twice as many gain nothing. */
const rowsAtOnce = 16

const statementsOf = (database: DatabaseSync, kind: Kind, table: Table) => {
  const optional = optionalOf(kind)
  const required = columnsOf(table).filter((column) => !optional.includes(column))
  const width = required.length
  const insert = (columns: ReadonlyArray<string>, rows: number) =>
    database.prepare(insertionOf(kind, table, columns, optional, rows))
  const [short, whole] = [insert(required, 1), insert([...required, ...optional], 1)]
  // Few kinds have so many.
  let many: StatementSync | undefined
  let values: Array<SQLInputValue> = []
  const flush = () => {
    const collected = values
    values = []
    if (collected.length === width * rowsAtOnce) return void (many ??= insert(required, rowsAtOnce)).run(...collected)
    for (let at = 0; at < collected.length; at += width) short.run(...collected.slice(at, at + width))
  }
  const unique = uniqueOf(table)
  const remove = database.prepare(`delete from ${kind} where ${unique.map((column) => `${column} = ?`).join(" and ")}`)
  const removeAll = database.prepare(`delete from ${kind} where vhost = ?`)
  return {
    put: (entry: Entry): void => {
      // Values that are bound cost time, also if they are null.
      if (optional.every((column) => entry[column as keyof Entry] === undefined)) {
        for (const column of required) values.push(valueOf(entry[column as keyof Entry]))
        if (values.length === width * rowsAtOnce) flush()
      } else {
        flush()
        whole.run(...[...required, ...optional].map((column) => valueOf(entry[column as keyof Entry])))
      }
    },
    flush,
    remove: unique.length === 1
      ? (_: string, key: Key) => void remove.run(key)
      : (vhost: string, key: Key) => void remove.run(vhost, key),
    removeAll: (vhost: string) => void removeAll.run(vhost)
  }
}

// Inserts so many rows, or updates them: the optional columns that are not given are null then.
const insertionOf = (
  kind: Kind,
  table: Table,
  columns: ReadonlyArray<string>,
  optional: ReadonlyArray<string>,
  rows: number
): string => {
  const row = `(${list(columns.map(() => "?"))})`
  const updates = [
    ...columns.map((column) => `${column} = excluded.${column}`),
    ...optional.filter((column) => !columns.includes(column)).map((column) => `${column} = null`)
  ]
  return `insert into ${kind} (${list(columns)}) values ${list(Arr.replicate(row, rows))}
    on conflict (${list(uniqueOf(table))}) do update set ${list(updates)}`
}

const valueOf = (value: SQLInputValue | Redacted.Redacted | undefined): SQLInputValue => {
  if (typeof value !== "object") return value ?? null
  return Redacted.isRedacted(value) ? Redacted.value(value as Redacted.Redacted) : value
}

const foreign =
  "it holds something that is no database of a broker, or a broken one. Move it away, or restore a copy of it"

const removed = "its folder was removed or replaced while this broker ran. Bring it back or restart the broker"

const explain = (cause: unknown): string => {
  const error = cause instanceof Error
    ? cause as Error & { readonly code?: unknown; readonly errcode?: unknown }
    : undefined
  const { code, errcode } = error ?? {}
  // The last byte of SQLite's code is the kind of the error, the others are a variant of it.
  switch (typeof errcode === "number" ? errcode & 0xff : code) {
    case 5:
      return "another broker uses it. Stop that one, or give this one a folder of its own"
    case 26:
    case 11:
      return foreign
    case 13:
    case "ENOSPC":
      return "the disk is full"
    case "EACCES":
    case "EROFS":
    case 8:
    case 14:
      return "this user may not write there"
    case "EEXIST":
    case "ENOTDIR":
      return "it is no folder"
    default:
      return messageOf(cause)
  }
}
