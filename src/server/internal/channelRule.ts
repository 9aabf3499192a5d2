/**
 * The rules of channels as options: their Schema, and how they are written as text.
 *
 * As JSON a rule is an object whose values may be texts, as those of environment variables: `{"pattern":"room-.*","grace":"10s"}`.
 * In a shell it is one text of words: `room-.* open-on-demand history-count=100 grace=10s`.
 */

import * as Effect from "effect/Effect"
import * as Record from "effect/Record"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Str from "effect/String"
import * as Option from "./option.ts"

const historyFields = {
  /** How many broadcasts are retained, default `history.count`. */
  count: Option.limit.optional,
  /** How many bytes, default `history.size`. */
  size: Option.size.optional,
  /** For how long a broadcast is retained, default `history.age`. */
  age: Option.duration.optional
}

const fields = {
  /**
   * A pattern (RE2) that the whole name of a channel matches. The inboxes of users have the first rule whose pattern has `:user` in
   * it and matches that.
   */
  pattern: Option.someText,
  /**
   * Whether a channel is opened by its first subscriber or retained broadcast, default no: a backend opens it. A channel that
   * was opened like this is closed when it has no subscribers and no history any more.
   */
  openOnDemand: Option.isOn(false),
  /** Whether the last broadcasts are retained for browsers that were away, default no; or how many, and for how long. */
  history: Schema.Union([Schema.Boolean, Schema.Struct(historyFields)]).annotate({
    expected: "true, false or an object with count, size and age"
  }).pipe(
    Schema.withDecodingDefaultType(Effect.succeed(false))
  ),
  /** Whether subscribers may broadcast, default `browsers.broadcast`. */
  browsersBroadcast: Option.isOn.optional,
  /** Whether `presence-` channels have members, default yes. Without, they are as `private-` channels. */
  presence: Option.isOn(true),
  /** How long a member whose connection was lost is not announced as gone, default 3 seconds. */
  grace: Option.duration("3 seconds"),
  /** How many subscribers there may be, default no limit. Beyond it subscribing is rejected, 429. */
  maxSubscribers: Option.limit(Infinity),
  /**
   * Whether only the last broadcast of each event matters, default no. Then a browser that reads too slowly is sent that one,
   * and does not receive the ones before.
   */
  latest: Option.isOn(false)
}

/** What a rule may have. */
export const keys: ReadonlyArray<string> = Object.keys(fields)

/** A rule. */
const schema = Schema.Struct(fields)

/** How many rules a list may have. */
const maxRules = 100

/** A list of rules, default none. As text it is JSON. */
export const list = Schema.Array(schema).pipe(
  Schema.check(Schema.isMaxLength(maxRules, { message: `a list of at most ${maxRules} rules` })),
  Schema.withDecodingDefaultType(Effect.succeed([] as ReadonlyArray<typeof schema.Type>))
).annotate(Option.annotate<ReadonlyArray<typeof schema.Type>>({
  kind: {
    allowed: "a list of rules",
    written: "a JSON array of rules",
    metavar: "<rules>",
    parse: (text) => {
      const value = Result.getOrUndefined(Result.try(() => JSON.parse(text) as unknown))
      return Array.isArray(value) ? value.map(fromJson) as unknown as ReadonlyArray<Rule> : undefined
    },
    format: (rules) => JSON.stringify(rules.map(toJson)),
    isStructured: true
  },
  standard: []
}))

type Rule = typeof schema.Type
type Texts = Readonly<Record<string, unknown>>

// The kinds of the options, by their names.
const kindsOf = (of: Schema.Struct.Fields): ReadonlyMap<string, Option.Kind<unknown>> =>
  new Map(
    Object.entries(of).flatMap(([name, schema]) => {
      const found = Option.annotationOf(schema as Schema.Top)
      return found === undefined ? [] : [[name, found.kind]]
    })
  )

const kinds = kindsOf(fields)
const historyKinds = kindsOf(historyFields)

// A text that is not allowed stays, for the message.
const parsed = (kinds: ReadonlyMap<string, Option.Kind<unknown>>) => (value: unknown, name: string): unknown =>
  typeof value === "string" ? kinds.get(name)?.parse(value) ?? value : value

const isRecord = (value: unknown): value is Texts =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A rule of JSON: its texts are read as those of options are. What is not allowed is left to the Schema. */
export const fromJson = (value: unknown): unknown => {
  if (!isRecord(value)) return value
  const rule = Record.map(value, parsed(kinds))
  const { history } = value
  return isRecord(history) ? { ...rule, history: Record.map(history, parsed(historyKinds)) } : rule
}

/** A rule as JSON that `fromJson` reads. */
export const toJson = ({ history, ...rule }: Rule): Texts => ({
  ...formatted(kinds, rule),
  history: typeof history === "boolean" ? history : formatted(historyKinds, history)
})

// Numbers and truth values stay, except Infinity.
const formatted = (kinds: ReadonlyMap<string, Option.Kind<unknown>>, values: Texts): Texts =>
  Record.map(
    values,
    (value, name) => typeof value === "object" || value === Infinity ? kinds.get(name)?.format(value) : value
  )

// The words of a shell, with what they set.
const words = new Map<
  string,
  { readonly kind: Option.Kind<unknown>; readonly in: "rule" | "history"; readonly name: string }
>()
for (const [name, kind] of kinds) words.set(Str.kebabCase(name), { kind, in: "rule", name })
for (const [name, kind] of historyKinds) words.set(`history-${name}`, { kind, in: "history", name })
words.delete("pattern")
words.set("history", { kind: kinds.get("openOnDemand")!, in: "rule", name: "history" })

/** The words after the pattern. */
export const settingNames: ReadonlyArray<string> = [...words.keys()]

/** Reads the rule of a flag, as the JSON that `fromJson` reads, or says what is wrong with it. */
export const fromText = (text: string): Result.Result<unknown, string> => {
  if (text.trimStart().startsWith("{")) {
    return Result.mapError(Result.try(() => JSON.parse(text) as unknown), () => "it is no JSON")
  }
  const [pattern, ...settings] = text.trim().split(/\s+/)
  const rule: Record<string, unknown> = { pattern }
  const history: Record<string, unknown> = {}
  for (const setting of settings) {
    const [word = "", value = "true"] = setting.split(/=(.*)/s)
    const found = words.get(word)
    if (found === undefined) return Result.fail(`${word} is none of ${settingNames.join(", ")}`)
    if (found.kind.parse(value) === undefined) return Result.fail(`${word} is ${found.kind.written}`)
    if (found.in === "history") history[found.name] = value
    else rule[found.name] = found.name === "history" ? value === "true" : value
  }
  return Result.succeed(Object.keys(history).length === 0 ? rule : { ...rule, history })
}
