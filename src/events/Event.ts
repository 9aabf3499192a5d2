/**
 * One event: its name, and a Schema of its data. A definition only, shared by browsers and backends; nothing here sends or
 * handles.
 *
 * Data travel in the canonical JSON form of their Schema, so that dates, options, big integers and the like arrive as what
 * they were. Reading and writing never throw.
 *
 * @since 0.1.0
 */

import { identity } from "effect/Function"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as Json from "../protocol/Json.ts"
import { MessageDecodeError, MessageEncodeError } from "../protocol/KosmonautError.ts"

const TypeId = "~kosmonaut/events/Event"

/**
 * What can describe the data of an event: a Schema that needs no services, works synchronously, and whose JSON is an
 * object.
 *
 * @since 0.1.0
 */
export type PayloadSchema = Schema.ConstraintCodec<unknown, object>

/**
 * The fields of an event's data, each such a Schema; the short form for `Schema.Struct` of them. Without fields the data
 * are always `{}`.
 *
 * @since 0.1.0
 */
export type PayloadFields = { readonly [field: string]: Schema.ConstraintCodec<unknown, unknown> }

/**
 * An event of a group.
 *
 * @since 0.1.0
 */
export interface Event<
  out Group extends string,
  out Name extends string,
  out Payload extends PayloadSchema
> {
  /** Its JSON codec, made once. */
  readonly [TypeId]: Codec
  /** The group's name, `chat`. */
  readonly group: Group
  /** Its name in the group, `say`. */
  readonly name: Name
  /** Its name on the wire, `chat/say`. */
  readonly wireName: `${Group}/${Name}`
  /** What travels with it. */
  readonly payload: Payload
}

/**
 * Any event.
 *
 * @since 0.1.0
 */
export interface Any extends Event<string, string, PayloadSchema> {}

/**
 * The data of an event, as a program has them.
 *
 * @since 0.1.0
 */
export type Data<E extends Any> = E["payload"]["Type"]

/**
 * What an event's payload was given as, as a Schema.
 *
 * @since 0.1.0
 */
export type ToSchema<Payload> = Payload extends PayloadSchema ? Payload
  : Payload extends PayloadFields ? Schema.Struct<Payload>
  : never

/**
 * Defines an event. `EventGroup.make` does so for all events of a group, checks their names, and is what a program uses.
 * A payload whose JSON cannot be an object is an error at once.
 *
 * @since 0.1.0
 */
export const make = <const Group extends string, const Name extends string, P extends PayloadSchema | PayloadFields>(
  group: Group,
  name: Name,
  payload: P
): Event<Group, Name, ToSchema<P>> => {
  const wireName = `${group}/${name}` as const
  // What the type says of the one form and of the other, the compiler cannot see.
  const schema = (Schema.isSchema(payload) ? payload : Schema.Struct(payload as PayloadFields)) as ToSchema<P>
  return Result.getOrThrow(
    canBeObject(Schema.toEncoded(Schema.toCodecJson(schema)).ast)
      ? Result.succeed({ [TypeId]: codec(wireName, schema), group, name, wireName, payload: schema })
      : Result.fail(new Error(`The payload of the event "${wireName}" is not an object in JSON: put it into a field`))
  )
}

/**
 * Writes an event's data: the JSON text of an object. Fails for data that do not fit its Schema.
 *
 * @since 0.1.0
 */
export const encode = <E extends Any>(event: E, data: Data<E>): Result.Result<string, MessageEncodeError> =>
  event[TypeId].encode(data)

/**
 * Reads an event's data as they came. Fails for those that do not fit its Schema. Fields that the Schema does not have,
 * such as the `sid` and `channel` that the broker adds, are left out; a Schema of a record has all fields.
 *
 * @since 0.1.0
 */
export const decode = <E extends Any>(
  event: E,
  data: Json.JsonObject
): Result.Result<Data<E>, MessageDecodeError> => event[TypeId].decode(data)

interface Codec {
  readonly encode: (data: unknown) => Result.Result<string, MessageEncodeError>
  readonly decode: (data: unknown) => Result.Result<unknown, MessageDecodeError>
}

const codec = (wireName: string, payload: PayloadSchema): Codec => {
  // To a Schema `{}` is anything that is not null, and would pass as it is.
  if (isEmpty(payload.ast)) return { encode: () => Result.succeed("{}"), decode: () => Result.succeed({}) }
  const json = Schema.toCodecJson(payload)
  const encoding = Schema.encodeUnknownResult(json)
  const decoding = Schema.decodeUnknownResult(json)
  const argument = `the data of ${wireName}`
  return {
    encode: (data) =>
      guarded(() => Result.flatMap(encoding(data), Json.stringify)).pipe(
        Result.mapError((cause) => new MessageEncodeError({ argument, detail: "they do not fit its schema", cause })),
        Result.filterOrFail(
          (text) => text.startsWith("{"),
          () => new MessageEncodeError({ argument, detail: "their JSON is not an object" })
        )
      ),
    decode: (data) =>
      Result.mapError(
        guarded(() => decoding(data)),
        (cause) => new MessageDecodeError({ detail: `${argument} do not fit its schema`, cause })
      )
  }
}

// Getters, transformations and deep nesting may throw within a Schema, and one that is not synchronous does.
const guarded = <A>(run: () => Result.Result<A, unknown>): Result.Result<A, unknown> =>
  Result.flatMap(Result.try(run), identity)

const isEmpty = (ast: SchemaAST.AST): boolean =>
  ast._tag === "Objects" && ast.propertySignatures.length === 0 && ast.indexSignatures.length === 0

const canBeObject = (ast: SchemaAST.AST): boolean => {
  switch (ast._tag) {
    case "Objects":
    case "Suspend":
    case "Declaration":
    case "Unknown":
    case "Any":
    case "ObjectKeyword":
      return true
    case "Union":
      return ast.types.some(canBeObject)
    default:
      return false
  }
}
