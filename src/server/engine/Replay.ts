/**
 * Lists a vhost's dead letters, and replays them.
 *
 * A dead letter of a single broker becomes an event in one synchronous step. Dead letters that are replayed together keep their order; if the
 * queue is full, the rest stay dead letters.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"
import type { InternalError } from "../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import type { Listed } from "./Channels.ts"
import type { DeadLetter, LocalDeadLetters } from "./DeadLetters.ts"
import type { Lobby } from "./Lobby.ts"

/**
 * The result of replaying all dead letters.
 *
 * @since 0.1.0
 */
export interface Replayed {
  /** How many were replayed, the oldest. */
  readonly replayed: number
  /**
   * How many were not replayed: those after the first one that found the queue full, and lifecycle events that no worker
   * takes.
   */
  readonly left: number
}

/**
 * The replay of one vhost's dead letters.
 *
 * @since 0.1.0
 */
export interface Replay {
  /** Replays one; `false` if none has this id. */
  readonly replay: (id: string) => Effect.Effect<boolean, InternalError>
  /** Replays all, the oldest first, until the queue is full. */
  readonly replayAll: Effect.Effect<Replayed, InternalError>
  /** Those after a cursor, the oldest first. */
  readonly deadLettersAfter: (cursor: number) => Effect.Effect<Iterable<Listed<DeadLetter>>, InternalError>
}

/**
 * Makes the replay of a vhost's dead letters.
 *
 * @since 0.1.0
 */
export const make = (deadLetters: LocalDeadLetters, lobby: Lobby): Replay => {
  // The list changes between two parts of it, so the cursor of a dead letter is a number assigned when it is first listed.
  const cursors = new WeakMap<DeadLetter, number>()
  let lastCursor = 0

  const cursorOf = (letter: DeadLetter): number => {
    const cursor = cursors.get(letter) ?? ++lastCursor
    cursors.set(letter, cursor)
    return cursor
  }

  const replay = ({ id, json, origin }: DeadLetter) => Effect.andThen(lobby.enqueue(json, origin), deadLetters.take(id))

  return {
    replay: (id) =>
      inOneStep(Effect.gen(function*() {
        const letter = (yield* deadLetters.list).find((letter) => letter.id === id)
        if (letter === undefined) return false
        yield* replay(letter)
        return true
      })),

    replayAll: inOneStep(Effect.gen(function*() {
      const letters = yield* deadLetters.list
      let replayed = 0
      for (const letter of letters) {
        if (yield* Effect.isSuccess(replay(letter))) replayed++
        // A lifecycle event that no worker takes must not hold up the others.
        else if (!Lifecycle.isIn(letter.json)) break
      }
      return { replayed, left: letters.length - replayed }
    })),

    deadLettersAfter: (cursor) =>
      Effect.map(deadLetters.list, (letters) =>
        letters
          .map((value) => ({ cursor: cursorOf(value), value }))
          .filter((listed) => listed.cursor > cursor))
  }
}

// A fiber may yield at any time, and another could then discard or replay the same dead letter.
const inOneStep = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptible(Effect.provideService(effect, Scheduler.PreventSchedulerYield, true))
