/**
 * JSON objects as they travel: read without ever throwing, written without ever throwing.
 *
 * @since 0.1.0
 */

import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import { isDeeperThan } from "./JsonScanner.ts"

/**
 * A JSON object. `__proto__` in it is a key like any other; copy objects with `{...spread}`, never `Object.assign`.
 *
 * @since 0.1.0
 */
export type JsonObject = Schema.JsonObject

/**
 * The empty object.
 *
 * @since 0.1.0
 */
export const empty: JsonObject = Object.freeze({})

/**
 * Whether a value that came from JSON is an object, not an array and not null.
 *
 * @since 0.1.0
 */
export const isObject = (value: unknown): value is JsonObject => Predicate.isObject(value)

/**
 * How deeply objects and arrays may be nested in what is read: 256 levels. Whatever was read can then be written again; a
 * deeper value could exceed the stack.
 *
 * @since 0.1.0
 */
export const maxDepth = 256

/**
 * Reads a JSON text. Fails with the parser's error, or for nesting beyond `levels`, default `maxDepth`.
 *
 * @since 0.1.0
 */
export const parse = (text: string, levels: number = maxDepth): Result.Result<unknown, unknown> =>
  isDeeperThan(text, levels)
    ? Result.fail(new Error(`it is nested deeper than ${levels} levels`))
    : Result.try(() => JSON.parse(text) as unknown)

/**
 * Reads a JSON object; anything else, and anything that is not JSON, counts as the empty object. (Source: the original's
 * own suite pins that `BC` with such data is broadcast with empty data.)
 *
 * @since 0.1.0
 */
export const parseObjectOrEmpty = (text: string): JsonObject => {
  const value = Result.getOrUndefined(parse(text))
  return isObject(value) ? value : empty
}

/**
 * Writes a value. Fails for what JSON cannot carry: cycles, big integers, functions, nesting beyond the stack.
 *
 * @since 0.1.0
 */
export const stringify = (value: unknown): Result.Result<string, unknown> => {
  const text = Result.try((): string => JSON.stringify(value))
  // The compiler does not know that there are values without a text.
  return Result.isSuccess(text) && text.success === undefined ? Result.fail(new Error("it has no JSON form")) : text
}

/**
 * The one key of an object that has exactly one key whose value is an object, as every event on the wire must be.
 *
 * @since 0.1.0
 */
export const single = (value: unknown): readonly [name: string, payload: JsonObject] | undefined => {
  if (!isObject(value)) return undefined
  const names = Object.keys(value)
  const payload = names.length === 1 ? value[names[0]!] : undefined
  return isObject(payload) ? [names[0]!, payload] : undefined
}
