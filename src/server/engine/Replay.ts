/**
 * Lists a vhost's dead letters, and replays them.
 *
 * A letter that is replayed becomes one event in the same step: nothing else runs in between. Letters that are replayed
 * together keep their order, and those that find no room stay.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"
import type { InternalError } from "../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import type { Listed } from "./Channels.ts"
import type { DeadLetter, DeadLetters } from "./DeadLetters.ts"
import type { Lobby } from "./Lobby.ts"

/**
 * What came of replaying all dead letters.
 *
 * @since 0.1.0
 */
export interface Replayed {
  /** How many were replayed, the oldest. */
  readonly replayed: number
  /**
   * How many were not. After one that finds no room no other is tried; a lifecycle event that no worker takes stays as well,
   * and does not hold up the others.
   */
  readonly left: number
}

/**
 * The replay of one vhost's dead letters.
 *
 * @since 0.1.0
 */
export interface Replay {
  /** Replays one; `false` if there is none of this id. */
  readonly replay: (id: string) => Effect.Effect<boolean, InternalError>
  /** Replays all, the oldest first, as long as there is room for them. */
  readonly replayAll: Effect.Effect<Replayed>
  /** Those after a cursor, the oldest first. */
  readonly deadLettersAfter: (cursor: number) => Effect.Effect<Iterable<Listed<DeadLetter>>>
}

/**
 * Makes it, for a vhost's dead letters and its lobby.
 *
 * @since 0.1.0
 */
export const make = (deadLetters: DeadLetters, lobby: Lobby): Replay => {
  // Cursors in a list that changes: numbers given in its order when a letter is first listed.
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
        // A lifecycle event waits for a worker of its own kind, and does not hold up the others.
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

// A fiber lets others run after some time, and one of them could discard or replay the same letter.
const inOneStep = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptible(Effect.provideService(effect, Scheduler.PreventSchedulerYield, true))
