/**
 * What events are for a program without Schemas: their data as JSON.
 */

import type * as BigDecimal from "effect/BigDecimal"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"
import type * as Event from "../../events/Event.ts"

/**
 * The event of this name on the wire; any event for a name that is not known to the compiler.
 *
 * @since 0.1.0
 */
export type Named<E extends Event.Any, Name extends string> = string extends E["_tag"] ? E
  : Extract<E, { readonly _tag: Name }>

/**
 * The data of an event as JSON.
 *
 * @since 0.1.0
 */
export type Data<E extends Event.Any> = Json<E["payloadSchema"]["Encoded"]>

/**
 * The response of a request as JSON; `null` if it has none.
 *
 * @since 0.1.0
 */
export type Response<E extends Event.Any> = [E["successSchema"]["Encoded"]] extends [void] ? null
  : Json<E["successSchema"]["Encoded"]>

/**
 * Data with what the broker adds: the `channel`, and the `sid` of the browser that sent them, absent if a backend did.
 *
 * @since 0.1.0
 */
export type Received<A> = A & { readonly channel: string; readonly sid?: string }

/**
 * What the name of an event must be in addition to be triggered: a sentence, which no name is, if it is a request.
 *
 * @since 0.1.0
 */
export type Triggerable<E extends Event.Any, Name extends string> = string extends E["_tag"] ? unknown
  : Event.IsRequest<Named<E, Name>> extends true ? "This event is a request: use `request`"
  : unknown

/**
 * The same to be requested: a sentence if it has no response.
 *
 * @since 0.1.0
 */
export type Requestable<E extends Event.Any, Name extends string> = string extends E["_tag"] ? unknown
  : Event.IsRequest<Named<E, Name>> extends true ? unknown
  : "This event has no response: use `trigger`"

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
