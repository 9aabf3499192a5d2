/**
 * How the event queue travels: the arguments of its script, and what the script answers.
 */

import { byteLength } from "../../../../protocol/Frame.ts"
import * as Lifecycle from "../../../../protocol/Lifecycle.ts"
import { type DeadLetter, isUnhandled } from "../../../engine/DeadLetters.ts"
import { type Lane, type LaneInfo, type Outcome, RequestResult } from "../../../engine/EventQueue.ts"
import type {
  Answer,
  Call,
  Claimed,
  NumberedLetter,
  Settled,
  Status,
  Turn,
  TurnResult
} from "../../../engine/SharedQueue.ts"
import { bounded } from "./script.ts"

type Argument = string | number

type Enqueue = Extract<Call, { readonly _tag: "Enqueue" }>

const lanes: ReadonlyArray<Lane> = ["events", "requests", "lifecycle"]

/** The lane of a number. */
const laneNumbers: Readonly<Record<Lane, number>> = { events: 0, requests: 1, lifecycle: 2 }

/** How many characters of a reason are kept. */
const maxReason = 500

/** What the script is given first: what to do, and Redis' time unless there is another one. */
export const head = (what: "turn" | "end", now: number | undefined): ReadonlyArray<Argument> => [
  what,
  now === undefined ? "" : Math.floor(now)
]

/** The arguments of a turn of a node, after its head. */
export const encodeTurn = (self: string, turn: Turn): Array<Argument> => {
  const args: Array<Argument> = [turn.number, turn.responsesSeen, turn.takesResponses ? 1 : 0, turn.isPoll ? 1 : 0]
  for (const what of ["workers", "credits", "idle"] as const) {
    for (const lane of lanes) args.push(bounded(turn.capacity[lane][what]))
  }
  for (const settled of turn.settled) encodeSettled(args, settled)
  for (let index = 0; index < turn.calls.length;) index = encodeCalls(args, self, turn, index)
  return args
}

// Encodes calls from an index on, and returns the next. Those that only enqueue something are one operation.
const encodeCalls = (args: Array<Argument>, self: string, { calls, madeAt }: Turn, index: number): number => {
  const first = calls[index]!
  if (!isPlain(first)) {
    encodeCall(args, self, first, madeAt)
    return index + 1
  }
  const at = args.push("E", 0) - 1
  let next = index
  for (let call: Call | undefined = first; call !== undefined && isPlain(call); call = calls[++next]) {
    args.push(textOf(self, call))
  }
  args[at] = next - index
  return next
}

const isPlain = (call: Call): call is Enqueue =>
  call._tag === "Enqueue" && call.lane === "events" && call.dedupeKey === undefined && call.delay === 0

/** How many events are settled by one operation at most: a command of Redis in a script has no more arguments than 8000. */
const mostAtOnce = 1000

const encodeSettled = (args: Array<Argument>, { numbers, outcome, sizes }: Settled): void => {
  if (outcome._tag === "Acked") {
    for (let from = 0; from < numbers.length; from += mostAtOnce) {
      const part = numbers.slice(from, from + mostAtOnce)
      if (sizes === undefined) args.push("K", part.length, ...part)
      else args.push("A", part.length, sumOf(sizes.slice(from, from + mostAtOnce)), ...part)
    }
    return
  }
  for (const number of numbers) {
    const [operation, ...more] = operationOf(outcome)
    args.push(operation!, number, ...more)
  }
}

const sumOf = (sizes: ReadonlyArray<number>): number => sizes.reduce((sum, size) => sum + size, 0)

const operationOf = (outcome: Exclude<Outcome, { readonly _tag: "Acked" }>): ReadonlyArray<Argument> => {
  switch (outcome._tag) {
    case "Responded":
      return ["P", `${outcome.outcome === "ok" ? "O" : "E"}${outcome.json}`]
    case "Nacked": {
      const { maxAttempts, reason } = outcome
      return ["N", ...reasonOf(reason), bounded(maxAttempts)]
    }
    case "Released":
      return ["R"]
    case "Unsent":
      return ["U"]
    case "Lost":
      return ["L", outcome.isCounted ? 1 : 0]
  }
}

const encodeCall = (args: Array<Argument>, self: string, call: Call, madeAt: Turn["madeAt"]): void => {
  switch (call._tag) {
    case "Enqueue": {
      const { dedupeKey, delay, lane, timeLeft } = call
      const key = dedupeKey === undefined ? "" : keyOf(self, lane, dedupeKey)
      args.push("X", textOf(self, call), delay, timeLeft ?? "", key)
      return
    }
    case "Cancel":
      args.push("C", keyOf(self, call.lane, call.dedupeKey))
      return
    case "Replay":
      args.push("V", call.id)
      return
    case "AddLetter": {
      const { attempts, id, json, origin, reason } = call.letter
      const text = textOf(self, {
        ...plain,
        json,
        origin,
        lane: Lifecycle.isIn(json) ? "lifecycle" : "events"
      })
      args.push("B", id, attempts, ...reasonOf(reason), text)
      return
    }
    case "Discard":
      args.push("T", call.id)
      return
    case "Emit":
      args.push("M", call.epoch, call.events.length)
      for (const { json, number } of call.events) {
        args.push(number, json === "" ? "" : textOf(self, { ...plain, lane: "lifecycle", json, since: madeAt }))
      }
  }
}

const reasonOf = (reason: string): readonly [json: string, isUnhandled: number] => [
  JSON.stringify(reason.slice(0, maxReason)),
  isUnhandled({ reason }) ? 1 : 0
]

const plain = { dedupeKey: undefined, origin: undefined, replyTo: undefined, timeLeft: undefined }

// The keys of requests are those of their node.
const keyOf = (self: string, lane: Lane, dedupeKey: string): string =>
  `${laneNumbers[lane]}${lane === "requests" ? self : ""}:${dedupeKey}`

/** With how many digits a time is written. */
const timeDigits = 13

/**
 * The text of an event: lane and flags, the lengths of its origin (with 1 more if it has one) and key, whom to reply to, since when it can be
 * handled (0 if that is unknown); then origin, key and the event.
 */
export const textOf = (
  self: string,
  call: Pick<Enqueue, "lane" | "json" | "origin" | "dedupeKey" | "timeLeft" | "replyTo" | "since">
): string => {
  const { dedupeKey = "", json, lane, origin, replyTo, since = 0, timeLeft } = call
  const flags = (call.dedupeKey === undefined ? 0 : 1) + (timeLeft === undefined ? 0 : 2)
  const lengths = `${origin === undefined ? 0 : origin.length + 1} ${dedupeKey.length}`
  const to = replyTo === undefined ? "-" : `${self}:${replyTo}`
  // What an event counts does not depend on the time.
  const time = String(Math.round(since)).padStart(timeDigits, "0")
  return `${laneNumbers[lane]}${flags} ${lengths} ${to} ${time}\n${origin ?? ""}${dedupeKey}${json}`
}

interface Text {
  readonly lane: Lane
  readonly flags: number
  readonly origin: string | undefined
  readonly dedupeKey: string
  readonly json: string
  readonly since: number | undefined
}

const parseText = (text: string): Text => {
  const line = text.indexOf("\n")
  const [kind, originLength, keyLength, , time] = text.slice(0, line).split(" ")
  const originEnd = line + Math.max(1, Number(originLength))
  const keyEnd = originEnd + Number(keyLength)
  return {
    lane: lanes[Number(kind![0])]!,
    flags: Number(kind![1]),
    origin: originLength === "0" ? undefined : text.slice(line + 1, originEnd),
    dedupeKey: text.slice(originEnd, keyEnd),
    json: text.slice(keyEnd),
    since: Number(time) || undefined
  }
}

// G: queued, and given to this node at once.
const answers: Readonly<Record<string, Answer>> = {
  Q: "Queued",
  G: "Queued",
  D: "Duplicate",
  N: "NoWorker",
  F: "Full",
  1: "Done",
  0: "None"
}

/** How many words and numbers an answer begins with; lists follow. */
const words = 5
const numbers = 16

/** What the script answers to a turn of a node. */
export const decodeTurn = (self: string, calls: ReadonlyArray<Call>, answer: unknown): TurnResult => {
  const all = answer as ReadonlyArray<never>
  const [done, given, idPrefix, claimed, time] = all as unknown as readonly [string, string, string, string, number]
  let at = words + numbers
  const list = <A>(): ReadonlyArray<A> => all.slice(at + 1, at += 1 + all[at]!)
  const ages = list<number>()
  const claims = claimsOf(idPrefix, claimed, list<string>(), list<number>())
  return {
    answers: calls.length === 0 ? [] : wordsOf(done).map(answerOf),
    claimed: given === "" ? claims : [...givenOf(self, idPrefix, Number(given), calls, done), ...claims],
    responses: list<string>().map(parseResponse),
    status: parseStatus(all.slice(words, words + numbers), ages),
    hasAges: ages.length > 0,
    ended: list<string>(),
    time
  }
}

// Their numbers in one text, their texts, and of those with more than a first attempt the index, the attempt, and how long a response is
// useful.
const claimsOf = (
  idPrefix: string,
  numbers: string,
  texts: ReadonlyArray<string>,
  more: ReadonlyArray<number>
): ReadonlyArray<Claimed> => {
  if (texts.length === 0) return []
  const claimed = numbers.split(" ").map((number, index) => parseClaim(idPrefix, number, texts[index]!))
  for (let index = 0; index < more.length; index += 3) {
    const timeLeft = more[index + 2]!
    Object.assign(claimed[more[index]!]!, { attempts: more[index + 1], timeLeft: timeLeft < 0 ? undefined : timeLeft })
  }
  return claimed
}

const wordsOf = (done: string): ReadonlyArray<string> => done.match(/<\d+>|./g)!

// Those of its own calls that the node has at once: they have numbers from the first one on.
const givenOf = (
  self: string,
  idPrefix: string,
  first: number,
  calls: ReadonlyArray<Call>,
  done: string
): ReadonlyArray<Claimed> => {
  const words = wordsOf(done)
  return calls.filter((_, index) => words[index] === "G").map((call, index) =>
    parseClaim(idPrefix, String(first + index), textOf(self, call as Enqueue))
  )
}

const answerOf = (word: string): Answer => word[0] === "<" ? Number(word.slice(1, -1)) : answers[word]!

const parseClaim = (idPrefix: string, number: string, text: string): Claimed => {
  const { dedupeKey, flags, json, lane, origin, since } = parseText(text)
  return {
    id: `${idPrefix}-${number}`,
    number: Number(number),
    lane,
    json,
    origin,
    dedupeKey: flags % 2 === 1 ? dedupeKey : undefined,
    attempts: 1,
    timeLeft: undefined,
    since,
    size: lane === "events" && flags === 0 ? byteLength(text) : undefined
  }
}

// To whom, a letter for how it ended, and a JSON text.
const parseResponse = (text: string): TurnResult["responses"][number] => {
  const space = text.indexOf(" ")
  const json = text.slice(space + 2)
  const result = text[space + 1] === "F"
    ? RequestResult.Failed({ reason: JSON.parse(json) as string })
    : RequestResult.Responded({ outcome: text[space + 1] === "O" ? "ok" : "error", json })
  return { to: text.slice(0, space), result }
}

const parseStatus = (numbers: ReadonlyArray<number>, ages: ReadonlyArray<number>): Status => {
  const [deadLetters, dueIn, isAttended, dropped, redelivered, lettersAdded, lettersDropped, ...rest] = numbers
  const laneOf = (lane: Lane): LaneInfo & { readonly workers: number } => {
    const index = laneNumbers[lane] * 3
    const age = ages[laneNumbers[lane]]
    return {
      queued: rest[index]!,
      unacked: rest[index + 1]!,
      workers: rest[index + 2]!,
      oldestAge: age === undefined || age < 0 ? undefined : age
    }
  }
  return {
    lanes: { events: laneOf("events"), requests: laneOf("requests"), lifecycle: laneOf("lifecycle") },
    deadLetters: deadLetters!,
    dueIn: dueIn! < 0 ? undefined : dueIn,
    isAttended: isAttended === 1,
    dropped: dropped!,
    redelivered: redelivered!,
    lettersAdded: lettersAdded!,
    lettersDropped: lettersDropped!
  }
}

/** A dead letter as it is stored: its size, attempts and time, then its reason, and in the next line its event. */
export const parseLetter = (id: string, text: string): DeadLetter => {
  const line = text.indexOf("\n")
  const [, attempts, failedAt] = text.split(" ", 3)
  const reason = text.slice(text.indexOf("\""), line)
  const { json, origin } = parseText(text.slice(line + 1))
  return {
    id,
    json,
    origin,
    attempts: Number(attempts),
    reason: JSON.parse(reason) as string,
    failedAt: Number(failedAt)
  }
}

/** The ids of dead letters with their cursors, as `ZRANGE … WITHSCORES` has them, and the texts of those that are still there. */
export const parseLetters = (
  ids: ReadonlyArray<string>,
  texts: ReadonlyArray<string | null>
): ReadonlyArray<NumberedLetter> =>
  texts.flatMap((text, index) => {
    const id = ids[2 * index]!
    return text === null ? [] : [{ cursor: Number(ids[2 * index + 1]), letter: parseLetter(id, text) }]
  })
