/**
 * Which channels a user may join: a user id and a pattern over whole channel names, RE2 syntax.
 *
 * RE2 matches in time linear in the name, whatever the pattern. A backtracking engine could be stopped by one pattern from
 * outside.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import { RE2JS } from "re2js"
import type * as JsonText from "../../protocol/JsonText.ts"
import { InternalError } from "../../protocol/KosmonautError.ts"

/**
 * How many characters a pattern and a user id have at most; the id is sent to other browsers.
 *
 * @since 0.1.0
 */
export const maxLength = 1000

/**
 * How large a compiled pattern may be, in instructions of its program: what matching costs, for each character of a name.
 * A pattern without counted repetitions has about as many as characters.
 */
const maxSize = 1100

/** As how many instructions a class of Unicode such as `\pL` counts, each time that it is written: it is a table of hundreds of ranges. */
const classSize = 30

/** How many bytes of memory a compiled pattern takes at most, for each instruction and beside them. */
const instructionBytes = 400
const patternBytes = 2048

/**
 * How many bytes its states may take that were met in matching, for each instruction and beside them. Beyond that they are dropped, and
 * made again: otherwise whoever chooses the names that are matched could fill 8 MiB for each pattern.
 */
const instructionStates = 256
const patternStates = 16_384

/**
 * What a single access token grants.
 *
 * @since 0.1.0
 */
export interface Permission extends Granted {
  readonly uid: string
  /** Whether the pattern matches the whole of `channel`, or the broker subscribes to it. */
  readonly allows: (channel: string) => boolean
}

/**
 * What a permission has beside a user and a pattern; each is absent unless the token was requested with it.
 *
 * @since 0.1.0
 */
export interface Granted {
  /** The channels to which the broker subscribes the browser when it authenticates. */
  readonly channels?: ReadonlyArray<string> | undefined
  /** What the backend says about the user. */
  readonly info?: JsonText.ObjectText | undefined
  /** When it ends, in monotonic milliseconds. */
  readonly expiresAt?: number | undefined
}

/**
 * A compiled pattern. It is the same for every user, and compiling is slow: compile it once.
 *
 * @since 0.1.0
 */
export interface Pattern {
  /** Whether it matches the whole of `channel`. */
  readonly allows: (channel: string) => boolean
  /** How many bytes of memory it takes at most, whatever names are matched. */
  readonly bytes: number
  /** What matching costs at most for each character of a name, in instructions: 0.1 microseconds each. */
  readonly size: number
}

/**
 * Compiles a permission: a user id, a pattern, and what else is `granted`. Fails with the protocol's 597 if either is too long, and as `compile`.
 *
 * @since 0.1.0
 */
export const make = (
  uid: string,
  pattern: string,
  compileIt: (pattern: string) => Result.Result<Pattern, InternalError> = compile,
  granted?: Granted
): Result.Result<Permission, InternalError> =>
  uid.length > maxLength
    ? reject(`a user id has at most ${maxLength} characters`)
    : Result.map(compileIt(pattern), ({ allows }) => ({
      ...granted,
      uid,
      allows: allowing(allows, granted?.channels)
    }))

// One function for all permissions with the same pattern, as most of them grant nothing else.
const allowing = (allows: Pattern["allows"], channels: ReadonlyArray<string> | undefined): Permission["allows"] =>
  channels === undefined ? allows : (channel) => allows(channel) || channels.includes(channel)

/**
 * Compiles a pattern. Fails with the protocol's 597 if it is invalid or too large: it has at most 1000 characters, and 1100
 * instructions once counted repetitions such as `a{100}` are written out. A class of Unicode, `\pL`, counts as 30 more.
 *
 * @since 0.1.0
 */
export const compile = (pattern: string): Result.Result<Pattern, InternalError> => {
  if (pattern.length > maxLength) return reject(`a permission pattern has at most ${maxLength} characters`)
  const classes = classSize * classesIn(pattern)
  // To compile one that is far too large takes a second.
  if (writtenOut(pattern) + classes > maxSize) return reject(tooLarge)
  return Result.flatMap(
    Result.try({
      try: () => RE2JS.compile(pattern),
      catch: (cause) =>
        new InternalError({ detail: `the permission pattern does not compile: ${(cause as Error).message}` })
    }),
    (compiled) => {
      const size = compiled.programSize() + classes
      if (size > maxSize) return reject(tooLarge)
      const bytes = patternBytes + instructionBytes * size + limitStates(compiled, size)
      return Result.succeed({ allows: (channel) => compiled.matches(channel), bytes, size })
    }
  )
}

// Returns how many bytes they may take: none if it is matched without states.
const limitStates = ({ re2Input }: RE2JS, size: number): number => {
  if (re2Input.onepass !== null || re2Input.prefixComplete) return 0
  const limit = patternStates + instructionStates * size
  const { dfa } = re2Input
  dfa.stateBudget = dfa.memBudget = limit
  return limit
}

const reject = (detail: string): Result.Result<never, InternalError> => Result.fail(new InternalError({ detail }))

const tooLarge =
  `the permission pattern is too large: with its counted repetitions it has more than ${maxSize} instructions`

const classesIn = (pattern: string): number => pattern.match(/\\[pP]/g)?.length ?? 0

// About how many characters and classes a pattern has when its counted repetitions are written out. An invalid
// pattern gets some number, too.
const writtenOut = (pattern: string): number => {
  const sums = [0]
  // What a repetition that follows would repeat.
  let last = 0
  const add = (size: number) => {
    last = size
    sums[sums.length - 1]! += size
  }
  for (const { 0: token, groups } of pattern.matchAll(tokens)) {
    if (groups?.["from"] !== undefined) {
      const times = Math.max(1, Number(groups["from"]), Number(groups["to"] ?? 0))
      sums[sums.length - 1]! += last * (times - 1)
      last *= times
    } else if (token === "(") sums.push(0)
    else if (token === ")") add(sums.length > 1 ? sums.pop()! : 0)
    else add(groups?.["text"] === undefined ? 1 : groups["text"].length)
  }
  return sums.reduce((sum, size) => sum + size, 0)
}

// Quoted text, an escape, a class, a counted repetition, or one character.
const tokens =
  /\\Q(?<text>[^]*?)(?:\\E|$)|\\[^]|\[\^?\]?(?:\\[^]|\[:[^\]]*:\]|[^\]\\])*\]|\{(?<from>\d+)(?:,(?<to>\d*))?\}|[^]/g
