/**
 * Declares an event: its name, the Schema of its data and, for a request, the Schemas of its response. A declaration only,
 * shared by browsers and backends: nothing here sends or handles.
 *
 * The shape is that of `effect/rpc`'s `Rpc`. Data travel in the canonical JSON form of their Schema, so that dates, options
 * and big integers arrive as what they were. Encoding and decoding never throw.
 *
 * **Example** (An event, and a request with a response)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Event } from "kosmonaut/events"
 *
 * const say = Event.make("say", { payload: { text: Schema.NonEmptyString } })
 * const rename = Event.make("rename", {
 *   payload: { to: Schema.String },
 *   success: Schema.Struct({ name: Schema.String }),
 *   error: Schema.Literals(["taken", "too long"])
 * })
 * ```
 *
 * @since 0.1.0
 */

import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Json from "../protocol/Json.ts"
import type { MessageDecodeError, MessageEncodeError } from "../protocol/KosmonautError.ts"
import * as Codec from "./internal/codec.ts"
import type { Message } from "./Message.ts"

const TypeId = "~kosmonaut/events/Event"

/**
 * A Schema that can describe the data of an event: it needs no services, works synchronously, and its JSON is an object.
 *
 * @since 0.1.0
 */
export type PayloadSchema = Schema.ConstraintCodec<unknown, object>

/**
 * The fields of an event's data; the short form for `Schema.Struct` of them. Without fields nothing travels.
 *
 * @since 0.1.0
 */
export type PayloadFields = { readonly [field: string]: Schema.ConstraintCodec<unknown, unknown> }

/**
 * A Schema that can describe the response of a request, or its error.
 *
 * @since 0.1.0
 */
export type ResponseSchema = Schema.ConstraintCodec<unknown, unknown>

/**
 * An event.
 *
 * @since 0.1.0
 */
export interface Event<
  out Tag extends string,
  out Payload extends PayloadSchema,
  out Success extends ResponseSchema = Schema.Void,
  out Error extends ResponseSchema = Schema.Never
> {
  readonly [TypeId]: Codecs
  /** Its name; in a group its name on the wire, `chat/say`. */
  readonly _tag: Tag
  /** The key of its handler in a Context. */
  readonly key: string
  /** The Schema of its data. */
  readonly payloadSchema: Payload
  /** The Schema of the response, `Schema.Void` for an event that has none. */
  readonly successSchema: Success
  /** The Schema of the error that a request can be answered with, `Schema.Never` for none. */
  readonly errorSchema: Error
  /** The key of its meaning: events with equal keys are queued once, see `make`. */
  readonly primaryKey: ((payload: never) => string) | undefined
  /** The same event with a prefix to its name. */
  readonly prefix: <const Prefix extends string>(prefix: Prefix) => Event<`${Prefix}${Tag}`, Payload, Success, Error>
}

/**
 * Any event.
 *
 * @since 0.1.0
 */
export interface Any extends Event<string, PayloadSchema, ResponseSchema, ResponseSchema> {}

/**
 * The data of an event, as a program has them.
 *
 * @since 0.1.0
 */
export type Payload<E extends Any> = E["payloadSchema"]["Type"]

/**
 * The response of a request.
 *
 * @since 0.1.0
 */
export type Success<E extends Any> = E["successSchema"]["Type"]

/**
 * The error that a request can be answered with.
 *
 * @since 0.1.0
 */
export type Error<E extends Any> = E["errorSchema"]["Type"]

/**
 * The name of an event.
 *
 * @since 0.1.0
 */
export type Tag<E extends Any> = E["_tag"]

/**
 * Events with a prefix to their names.
 *
 * @since 0.1.0
 */
export type Prefixed<E extends Any, Prefix extends string> = E extends
  Event<infer Tag, infer Payload, infer Success, infer Error> ? Event<`${Prefix}${Tag}`, Payload, Success, Error> :
  never

/**
 * The handler of an event, as a Context holds it. A router requires it by this type.
 *
 * @since 0.1.0
 */
export interface Handler<Tag extends string> {
  readonly _: unique symbol
  readonly tag: Tag
}

/**
 * The handlers that events need.
 *
 * @since 0.1.0
 */
export type ToHandler<E extends Any> = E extends Any ? Handler<E["_tag"]> : never

/**
 * The function that handles an event. Its effect's value is the response. An event without a response may fail with
 * anything, a request with its declared error alone.
 *
 * @since 0.1.0
 */
export type ToHandlerFn<E extends Any, R = unknown> = (
  data: Payload<E>,
  message: Message<Payload<E>>
) => Effect.Effect<Success<E>, IsRequest<E> extends true ? Error<E> : unknown, R>

/**
 * Whether an event is a request: it declares a response or an error.
 *
 * @since 0.1.0
 */
export type IsRequest<E extends Any> = [Success<E>, Error<E>] extends [void, never] ? false : true

type ToPayload<P> = P extends PayloadSchema ? P : P extends PayloadFields ? Schema.Struct<P> : never

/**
 * Declares an event. Without a `payload` nothing travels with it. A payload whose JSON is never an object is an error at
 * once: put it into a field.
 *
 * @since 0.1.0
 */
export const make = <
  const Tag extends string,
  P extends PayloadSchema | PayloadFields = {},
  Success extends ResponseSchema = Schema.Void,
  Error extends ResponseSchema = Schema.Never
>(tag: Tag, options: {
  /** The data: fields, or a Schema of an object. */
  readonly payload?: P
  /** The response. An event with a `success` or an `error` is a request. */
  readonly success?: Success
  /** The error that a request can be answered with. */
  readonly error?: Error
  /**
   * Gives events with the same meaning the same key. While one is queued or in flight, another one that is triggered is not queued:
   * of a backend whoever triggers it, of browsers for each user.
   */
  readonly primaryKey?: (payload: ToPayload<P>["Type"]) => string
} = {}): Event<Tag, ToPayload<P>, Success, Error> => {
  const { payload = {}, primaryKey } = options
  // The compiler cannot see that one form becomes the other.
  const payloadSchema = (Schema.isSchema(payload) ? payload : Schema.Struct(payload as PayloadFields)) as ToPayload<P>
  const declared = {
    payloadSchema,
    successSchema: (options.success ?? Schema.Void) as Success,
    errorSchema: (options.error ?? Schema.Never) as Error,
    primaryKey
  }
  return Result.getOrThrow(
    Codec.canBeObject(payloadSchema)
      ? Result.succeed(named(tag, declared))
      : Result.fail(new TypeError(`The payload of the event "${tag}" is not an object in JSON: put it into a field`))
  )
}

/**
 * Encodes an event's data as the JSON text of an object. Fails for data that do not fit its Schema.
 *
 * @since 0.1.0
 */
export const encode = <E extends Any>(event: E, data: Payload<E>): Result.Result<string, MessageEncodeError> =>
  event[TypeId].payload.encode(data)

/**
 * Decodes an event's data. Fails for data that do not fit its Schema. Keys that the Schema does not have, as the `sid` and
 * `channel` that the broker adds, are left out, unless it is a record.
 *
 * @since 0.1.0
 */
export const decode = <E extends Any>(
  event: E,
  data: Json.JsonObject
): Result.Result<Payload<E>, MessageDecodeError> => event[TypeId].payload.decode(data)

/**
 * Whether an event is a request: it declares a response or an error.
 *
 * @since 0.1.0
 */
export const isRequest = ({ errorSchema, successSchema }: Any): boolean =>
  successSchema.ast !== Schema.Void.ast || errorSchema.ast !== Schema.Never.ast

/**
 * Encodes the response of a request as JSON text, `null` if it is `Schema.Void`. Fails for a value that does not fit its
 * Schema.
 *
 * @since 0.1.0
 */
export const encodeSuccess = <E extends Any>(
  event: E,
  value: Success<E>
): Result.Result<string, MessageEncodeError> => event[TypeId].success.encode(value)

/**
 * Decodes the response of a request from parsed JSON.
 *
 * @since 0.1.0
 */
export const decodeSuccess = <E extends Any>(
  event: E,
  json: unknown
): Result.Result<Success<E>, MessageDecodeError> => event[TypeId].success.decode(json)

/**
 * Encodes the declared error of a request as JSON text. Fails for a value that is not one, always if none is declared.
 *
 * @since 0.1.0
 */
export const encodeError = <E extends Any>(event: E, error: unknown): Result.Result<string, MessageEncodeError> =>
  event[TypeId].error.encode(error)

/**
 * Decodes the declared error of a request from parsed JSON.
 *
 * @since 0.1.0
 */
export const decodeError = <E extends Any>(
  event: E,
  json: unknown
): Result.Result<Error<E>, MessageDecodeError> => event[TypeId].error.decode(json)

/** What stays the same whatever an event's name. */
interface Declared<Payload, Success, Error> {
  readonly payloadSchema: Payload
  readonly successSchema: Success
  readonly errorSchema: Error
  readonly primaryKey: ((payload: never) => string) | undefined
}

const named = <
  const Tag extends string,
  Payload extends PayloadSchema,
  Success extends ResponseSchema,
  Error extends ResponseSchema
>(tag: Tag, declared: Declared<Payload, Success, Error>): Event<Tag, Payload, Success, Error> => ({
  [TypeId]: {
    payload: Codec.ofObject(`the data of ${tag}`, declared.payloadSchema),
    success: Codec.lazy(() => Codec.make(`the values of the response to ${tag}`, declared.successSchema)),
    error: Codec.lazy(() => Codec.make(`the values of the error of ${tag}`, declared.errorSchema))
  },
  _tag: tag,
  key: `kosmonaut/events/Event/${tag}`,
  ...declared,
  prefix: (prefix) => named(`${prefix}${tag}`, declared)
})

interface Codecs {
  readonly payload: JsonCodec
  readonly success: JsonCodec
  readonly error: JsonCodec
}

// Values as the text of their JSON, and back from parsed JSON.
interface JsonCodec {
  readonly encode: (value: unknown) => Result.Result<string, MessageEncodeError>
  readonly decode: (json: unknown) => Result.Result<unknown, MessageDecodeError>
}
