/**
 * A triggered event on its way to a worker: what it is, where it comes from, and which of its deliveries this is.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import * as Json from "./Json.ts"
import { MessageDecodeError } from "./KosmonautError.ts"

/**
 * An event that a browser triggered: a name and an object.
 *
 * @since 0.1.0
 */
export interface Event {
  readonly event: string
  readonly data: Json.JsonObject
}

/**
 * Reads the JSON of a `Trigger`: an object with exactly one key, the event, whose value is an object.
 *
 * @since 0.1.0
 */
export const decodeEvent = (json: string): Result.Result<Event, MessageDecodeError> => {
  const parsed = Json.parse(json)
  if (Result.isFailure(parsed)) {
    return Result.fail(new MessageDecodeError({ detail: "an event is not JSON", cause: parsed.failure }))
  }
  const entry = Json.single(parsed.success)
  return entry === undefined
    ? Result.fail(new MessageDecodeError({ detail: "an event is not an object with one key whose value is an object" }))
    : Result.succeed({ event: entry[0], data: entry[1] })
}

/**
 * Where an event comes from, as the broker knows it; a browser cannot forge any of it.
 *
 * @since 0.1.0
 */
export interface Origin {
  /** The browser that triggered it. */
  readonly sid?: string | undefined
  /** The user that the browser has authenticated as. */
  readonly uid?: string | undefined
  /** The channel, if it came with a broadcast. */
  readonly channel?: string | undefined
  /** The span it belongs to, as W3C trace context has it. */
  readonly traceparent?: string | undefined
  /** If it is a request: in how many milliseconds from now its response is no longer useful. */
  readonly request?: number | undefined
}

/**
 * How long a request waits for its response unless it has a `timeout`, and at most, in milliseconds: 5 seconds and one hour.
 *
 * @since 0.1.0
 */
export const defaultTimeout = 5000

/**
 * See `defaultTimeout`.
 *
 * @since 0.1.0
 */
export const maxTimeout = 3_600_000

/**
 * How long the first delivery of an event may be delayed, in milliseconds: 30 days.
 *
 * @since 0.1.0
 */
export const maxDelay = 2_592_000_000

/**
 * How many characters a `dedupeKey` may have.
 *
 * @since 0.1.0
 */
export const maxDedupeKey = 255

/**
 * Writes an origin.
 *
 * @since 0.1.0
 */
export const encodeOrigin = (origin: Origin): string => JSON.stringify(origin)

/**
 * The origin of a request, with the milliseconds that are left until its deadline.
 *
 * @since 0.1.0
 */
export const withRequest = (origin: string | undefined, left: number): string =>
  origin === undefined || origin === "{}" ? `{"request":${left}}` : `${origin.slice(0, -1)},"request":${left}}`

/**
 * Reads an origin; what cannot be read is absent.
 *
 * @since 0.1.0
 */
export const decodeOrigin = (json: string): Origin => {
  const { channel, request, sid, traceparent, uid } = Json.parseObjectOrEmpty(json)
  return {
    sid: text(sid),
    uid: text(uid),
    channel: text(channel),
    traceparent: text(traceparent),
    request: typeof request === "number" && request >= 0 ? request : undefined
  }
}

/**
 * One delivery of an event to a worker.
 *
 * @since 0.1.0
 */
export interface Delivery {
  /** The id of the event in its vhost, the same for every delivery. */
  readonly id: string
  /** How often it was delivered, this time included. */
  readonly attempt: number
}

const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined
