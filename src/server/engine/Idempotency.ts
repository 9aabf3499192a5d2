/**
 * The response cache of one vhost: a retried request is not carried out again, and gets the response of the first attempt.
 *
 * Of each connection the last 4096 responses are recorded, and at most 1 MiB of them: when a connection is lost, these are
 * all that were in flight. They are kept for `idempotencyRetention` after its last request, if there is room: all
 * connections together have at most `idempotencyCapacity`, and 64 MiB, and beyond it the connection that was silent for
 * longest loses its responses. Retries of what was forgotten, and of connections that are not known, are refused: it cannot
 * be known whether they were carried out.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { FromServer } from "../../protocol/Command.ts"
import { BadRequestError, type StatusError } from "../../protocol/KosmonautError.ts"
import type * as Repetition from "../../protocol/Repetition.ts"
import * as Answers from "./internal/answers.ts"

/**
 * The answers that one vhost remembers.
 *
 * @since 0.1.0
 */
export interface Idempotency {
  /** What is remembered of the connection of this name. */
  readonly connection: (name: string) => Connection
  /**
   * Gives the recorded response to a retry, an error's as a `Failure`; waits for it while the request is being carried out.
   * A request that never arrived is carried out. Fails with 400 if the key is that of another request, which `print` tells.
   */
  readonly again: (
    name: Repetition.Name,
    print: number,
    carryOut: Effect.Effect<FromServer, StatusError>
  ) => Effect.Effect<FromServer, StatusError>
  /**
   * For how many answers there is room taken, how many were given again, and how many forgotten for want of it, both since
   * the start.
   */
  readonly counters: { readonly kept: number; readonly repeated: number; readonly forgotten: number }
}

/**
 * What is remembered of one connection. Its messages come in the order of their names, which count up from 1 in base 36.
 *
 * @since 0.1.0
 */
export interface Connection {
  /** Whether it is forgotten itself, and another must be asked for. */
  readonly isForgotten: () => boolean
  /** Notes that a request comes whose answer need not be remembered: from now on it is known what comes. */
  readonly meetUnsafe: (message: string) => void
  /**
   * Records that a request arrived, which `print` tells from others. `undefined` if it is to be carried out, anything else
   * is its response already.
   */
  readonly beginUnsafe: (message: string, print: number) => Effect.Effect<FromServer, StatusError> | undefined
  /** Notes what the request that came as this message was answered. */
  readonly endUnsafe: (message: string, exit: Exit.Exit<FromServer, StatusError>) => void
}

/**
 * Whether a message has a name that is worth remembering.
 *
 * @since 0.1.0
 */
export const isName = (message: string): boolean => message !== "" && message.length <= 16

/** How many connections are known; beyond it the half of them that was silent for longest is forgotten. */
const maxConnections = 10_000

/** How many characters the answers of all connections may have together. */
const maxLength = 64 * 1_048_576

/**
 * Makes a vhost's memory, empty.
 *
 * @since 0.1.0
 */
export const make = ({ clock, ...options }: {
  readonly idempotencyCapacity: number
  readonly idempotencyRetention: Duration.Duration
  readonly clock: Clock.Clock
}): Idempotency => {
  const retention = Duration.toMillis(options.idempotencyRetention)
  const connections = new Map<string, Answers.Answers>()
  const total = { length: 0 }
  const counters = { kept: 0, repeated: 0, forgotten: 0 }
  let sequence = 0
  let nextSweep = 0

  const drop = (answers: Answers.Answers) => {
    counters.kept -= answers.clear()
  }
  // Of a connection that is silent the last message is known for longer than its answers: whatever is later never came.
  const sweep = () => {
    const now = Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
    if (now < nextSweep && connections.size < maxConnections) return
    nextSweep = now + Math.min(retention, 1000)
    for (const answers of connections.values()) {
      if (answers.heard !== answers.heardBefore) {
        answers.heardBefore = answers.heard
        answers.silentSince = now
      } else if (now - answers.silentSince >= retention) drop(answers)
    }
    if (connections.size < maxConnections) return
    const bySilence = [...connections].sort(([, one], [, other]) => one.heard - other.heard)
    for (const [name, answers] of bySilence.slice(0, maxConnections / 2)) {
      drop(answers)
      answers.isForgotten = true
      connections.delete(name)
    }
  }
  // Looking through all of them serves many times: who is heard meanwhile is only skipped.
  const bySilence: Array<{ readonly answers: Answers.Answers; readonly heard: number }> = []
  const mostSilent = (): Answers.Answers | undefined => {
    for (let isNew = false;; isNew = true) {
      for (let next = bySilence.pop(); next !== undefined; next = bySilence.pop()) {
        if (next.answers.heard === next.heard && next.answers.size() > 0) return next.answers
      }
      if (isNew) return undefined
      for (const answers of connections.values()) {
        if (answers.size() > 0) bySilence.push({ answers, heard: answers.heard })
      }
      bySilence.sort((one, other) => other.heard - one.heard)
    }
  }
  const makeRoom = () => {
    while (counters.kept > options.idempotencyCapacity || total.length > maxLength) {
      const silent = mostSilent()
      if (silent === undefined) return
      counters.forgotten += silent.size()
      drop(silent)
    }
  }
  const settle = (answers: Answers.Answers, message: string, exit: Exit.Exit<FromServer, StatusError>) => {
    answers.settle(message, answerOf(exit))
    if (total.length > maxLength) makeRoom()
  }

  const answersOf = (name: string): Answers.Answers => {
    const known = connections.get(name)
    if (known !== undefined) return known
    sweep()
    const answers = Answers.make(total)
    connections.set(name, answers)
    return answers
  }

  const recall = (
    answers: Answers.Answers,
    message: string,
    print: number,
    remembered: Answers.Remembered
  ): Effect.Effect<FromServer, BadRequestError> => {
    if (!answers.matches(message, print)) {
      return Effect.fail(new BadRequestError({ detail: "the idempotency key is that of another request" }))
    }
    counters.repeated++
    if (remembered._tag !== "Running") return Effect.succeed(remembered)
    const waiting = remembered.waiting ?? Deferred.makeUnsafe<FromServer>()
    answers.replace(message, { _tag: "Running", waiting })
    return Deferred.await(waiting)
  }

  return {
    connection: (name) => {
      const answers = answersOf(name)
      return {
        isForgotten: () => answers.isForgotten,
        meetUnsafe: answers.meet,
        beginUnsafe: (message, print) => {
          answers.heard = ++sequence
          const late = answers.late(message)
          if (late !== undefined) return recall(answers, message, print, late)
          if (answers.grows() && ++counters.kept > options.idempotencyCapacity) makeRoom()
          answers.add(message, print)
          return undefined
        },
        endUnsafe: (message, exit) => settle(answers, message, exit)
      }
    },
    again: ({ connection, message }, print, carryOut) =>
      Effect.suspend(() => {
        const answers = connections.get(connection)
        const remembered = answers?.find(message)
        if (answers !== undefined && remembered !== undefined) return recall(answers, message, print, remembered)
        if (answers === undefined || !isName(message) || !answers.neverCame(message)) {
          return unknown
        }
        answers.heard = ++sequence
        if (answers.addLate(message, print) && ++counters.kept > options.idempotencyCapacity) makeRoom()
        return Effect.onExit(carryOut, (exit) => {
          settle(answers, message, exit)
          return Effect.void
        })
      }),
    counters
  }
}

const answerOf = (exit: Exit.Exit<FromServer, StatusError>): FromServer =>
  Exit.isSuccess(exit) ? exit.value._tag === "Ok" ? ok : exit.value : Option.match(Exit.findErrorOption(exit), {
    // What was begun and not ended may be half done.
    onNone: () => Answers.unknown,
    onSome: failureOf
  })

/**
 * An error as a response, with its reason if it says more than its code.
 *
 * @since 0.1.0
 */
export const failureOf = (error: StatusError): FromServer =>
  "detail" in error
    ? FromServer.Failure({ code: error.code, reason: error.detail })
    : FromServer.Failure({ code: error.code })

/**
 * The response to a retry if it cannot be known whether the request was carried out.
 *
 * @since 0.1.0
 */
export const unknown: Effect.Effect<FromServer> = Effect.succeed(Answers.unknown)

// One for all, since many are kept.
const ok = FromServer.Ok()
