/**
 * The last answers on one connection, by the names of the messages that they answer. Names count up, in base 36.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { FromServer } from "../../../protocol/Command.ts"
import * as Repetition from "../../../protocol/Repetition.ts"

/** A request that is being carried out, and who waits for its answer. */
interface Running {
  readonly _tag: "Running"
  readonly waiting: Deferred.Deferred<FromServer> | undefined
}

/** What is known of a request. */
export type Remembered = FromServer | Running

/** The answers of one connection. */
export interface Answers {
  /** When it was last heard, in the order of all requests; and what the last look at it has seen, and when that changed. */
  heard: number
  heardBefore: number
  silentSince: number
  /** Whether the connection is forgotten, so that nothing is remembered of it any more. */
  isForgotten: boolean
  /** For how many there is room taken. */
  readonly size: () => number
  /** Whether the next one takes room. */
  readonly grows: () => boolean
  /** A message has come, in order, whose answer nobody needs to know. */
  readonly meet: (message: string) => void
  /** A message has come, in order: it is being carried out. `print` tells its request from others. */
  readonly add: (message: string, print: number) => void
  /**
   * A message that never came, but was said to have been sent: it is being carried out, and will not be when it comes.
   * Gives whether it takes room.
   */
  readonly addLate: (message: string, print: number) => boolean
  readonly find: (message: string) => Remembered | undefined
  /** Whether a message that is there was this request. */
  readonly matches: (message: string, print: number) => boolean
  /** The answer, if such a message never came but was said to have been sent. */
  readonly late: (message: string) => Remembered | undefined
  /** Whether a message that is not known surely never came. */
  readonly neverCame: (message: string) => boolean
  readonly replace: (message: string, remembered: Remembered) => void
  /** A message was answered: who waits for it hears so. */
  readonly settle: (message: string, answer: FromServer) => void
  /** Forgets all answers, and gives how much room that makes. */
  readonly clear: () => number
}

/** How many answers are kept, a power of two, and how many characters they may have together. */
const maxAnswers = 4096
const maxLength = 1_048_576

/** Makes the answers of one connection, none. `total` counts the characters of those of all connections. */
export const make = (total: { length: number }): Answers => {
  let messages: Array<string> = []
  let answers: Array<Remembered> = []
  let prints: Array<number> = []
  const late = new Map<string, Remembered>()
  const latePrints = new Map<string, number>()
  // The numbers of the first that is kept and of the next; each has its place by its number.
  let first = 0
  let next = 0
  let length = 0
  // Of this message and all before it is not known whether they came, unless they are there.
  let lost = ""

  const grow = (by: number) => {
    length += by
    total.length += by
  }
  const lose = (message: string, remembered: Remembered) => {
    if (isAfter(message, lost)) lost = message
    if (remembered._tag === "Running" && remembered.waiting !== undefined) {
      Deferred.doneUnsafe(remembered.waiting, Effect.succeed(unknown))
    }
  }
  const forgetFirst = () => {
    const place = first++ % maxAnswers
    lose(messages[place]!, answers[place]!)
    grow(-lengthOf(answers[place]!))
    answers[place] = running
    messages[place] = ""
  }
  const forgetFirstLate = () => {
    const [message, remembered] = late.entries().next().value!
    late.delete(message)
    latePrints.delete(message)
    lose(message, remembered)
    grow(-lengthOf(remembered))
  }
  // From behind, since what is looked for has mostly just come.
  const placeOf = (message: string): number | undefined => {
    for (let number = next - 1; number >= first; number--) {
      if (messages[number % maxAnswers] === message) return number % maxAnswers
    }
    return undefined
  }
  const find = (message: string): Remembered | undefined => {
    const place = placeOf(message)
    return place === undefined ? late.get(message) : answers[place]
  }
  const replace = (message: string, remembered: Remembered) => {
    const place = placeOf(message)
    const earlier = place === undefined ? late.get(message) : answers[place]
    if (earlier === undefined) return
    if (place === undefined) late.set(message, remembered)
    else answers[place] = remembered
    grow(lengthOf(remembered) - lengthOf(earlier))
    while (length > maxLength) {
      if (first < next) forgetFirst()
      else forgetFirstLate()
    }
  }
  return {
    heard: 0,
    heardBefore: 0,
    silentSince: 0,
    isForgotten: false,
    size: () => answers.length + late.size,
    grows: () => answers.length < maxAnswers,
    meet: (message) => {
      if (lost === "") lost = message
    },
    add: (message, print) => {
      if (next - first === maxAnswers) forgetFirst()
      const place = next++ % maxAnswers
      messages[place] = message
      answers[place] = running
      prints[place] = print
      if (lost === "") lost = message
    },
    addLate: (message, print) => {
      late.set(message, running)
      latePrints.set(message, print)
      if (late.size <= maxAnswers) return true
      forgetFirstLate()
      return false
    },
    find,
    matches: (message, print) => {
      const place = placeOf(message)
      return (place === undefined ? latePrints.get(message) : prints[place]) === print
    },
    late: (message) => late.size === 0 ? undefined : late.get(message),
    neverCame: (message) => isAfter(message, lost),
    replace,
    settle: (message, answer) => {
      const last = (next - 1) % maxAnswers
      // Mostly it is the last that has come, and nobody has asked for it meanwhile.
      if (messages[last] === message && answers[last] === running && lengthOf(answer) === 0) {
        answers[last] = answer
        return
      }
      const before = find(message)
      if (before?._tag !== "Running") return
      replace(message, answer)
      if (before.waiting !== undefined) Deferred.doneUnsafe(before.waiting, Effect.succeed(answer))
    },
    clear: () => {
      const size = answers.length + late.size
      while (late.size > 0) forgetFirstLate()
      while (first < next) forgetFirst()
      messages = []
      answers = []
      prints = []
      first = next = 0
      return size
    }
  }
}

/** What is answered where it is not known whether a request was carried out. */
export const unknown = FromServer.Failure({ code: Repetition.forgotten })

const isAfter = (one: string, other: string): boolean =>
  one.length === other.length ? one > other : one.length > other.length

const lengthOf = (remembered: Remembered): number =>
  remembered._tag === "Answer"
    ? remembered.json.length
    : remembered._tag === "Failure"
    ? remembered.reason?.length ?? 0
    : 0

const running: Running = { _tag: "Running", waiting: undefined }
