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
import * as SizedMap from "../../../protocol/SizedMap.ts"

/** A request that is being executed, and the retries that wait for its response. */
interface Running {
  readonly _tag: "Running"
  readonly waiting: Deferred.Deferred<FromServer> | undefined
}

/** What is known of a request. */
export type Cached = FromServer | Running

/** The responses of one connection. Its fields are private to this module, but for those of its use. */
export interface Responses {
  /** When its last request arrived, in the order of the requests of all connections. */
  lastUsed: number
  /** `lastUsed` at the last sweep, and since when, in milliseconds, it has not changed. */
  lastUsedAtSweep: number
  idleSince: number
  /** Whether the connection was evicted: nothing of it is cached any more. */
  isEvicted: boolean
  messages: Array<string>
  responses: Array<Cached>
  fingerprints: Array<number>
  /** The numbers of the first cached message and of the next one. The slot of a message is its number modulo the size. */
  first: number
  next: number
  /** The number of the first one that may still be executed. */
  running: number
  /** Retries that arrived before their first attempts; `undefined` before the first one. */
  early: SizedMap.SizedMap<Early> | undefined
  /** How many characters its responses have. */
  length: number
  /** It is unknown whether this message and those before it arrived, unless they are cached. */
  lost: string
  /** The characters of the responses of all connections. */
  readonly total: { length: number }
}

interface Early {
  readonly cached: Cached
  readonly fingerprint: number
}

/** How many responses of a connection are cached, a power of two, and how many characters they may have together. */
const maxResponses = 4096
const maxLength = 1_048_576

/** Makes an empty cache for one connection. `total` counts the characters of the responses of all connections. */
export const make = (total: { length: number }): Responses => ({
  lastUsed: 0,
  lastUsedAtSweep: 0,
  idleSince: 0,
  isEvicted: false,
  messages: [],
  responses: [],
  fingerprints: [],
  first: 0,
  next: 0,
  running: 0,
  early: undefined,
  length: 0,
  lost: "",
  total
})

/** How many entries it takes of the capacity. */
export const sizeOf = ({ early, responses }: Responses): number => responses.length + (early?.entries.size ?? 0)

/** Whether the next response takes one more entry. */
export const canGrow = ({ responses }: Responses): boolean => responses.length < maxResponses

/** A message has arrived, in order, whose response is not cached. */
export const skip = (self: Responses, message: string): void => {
  if (self.lost === "") self.lost = message
}

/** A message has arrived, in order, and is being executed. */
export const add = (self: Responses, message: string, fingerprint: number): void => {
  if (self.next - self.first === maxResponses) dropFirst(self)
  const slot = self.next++ % maxResponses
  self.messages[slot] = message
  self.responses[slot] = running
  self.fingerprints[slot] = fingerprint
  if (self.lost === "") self.lost = message
}

/** A retry has arrived before its first attempt and is being executed. Returns whether it takes one more entry. */
export const addEarly = (self: Responses, message: string, fingerprint: number): boolean => {
  const early = self.early ??= SizedMap.make(({ cached }) => lengthOf(cached))
  early.set(message, { cached: running, fingerprint })
  if (early.entries.size <= maxResponses) return true
  dropFirstEarly(self)
  return false
}

/** What is known of a request; `undefined` if it is not cached. */
export const find = (self: Responses, message: string): Cached | undefined => {
  const slot = slotOf(self, message)
  return slot === undefined ? findEarly(self, message) : self.responses[slot]
}

/** The response to a retry that arrived before its first attempt. */
export const findEarly = ({ early }: Responses, message: string): Cached | undefined =>
  early?.entries.get(message)?.cached

/** Whether a cached message was this request. */
export const matches = (self: Responses, message: string, fingerprint: number): boolean => {
  const slot = slotOf(self, message)
  const known = slot === undefined ? self.early?.entries.get(message)?.fingerprint : self.fingerprints[slot]
  return known === fingerprint
}

/** Whether a message that is not cached never arrived. */
export const neverArrived = ({ lost }: Responses, message: string): boolean => isAfter(message, lost)

/** Replaces what is known of a request that is cached. */
export const replace = (self: Responses, message: string, cached: Cached): void => {
  const slot = slotOf(self, message)
  const early = self.early?.entries.get(message)
  if (slot !== undefined) {
    grow(self, lengthOf(cached) - lengthOf(self.responses[slot]!))
    self.responses[slot] = cached
  } else if (early !== undefined) {
    grow(self, lengthOf(cached) - lengthOf(early.cached))
    self.early!.set(message, { ...early, cached })
  }
  while (self.length > maxLength) {
    if (self.first < self.next) dropFirst(self)
    else dropFirstEarly(self)
  }
}

/** A retry is being executed, since the first attempt was cancelled. */
export const restart = (self: Responses, message: string): void => replace(self, message, running)

/** Sets the response to a message, and resumes the retries that wait for it. */
export const settle = (self: Responses, message: string, response: FromServer): void => {
  // Usually it is the last message that arrived, or the first one that is executed, and no retry waits for it.
  const slot = isRunning(self, self.next - 1, message) ? (self.next - 1) % maxResponses : firstRunning(self)
  if (isRunning(self, slot, message) && lengthOf(response) === 0) {
    self.responses[slot] = response
    return
  }
  const before = find(self, message)
  if (before?._tag !== "Running") return
  replace(self, message, response)
  if (before.waiting !== undefined) Deferred.doneUnsafe(before.waiting, Effect.succeed(response))
}

const isRunning = ({ messages, responses }: Responses, number: number, message: string): boolean =>
  messages[number % maxResponses] === message && responses[number % maxResponses] === running

const firstRunning = (self: Responses): number => {
  self.running = Math.max(self.running, self.first)
  while (self.running < self.next && self.responses[self.running % maxResponses] !== running) self.running++
  return self.running % maxResponses
}

/** Removes all responses, and returns how many entries were freed. */
export const clear = (self: Responses): number => {
  const size = sizeOf(self)
  while (dropFirstEarly(self));
  while (self.first < self.next) dropFirst(self)
  self.messages = []
  self.responses = []
  self.fingerprints = []
  self.first = self.next = self.running = 0
  return size
}

const grow = (self: Responses, by: number): void => {
  self.length += by
  self.total.length += by
}

const lose = (self: Responses, message: string, cached: Cached): void => {
  grow(self, -lengthOf(cached))
  if (isAfter(message, self.lost)) self.lost = message
  if (cached._tag === "Running" && cached.waiting !== undefined) {
    Deferred.doneUnsafe(cached.waiting, Effect.succeed(unknown))
  }
}

const dropFirst = (self: Responses): void => {
  const slot = self.first++ % maxResponses
  lose(self, self.messages[slot]!, self.responses[slot]!)
  self.responses[slot] = running
  self.messages[slot] = ""
}

const dropFirstEarly = (self: Responses): boolean => {
  const oldest = self.early?.removeOldest()
  if (oldest !== undefined) lose(self, oldest[0], oldest[1].cached)
  return oldest !== undefined
}

// From the end, since the message has usually just arrived.
const slotOf = ({ first, messages, next }: Responses, message: string): number | undefined => {
  for (let number = next - 1; number >= first; number--) {
    if (messages[number % maxResponses] === message) return number % maxResponses
  }
  return undefined
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
