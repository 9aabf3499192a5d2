/**
 * The persistent storage of a broker: vhosts and their access tokens, open channels and what is retained of their broadcasts,
 * unused single access tokens, events that are not acknowledged, dead letters.
 *
 * A store has entries and no rules. One broker at a time writes to it, in batches: all changes of a batch are persisted when
 * `write` ends, and none of them if it fails.
 *
 * `layerNoop` stores nothing: the broker has everything in memory only.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TaggedError from "../../protocol/TaggedError.ts"

/**
 * The kinds of entries, each with its fields and the name of the one that identifies it in its vhost. Of its vhost
 * itself there is one.
 *
 * @since 0.1.0
 */
export const kinds = {
  Vhost: {
    key: "vhost",
    /**
     * `vhost` is its path, `token` what its backends authenticate with, `otherTokens` the others, with a space between, `rules`
     * the JSON of the rules of its channels.
     */
    schema: Schema.TaggedStruct("Vhost", {
      vhost: Schema.String,
      token: Schema.RedactedFromValue(Schema.String),
      otherTokens: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)),
      rules: Schema.optionalKey(Schema.String)
    })
  },
  Log: {
    key: "vhost",
    /**
     * The name of a vhost's positions, and the last one that may be in use. `floor` is the last one of a broadcast on a channel
     * that was opened on demand and is closed, as long as channels have the rules with this digest.
     */
    schema: Schema.TaggedStruct("Log", {
      vhost: Schema.String,
      epoch: Schema.String,
      reserved: Schema.Number,
      floor: Schema.optionalKey(Schema.Number),
      rules: Schema.optionalKey(Schema.Number)
    })
  },
  Channel: {
    key: "name",
    /**
     * With a history, `opened` is the position of its opening, and `floor` that of the last broadcast that was dropped.
     * `onDemand` is 1 if it was opened on demand.
     */
    schema: Schema.TaggedStruct("Channel", {
      vhost: Schema.String,
      name: Schema.String,
      opened: Schema.optionalKey(Schema.Number),
      floor: Schema.optionalKey(Schema.Number),
      onDemand: Schema.optionalKey(Schema.Number)
    })
  },
  Broadcast: {
    key: "position",
    /** A broadcast that is retained: the message to browsers; `at` is its time, in milliseconds since 1970. */
    schema: Schema.TaggedStruct("Broadcast", {
      vhost: Schema.String,
      position: Schema.Number,
      channel: Schema.String,
      message: Schema.String,
      exceptSid: Schema.optionalKey(Schema.String),
      at: Schema.Number
    })
  },
  AccessToken: {
    key: "token",
    /**
     * A single access token; `expiresAt` is in milliseconds since 1970. `grant` is the JSON of what it grants beside the
     * pattern, if there is anything.
     */
    schema: Schema.TaggedStruct("AccessToken", {
      vhost: Schema.String,
      token: Schema.RedactedFromValue(Schema.String),
      uid: Schema.String,
      pattern: Schema.String,
      expiresAt: Schema.Number,
      grant: Schema.optionalKey(Schema.String)
    })
  },
  Event: {
    key: "place",
    /**
     * `place` is unique in the whole store and the row's own number, so that writing an event costs half of what it would with an
     * index of names. `json` is the text of `{"<event>": {…}}`, `origin` that of its origin, `attempts` how often it was delivered,
     * `failures` how often its handler failed, `losses` how often a delivery was lost. Without `attempts` it is `Queue` that says
     * whether it was delivered. Until its first delivery `delay` is how long that is delayed, and `dueAt` until when, in
     * milliseconds since 1970.
     */
    schema: Schema.TaggedStruct("Event", {
      place: Schema.Number,
      vhost: Schema.String,
      id: Schema.String,
      json: Schema.String,
      origin: Schema.NullOr(Schema.String),
      attempts: Schema.optionalKey(Schema.Number),
      failures: Schema.optionalKey(Schema.Number),
      losses: Schema.optionalKey(Schema.Number),
      delay: Schema.optionalKey(Schema.Number),
      dueAt: Schema.optionalKey(Schema.Number),
      dedupeKey: Schema.optionalKey(Schema.String)
    })
  },
  Queue: {
    key: "vhost",
    /**
     * Events without `attempts` were delivered once up to the place `delivered`, since first deliveries are in the order of places:
     * so most deliveries write nothing. An event that has a delay was not.
     */
    schema: Schema.TaggedStruct("Queue", { vhost: Schema.String, delivered: Schema.Number })
  },
  DeadLetter: {
    key: "id",
    /** As the event; `reason` is that of the last failure, `failedAt` its time, in milliseconds since 1970. */
    schema: Schema.TaggedStruct("DeadLetter", {
      vhost: Schema.String,
      id: Schema.String,
      json: Schema.String,
      origin: Schema.NullOr(Schema.String),
      attempts: Schema.Number,
      reason: Schema.String,
      failedAt: Schema.Number
    })
  }
} as const

/**
 * The name of a kind of entries.
 *
 * @since 0.1.0
 */
export type Kind = keyof typeof kinds

/**
 * An entry of the store.
 *
 * @since 0.1.0
 */
export type Entry = { readonly [K in Kind]: (typeof kinds)[K]["schema"]["Type"] }[Kind]

/**
 * What identifies an entry within its kind and vhost.
 *
 * @since 0.1.0
 */
export type Key = string | number

/**
 * A change of the store.
 *
 * @since 0.1.0
 */
export type Change = Data.TaggedEnum<{
  /** Inserts an entry, or updates the one with the same kind, vhost and key in its position. */
  Put: { readonly entry: Entry }
  /** Deletes an entry, if it exists. Deleting a vhost deletes all its entries. */
  Remove: { readonly kind: Kind; readonly vhost: string; readonly key: Key }
}>

/**
 * Constructors and matchers of `Change`.
 *
 * @since 0.1.0
 */
export const Change = Data.taggedEnum<Change>()

/**
 * The store of a broker.
 *
 * @since 0.1.0
 */
export class Store extends Context.Service<Store, {
  /** All entries, those of a kind in the order in which they were first put, events in that of their places. */
  readonly load: Effect.Effect<ReadonlyArray<Entry>, StoreError>
  /**
   * Whether the store surely has all that earlier brokers have written: their last writes may be missing if the machine has lost
   * its power since then, or if the store is a copy of an earlier moment. The broker then gives its logs new epochs.
   */
  readonly isComplete: boolean
  /** Persists all changes, in order, or none. */
  readonly write: (changes: ReadonlyArray<Change>) => Effect.Effect<void, StoreError>
}>()("kosmonaut/server/store/Store") {}

/**
 * A store cannot be opened, read or written.
 *
 * @since 0.1.0
 */
export class StoreError extends TaggedError.make("kosmonaut/server/store/Store")<StoreError>()("StoreError", {
  /** Where the store is. */
  location: Schema.String,
  /** What is wrong, and what to do. */
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}, ({ detail, location }) => `Cannot use the storage ${location}: ${detail}`) {}

/**
 * A store that stores nothing.
 *
 * @since 0.1.0
 */
export const noop: Store["Service"] = Store.of({
  load: Effect.succeed([]),
  isComplete: true,
  write: () => Effect.void
})

/**
 * `noop` as a layer. The broker knows it, and does not even record its changes.
 *
 * @since 0.1.0
 */
export const layerNoop: Layer.Layer<Store> = Layer.succeed(Store, noop)

const placeOf = (entry: Entry): number => entry._tag === "Event" ? entry.place : 0

/**
 * A store in memory, for tests. The next broker restores from it as long as the layer lives.
 *
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Store> = Layer.sync(Store, () => {
  const entries = new Map<Key, Entry>()
  const remove = ({ key, kind, vhost }: Extract<Change, { _tag: "Remove" }>) => {
    entries.delete(nameOf(kind, vhost, key))
    if (kind !== "Vhost") return
    for (const [name, entry] of entries) if (entry.vhost === vhost) entries.delete(name)
  }
  return Store.of({
    load: Effect.sync(() => [...entries.values()].sort((one, other) => placeOf(one) - placeOf(other))),
    isComplete: true,
    write: (changes) =>
      Effect.sync(() => {
        for (const change of changes) {
          if (change._tag === "Remove") remove(change)
          else entries.set(nameOf(change.entry._tag, change.entry.vhost, keyOf(change.entry)), change.entry)
        }
      })
  })
})

/**
 * The key of an entry within its kind and vhost.
 *
 * @since 0.1.0
 */
export const keyOf = (entry: Entry): Key => {
  const key = entry[kinds[entry._tag].key as keyof Entry] as Key | Redacted.Redacted
  return Redacted.isRedacted(key) ? Redacted.value(key) as string : key
}

/**
 * A name of an entry that no other has.
 *
 * @since 0.1.0
 */
export const nameOf = (kind: Kind, vhost: string, key: Key): Key =>
  kinds[kind].key === "place" ? key : `${kind} ${vhost} ${key}`
