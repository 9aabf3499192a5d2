/**
 * The kinds of options that a broker has. An option is a Schema: its encoded side is what an application writes, its type
 * what the broker uses, and its annotation says how the option is written as text, in environment variables and flags.
 *
 * A size is a number of bytes, as text also `512KiB` or `4MiB`; a duration has its unit, as `25s` or `25 seconds`; what can
 * be without a limit is `Infinity`, as text `unlimited`.
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** How values of an option are described, and written as text. */
export interface Kind<A> {
  /** What is allowed, for error messages. */
  readonly allowed: string
  /** The same, for what is written as text. */
  readonly written: string
  /** Stands for a value in the help of the command line. */
  readonly metavar: string
  /** Reads a text; `undefined` if it is none of this kind. */
  readonly parse: (text: string) => A | undefined
  format(value: A): string
  /** Whether what `parse` gives is checked by the Schema alone, whose message says which part of it is wrong. */
  readonly isStructured?: boolean
}

/** What is known of an option beside its Schema. */
export interface Annotation {
  readonly kind: Kind<unknown>
  /** The default, if there is one. */
  readonly standard?: unknown
}

const annotation = "kosmonaut/server/option"

/** What is known of an option; `undefined` if it is not made by this module, and so cannot be written as text. */
export const annotationOf = (schema: Schema.Top): Annotation | undefined =>
  Schema.resolveAnnotations(schema)?.[annotation] as Annotation | undefined

/** The annotation of an option that is made elsewhere. */
export const annotate = <A>({ kind, standard }: { readonly kind: Kind<A>; readonly standard: A }) => ({
  expected: kind.allowed,
  [annotation]: { kind, standard }
})

const unlimited = "unlimited"

const parseCount = (text: string): number | undefined =>
  text === unlimited ? Infinity : /^\d{1,15}$/.test(text) ? Number(text) : undefined

const formatCount = (value: number): string => value === Infinity ? unlimited : String(value)

const factors: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1_048_576 }

const parseSize = (text: string): number | undefined => {
  const [, digits, unit] = /^(\d{1,12}) ?(KiB|MiB|)$/.exec(text) ?? []
  return digits === undefined ? parseCount(text) : Number(digits) * factors[unit!]!
}

const formatSize = (value: number): string => {
  const unit = value === 0 ? undefined : ["MiB", "KiB"].find((unit) => value % factors[unit]! === 0)
  return unit === undefined ? formatCount(value) : `${value / factors[unit]!}${unit}`
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

const parseDuration = (text: string): Duration.Duration | undefined => {
  if (text === unlimited) return Duration.infinity
  const [, number, unit] = /^(\d{1,12}(?:\.\d{1,3})?) ?(ms|s|m|h)$/.exec(text) ?? []
  return number === undefined
    ? Option.getOrUndefined(Duration.fromInput(text as Duration.Input))
    : Duration.millis(Number(number) * units[unit!]!)
}

const formatDuration = (value: Duration.Duration): string => {
  const millis = Duration.toMillis(value)
  return millis === Infinity ? unlimited : `${millis / 1000}s`
}

// What an application writes, checked by `is`.
const declare = <I>(kind: Kind<unknown>, is: (value: unknown) => value is I) =>
  Schema.declare<I>(is, { expected: kind.allowed, [annotation]: { kind } })

const withDefault = <A, I>(schema: Schema.Codec<A, I>, kind: Kind<A>, standard: A) =>
  schema.pipe(Schema.withDecodingDefaultType(Effect.succeed(standard))).annotate({ [annotation]: { kind, standard } })

// A maker of options with a default; `optional` is the same option without one.
const withOptional = <A, I, Make>(schema: Schema.Codec<A, I>, kind: Kind<A>, make: Make) =>
  Object.assign(make as Make & object, { optional: Schema.optional(schema).annotate({ [annotation]: { kind } }) })

const count: Omit<Kind<number>, "allowed"> = {
  written: "a whole number or unlimited",
  metavar: "<number>",
  parse: parseCount,
  format: formatCount
}

const bytes: Omit<Kind<number>, "allowed"> = {
  written: "a number of bytes, as 4194304, 512KiB or 4MiB, or unlimited",
  metavar: "<bytes>",
  parse: parseSize,
  format: formatSize
}

const makeNumber = (
  allowed: string,
  isAllowed: (value: number) => boolean,
  text: Omit<Kind<number>, "allowed"> = count
) => {
  const kind = { ...text, allowed }
  const schema = declare(kind, (value): value is number => typeof value === "number" && isAllowed(value))
  return withOptional(schema, kind, (value: number) => withDefault(schema, kind, value))
}

/** How many there may be: 0 or more. */
export const limit = makeNumber("a number, 0 or more; Infinity is no limit", (value) => value >= 0)

/** How many bytes there may be: 0 or more. */
export const size = makeNumber("a number of bytes, 0 or more; Infinity is no limit", (value) => value >= 0, bytes)

/** How often something may happen: 1 or more, or without a limit. */
export const times = makeNumber("a number, 1 or more; Infinity is no limit", (value) => value >= 1)

/** How often something may happen, always with a limit. */
export const someTimes = makeNumber("a number, 1 or more", (value) => value >= 1 && value < Infinity)

/** How many a second. */
export const rate = makeNumber("a number above 0; Infinity is no limit", (value) => value > 0)

/** How many bytes a second. */
export const byteRate = makeNumber("a number of bytes above 0; Infinity is no limit", (value) => value > 0, bytes)

/** The largest size of something: 1 byte or more, always with a limit. */
export const largest = makeNumber(
  "a whole number of bytes, 1 or more",
  (value) => Number.isSafeInteger(value) && value > 0,
  bytes
)

const isPort = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 65_535

/** A port to bind. */
export const port = makeNumber(
  "a port, 0 to 65535; 0 picks a free one",
  (value) => isPort(value),
  { ...count, written: "a port, 0 to 65535", metavar: "<port>" }
)

const portOrOffKind: Kind<number | "off"> = {
  allowed: "a port, 0 to 65535; 0 picks a free one; or \"off\"",
  written: "a port, 0 to 65535, or off",
  metavar: "<port>",
  parse: (text) => text === "off" ? text : parseCount(text),
  format: String
}

const portOrOffSchema = declare(portOrOffKind, (value): value is number | "off" => value === "off" || isPort(value))

/** A port to bind, or none. */
export const portOrOff = (value: number | "off") => withDefault(portOrOffSchema, portOrOffKind, value)

const makeDuration = (allowed: string, least: Duration.Duration, most: Duration.Duration) => {
  const kind: Kind<Duration.Duration> = {
    allowed,
    written: "a duration, as 500ms, 25s, 2m or 1h",
    metavar: "<duration>",
    parse: parseDuration,
    format: formatDuration
  }
  const read = (value: unknown) => Number.isNaN(value) ? Option.none() : Duration.fromInput(value as Duration.Input)
  const isDuration = (value: unknown): value is Duration.Input =>
    Option.exists(read(value), (duration) => Duration.between(duration, { minimum: Duration.zero, maximum: most }))
  const schema = declare(kind, isDuration).pipe(
    Schema.decodeTo(
      Schema.Duration,
      SchemaTransformation.transform({
        decode: (input) => Duration.max(Duration.fromInputUnsafe(input), least),
        encode: (duration): Duration.Input => duration
      })
    )
  )
  return withOptional(
    schema,
    kind,
    (value: Duration.Input) => withDefault(schema, kind, Duration.fromInputUnsafe(value))
  )
}

/** How long something lasts. */
export const duration = makeDuration("a duration that is not negative", Duration.zero, Duration.infinity)

/** Over how long something is spread. */
export const span = makeDuration("a duration of at most a day", Duration.zero, Duration.days(1))

/** How often something is done: an interval of 0 would be without a pause, and a long one would be never. */
export const interval = makeDuration("a duration of at most a day", Duration.millis(10), Duration.days(1))

const identity = (text: string): string => text

const textKind: Kind<string> = {
  allowed: "a text that is not empty",
  written: "a text that is not empty",
  metavar: "<text>",
  parse: identity,
  format: identity
}

const isText = (value: unknown): value is string => typeof value === "string"

const textSchema = declare(textKind, (value): value is string => isText(value) && value !== "")

/** A text that is not empty, and must be given. */
export const someText = textSchema.annotate({ [annotation]: { kind: textKind } })

/** A text that is not empty, without a default. */
export const text = Schema.optional(textSchema).annotate({ [annotation]: { kind: textKind } })

/** A text that is not empty, with a default. */
export const textOr = (value: string) => withDefault(textSchema, textKind, value)

const listKind: Kind<ReadonlyArray<string>> = {
  allowed: "a list of texts",
  written: "texts with commas between them",
  metavar: "<text>",
  parse: (text) => text.split(",").map((item) => item.trim()).filter((item) => item !== ""),
  format: (items) => items.join(", ")
}

const listSchema = declare(
  listKind,
  (value): value is ReadonlyArray<string> => Array.isArray(value) && value.every(isText)
)

/** A list of texts; as text with commas between them. */
export const texts = (value: ReadonlyArray<string>) => withDefault(listSchema, listKind, value)

const switchKind: Kind<boolean> = {
  allowed: "true or false",
  written: "true or false",
  metavar: "",
  parse: (text) => text === "true" ? true : text === "false" ? false : undefined,
  format: String
}

const switchSchema = declare(switchKind, (value): value is boolean => typeof value === "boolean")

/** Something that is done or not. */
export const isOn = withOptional(
  switchSchema,
  switchKind,
  (value: boolean) => withDefault(switchSchema, switchKind, value)
)

const tokenSchema = Schema.declare<string | Redacted.Redacted>(
  (value): value is string | Redacted.Redacted => isText(value) || Redacted.isRedacted(value),
  { expected: "a text, or a Redacted one" }
)

const redacted = tokenSchema.pipe(
  Schema.decodeTo(
    Schema.Redacted(Schema.String),
    SchemaTransformation.transform({
      decode: (token) => Redacted.isRedacted(token) ? token : Redacted.make(token),
      encode: (token): string | Redacted.Redacted => token
    })
  )
)

/** A secret, which is redacted from here on. */
export const secret = Schema.optional(redacted)

/** Secrets, which are redacted from here on. */
export const secrets = Schema.optional(Schema.Array(redacted))

/** A group of options. One that is not given has its defaults. */
export const group = <const Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.Struct(fields).pipe(
    Schema.withDecodingDefault(Effect.succeed({} as Schema.Struct<Fields>["Encoded"]))
  )

type Group = ReturnType<typeof group>

/** Whether a Schema is that of a group. */
export const isGroup = (schema: Schema.Top): schema is Group =>
  schema !== undefined && "to" in schema && "fields" in (schema as Group).to
