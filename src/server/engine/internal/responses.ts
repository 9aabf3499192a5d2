/**
 * The last responses on one connection, by the ids of the messages that they respond to. Ids count up from 1, in base 36.
 *
 * They are in a ring, in the order in which the messages arrived. A retry may overtake its first attempt, on another
 * connection: its response is in a map of its own, so that the first attempt is not executed when it arrives late.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { FromServer } from "../../../protocol/Command.ts"
import * as Retry from "../../../protocol/Retry.ts"

/** A request that is being executed, and the retries that wait for its response. */
interface Running {
  readonly _tag: "Running"
  readonly waiting: Deferred.Deferred<FromServer> | undefined
}

/** What is known of a request. */
export type Cached = FromServer | Running

/** The responses of one connection. */
export interface Responses {
  /** When its last request arrived, in the order of the requests of all connections. */
  lastUsed: number
  /** `lastUsed` at the last sweep, and since when, in milliseconds, it has not changed. */
  lastUsedAtSweep: number
  idleSince: number
  /** Whether the connection was evicted: nothing of it is cached any more. */
  isEvicted: boolean
  /** How many entries it takes of the capacity. */
  readonly size: () => number
  /** Whether the next response takes one more entry. */
  readonly grows: () => boolean
  /** A message has arrived, in order, whose response is not cached. */
  readonly skip: (message: string) => void
  /** A message has arrived, in order, and is being executed. */
  readonly add: (message: string, fingerprint: number) => void
  /**
   * A retry has arrived before its first attempt and is being executed. Returns whether it takes one more entry.
   */
  readonly addEarly: (message: string, fingerprint: number) => boolean
  readonly find: (message: string) => Cached | undefined
  /** Whether a cached message was this request. */
  readonly matches: (message: string, fingerprint: number) => boolean
  /** The response to a retry that arrived before its first attempt. */
  readonly findEarly: (message: string) => Cached | undefined
  /** Whether a message that is not cached never arrived. */
  readonly neverArrived: (message: string) => boolean
  readonly replace: (message: string, cached: Cached) => void
  /** A retry is being executed, since the first attempt was cancelled. */
  readonly restart: (message: string) => void
  /** Sets the response to a message, and resumes the retries that wait for it. */
  readonly settle: (message: string, response: FromServer) => void
  /** Removes all responses, and returns how many entries were freed. */
  readonly clear: () => number
}

/** How many responses of a connection are cached, a power of two, and how many characters they may have together. */
const maxResponses = 4096
const maxLength = 1_048_576

/** Makes an empty cache for one connection. `total` counts the characters of the responses of all connections. */
export const make = (total: { length: number }): Responses => {
  let messages: Array<string> = []
  let responses: Array<Cached> = []
  let fingerprints: Array<number> = []
  const early = new Map<string, Cached>()
  const earlyFingerprints = new Map<string, number>()
  // The numbers of the first cached message and of the next one. The slot of a message is its number modulo the size.
  let first = 0
  let next = 0
  let length = 0
  // It is unknown whether this message and those before it arrived, unless they are cached.
  let lost = ""

  const grow = (by: number) => {
    length += by
    total.length += by
  }
  const lose = (message: string, cached: Cached) => {
    if (isAfter(message, lost)) lost = message
    if (cached._tag === "Running" && cached.waiting !== undefined) {
      Deferred.doneUnsafe(cached.waiting, Effect.succeed(unknown))
    }
  }
  const dropFirst = () => {
    const slot = first++ % maxResponses
    lose(messages[slot]!, responses[slot]!)
    grow(-lengthOf(responses[slot]!))
    responses[slot] = running
    messages[slot] = ""
  }
  const dropFirstEarly = () => {
    const [message, cached] = early.entries().next().value!
    early.delete(message)
    earlyFingerprints.delete(message)
    lose(message, cached)
    grow(-lengthOf(cached))
  }
  // From the end, since the message has usually just arrived.
  const slotOf = (message: string): number | undefined => {
    for (let number = next - 1; number >= first; number--) {
      if (messages[number % maxResponses] === message) return number % maxResponses
    }
    return undefined
  }
  const find = (message: string): Cached | undefined => {
    const slot = slotOf(message)
    return slot === undefined ? early.get(message) : responses[slot]
  }
  const replace = (message: string, cached: Cached) => {
    const slot = slotOf(message)
    const before = slot === undefined ? early.get(message) : responses[slot]
    if (before === undefined) return
    if (slot === undefined) early.set(message, cached)
    else responses[slot] = cached
    grow(lengthOf(cached) - lengthOf(before))
    while (length > maxLength) {
      if (first < next) dropFirst()
      else dropFirstEarly()
    }
  }
  return {
    lastUsed: 0,
    lastUsedAtSweep: 0,
    idleSince: 0,
    isEvicted: false,
    size: () => responses.length + early.size,
    grows: () => responses.length < maxResponses,
    skip: (message) => {
      if (lost === "") lost = message
    },
    add: (message, fingerprint) => {
      if (next - first === maxResponses) dropFirst()
      const slot = next++ % maxResponses
      messages[slot] = message
      responses[slot] = running
      fingerprints[slot] = fingerprint
      if (lost === "") lost = message
    },
    addEarly: (message, fingerprint) => {
      early.set(message, running)
      earlyFingerprints.set(message, fingerprint)
      if (early.size <= maxResponses) return true
      dropFirstEarly()
      return false
    },
    find,
    matches: (message, fingerprint) => {
      const slot = slotOf(message)
      return (slot === undefined ? earlyFingerprints.get(message) : fingerprints[slot]) === fingerprint
    },
    findEarly: (message) => early.size === 0 ? undefined : early.get(message),
    neverArrived: (message) => isAfter(message, lost),
    replace,
    restart: (message) => replace(message, running),
    settle: (message, response) => {
      const last = (next - 1) % maxResponses
      // Usually it is the last message that arrived, and no retry waits for it.
      if (messages[last] === message && responses[last] === running && lengthOf(response) === 0) {
        responses[last] = response
        return
      }
      const before = find(message)
      if (before?._tag !== "Running") return
      replace(message, response)
      if (before.waiting !== undefined) Deferred.doneUnsafe(before.waiting, Effect.succeed(response))
    },
    clear: () => {
      const size = responses.length + early.size
      while (early.size > 0) dropFirstEarly()
      while (first < next) dropFirst()
      messages = []
      responses = []
      fingerprints = []
      first = next = 0
      return size
    }
  }
}

/** The response if it cannot be known whether a request was executed. */
export const unknown = FromServer.Failure({ code: Retry.outcomeUnknown })

/** What is cached of a request that was cancelled before it was executed: a retry executes it. */
export const cancelled = FromServer.Failure({ code: Retry.outcomeUnknown })

const isAfter = (one: string, other: string): boolean =>
  one.length === other.length ? one > other : one.length > other.length

const lengthOf = (cached: Cached): number =>
  cached._tag === "Response"
    ? cached.json.length
    : cached._tag === "Failure"
    ? cached.reason?.length ?? 0
    : 0

const running: Running = { _tag: "Running", waiting: undefined }
