/**
 * Where a broker keeps what is to outlast its process: vhosts and their access tokens, open channels, unused single access
 * tokens, events that are not acknowledged, dead letters.
 *
 * A store knows entries and no rules. It is written to by one broker at a time, in batches: all changes of a batch are kept
 * when `write` has ended, and none of them where it fails. What a broker does not find here it begins without.
 *
 * A broker uses a store where it is provided with one, and keeps all in its memory alone where it is not.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/**
 * The kinds of entries, each with its fields and the name of the one that tells it from others in its vhost. Of its vhost
 * itself there is one.
 *
 * @since 0.1.0
 */
export const kinds = {
  Vhost: {
    key: "vhost",
    /** `vhost` is its path, `token` what its backends authenticate with. */
    schema: Schema.TaggedStruct("Vhost", { vhost: Schema.String, token: Schema.RedactedFromValue(Schema.String) })
  },
  Channel: {
    key: "name",
    schema: Schema.TaggedStruct("Channel", { vhost: Schema.String, name: Schema.String })
  },
  AccessToken: {
    key: "token",
    /** A single access token; `expiresAt` is in milliseconds since 1970. */
    schema: Schema.TaggedStruct("AccessToken", {
      vhost: Schema.String,
      token: Schema.RedactedFromValue(Schema.String),
      uid: Schema.String,
      pattern: Schema.String,
      expiresAt: Schema.Number
    })
  },
  Event: {
    key: "id",
    /**
     * `json` is the text of `{"<event>": {…}}`, `origin` that of its origin, `attempts` how often it was delivered,
     * `failures` how often its handler failed, `losses` how often a delivery ended without a word.
     */
    schema: Schema.TaggedStruct("Event", {
      vhost: Schema.String,
      id: Schema.String,
      json: Schema.String,
      origin: Schema.NullOr(Schema.String),
      attempts: Schema.Number,
      failures: Schema.Number,
      losses: Schema.Number
    })
  },
  DeadLetter: {
    key: "id",
    /** As the event; `reason` is what was said of the last failure, `failedAt` when, in milliseconds since 1970. */
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
 * What is kept of one thing.
 *
 * @since 0.1.0
 */
export type Entry = { readonly [K in Kind]: (typeof kinds)[K]["schema"]["Type"] }[Kind]

/**
 * A change of what is kept.
 *
 * @since 0.1.0
 */
export type Change = Data.TaggedEnum<{
  /** Keeps an entry, in the place of an earlier one with the same kind, vhost and key. */
  Put: { readonly entry: Entry }
  /** Forgets an entry, if it is there. That of a vhost itself has all others of the vhost go with it. */
  Remove: { readonly kind: Kind; readonly vhost: string; readonly key: string }
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
  /** All entries, those of a kind in the order in which they were first put. */
  readonly load: Effect.Effect<ReadonlyArray<Entry>, StoreError>
  /** Keeps all of the changes, in their order, or none. */
  readonly write: (changes: ReadonlyArray<Change>) => Effect.Effect<void, StoreError>
}>()("kosmonaut/server/store/Store") {}

/**
 * A store cannot be opened, read or written.
 *
 * @since 0.1.0
 */
export class StoreError extends Schema.TaggedError<StoreError>("kosmonaut/server/store/Store/StoreError")(
  "StoreError",
  {
    /** Where the store is. */
    place: Schema.String,
    /** What is wrong, and what to do. */
    detail: Schema.String,
    cause: Schema.optional(Schema.Defect())
  }
) {
  override get message(): string {
    return `Cannot use the storage ${this.place}: ${this.detail}`
  }
}

/**
 * A store in the memory of this process. What a broker leaves there the next one finds, as long as the layer lives.
 *
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Store> = Layer.sync(Store, () => {
  const entries = new Map<string, Entry>()
  const remove = ({ key, kind, vhost }: Extract<Change, { _tag: "Remove" }>) => {
    entries.delete(nameOf(kind, vhost, key))
    if (kind !== "Vhost") return
    for (const [name, entry] of entries) if (entry.vhost === vhost) entries.delete(name)
  }
  return Store.of({
    load: Effect.sync(() => [...entries.values()]),
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
 * What tells an entry from the others of its kind and vhost.
 *
 * @since 0.1.0
 */
export const keyOf = (entry: Entry): string => {
  switch (entry._tag) {
    case "Vhost":
      return entry.vhost
    case "Channel":
      return entry.name
    case "AccessToken":
      return Redacted.value(entry.token)
    case "Event":
    case "DeadLetter":
      return entry.id
  }
}

/**
 * A name of an entry that no other has.
 *
 * @since 0.1.0
 */
export const nameOf = (kind: Kind, vhost: string, key: string): string => `${kind} ${vhost} ${key}`
