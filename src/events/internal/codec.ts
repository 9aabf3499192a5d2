/**
 * Encodes and decodes the values of a Schema in its canonical JSON form. Neither throws, whatever the Schema does.
 */

import { identity } from "effect/Function"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as Json from "../../protocol/Json.ts"
import { MessageDecodeError, MessageEncodeError } from "../../protocol/KosmonautError.ts"

/** Values as the text of their JSON, and back from parsed JSON. */
export interface Codec {
  readonly encode: (value: unknown) => Result.Result<string, MessageEncodeError>
  readonly decode: (json: unknown) => Result.Result<unknown, MessageDecodeError>
}

/** The codec of a Schema that works synchronously and needs no services. `what` is what errors call the values. */
export const make = (what: string, schema: Schema.ConstraintCodec<unknown, unknown>): Codec => {
  const json = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownResult(json)
  const decode = Schema.decodeUnknownResult(json)
  return {
    encode: (value) =>
      Result.mapError(
        guarded(() => Result.flatMap(encode(value), Json.stringify)),
        (cause) => new MessageEncodeError({ argument: what, detail: "they do not fit its schema", cause })
      ),
    decode: (value) =>
      Result.mapError(
        guarded(() => decode(value)),
        (cause) => new MessageDecodeError({ detail: `${what} do not fit its schema`, cause })
      )
  }
}

/** The codec of a Schema whose JSON is an object. */
export const ofObject = (what: string, schema: Schema.ConstraintCodec<unknown, object>): Codec => {
  // To a Schema `{}` is anything that is not null, and would pass as it is.
  if (isEmpty(schema.ast)) return { encode: () => Result.succeed("{}"), decode: () => Result.succeed({}) }
  const { decode, encode } = make(what, schema)
  return {
    encode: (value) =>
      Result.filterOrFail(
        encode(value),
        (text) => text.startsWith("{"),
        () => new MessageEncodeError({ argument: what, detail: "their JSON is not an object" })
      ),
    decode
  }
}

/** A codec that is made when it is first used, since most programs use few of them. */
export const lazy = (make: () => Codec): Codec => {
  let made: Codec | undefined
  return {
    encode: (value) => (made ??= make()).encode(value),
    decode: (value) => (made ??= make()).decode(value)
  }
}

// Getters, transformations and deep nesting may throw within a Schema, and one that is not synchronous does.
const guarded = <A>(run: () => Result.Result<A, unknown>): Result.Result<A, unknown> =>
  Result.flatMap(Result.try(run), identity)

const isEmpty = (ast: SchemaAST.AST): boolean =>
  ast._tag === "Objects" && ast.propertySignatures.length === 0 && ast.indexSignatures.length === 0

/** Whether the JSON of a Schema can be an object. */
export const canBeObject = (schema: Schema.ConstraintCodec<unknown, unknown>): boolean =>
  isObject(Schema.toEncoded(Schema.toCodecJson(schema)).ast)

const isObject = (ast: SchemaAST.AST): boolean => {
  switch (ast._tag) {
    case "Objects":
    case "Suspend":
    case "Declaration":
    case "Unknown":
    case "Any":
    case "ObjectKeyword":
      return true
    case "Union":
      return ast.types.some(isObject)
    default:
      return false
  }
}
