/**
 * The types of values as they are in JSON, from the types of their Schemas.
 */

import type * as BigDecimal from "effect/BigDecimal"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/**
 * A value as it is in JSON: dates, times, URLs, bytes and large numbers are strings, sets are arrays, and maps are arrays of
 * pairs.
 *
 * @since 0.1.0
 */
export type Json<A> = A extends string | number | boolean | null | undefined ? A
  : A extends Text ? string
  : A extends Duration.Duration ? JsonDuration
  : A extends Option.Option<infer B> ? { readonly _tag: "Some"; readonly value: Json<B> } | { readonly _tag: "None" }
  : A extends ReadonlyMap<infer K, infer V> ? ReadonlyArray<readonly [Json<K>, Json<V>]>
  : A extends ReadonlySet<infer B> ? ReadonlyArray<Json<B>>
  : A extends ReadonlyArray<unknown> ? { readonly [Index in keyof A]: Json<A[Index]> }
  : A extends object ? { readonly [Key in keyof A]: Json<A[Key]> }
  : A

// A URL is not known to every compiler.
type Text = Date | bigint | Uint8Array | DateTime.DateTime | DateTime.TimeZone | BigDecimal.BigDecimal | {
  readonly href: string
  readonly searchParams: object
}

type JsonDuration =
  | { readonly _tag: "Millis"; readonly value: number }
  | { readonly _tag: "Nanos"; readonly value: string }
  | { readonly _tag: "Infinity" | "NegativeInfinity" }
