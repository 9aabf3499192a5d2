/**
 * The dead letters that several nodes share, and their replay. A dead letter becomes an event in one step of the shared queue, so
 * that none is replayed twice.
 */

import * as Effect from "effect/Effect"
import { InternalError } from "../../../protocol/KosmonautError.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import { QueueFullError } from "../EventQueue.ts"
import type { Replay } from "../Replay.ts"
import { Call, type NumberedLetter, type SharedQueue } from "../SharedQueue.ts"
import { noLifecycleWorker, notQueued } from "./refusal.ts"
import type { SharedEventQueue } from "./sharedQueue.ts"

/** The dead letters, and their replay. */
export interface SharedDeadLetters {
  readonly deadLetters: DeadLetters
  readonly replay: Replay
}

/** Makes both for a node. */
export const make = (shared: SharedQueue, queue: SharedEventQueue): SharedDeadLetters => {
  const after = (cursor: number) => lettersAfter(shared, cursor, [])
  const list = Effect.map(after(0), (all) => all.map(({ letter }) => letter))
  const take = (id: string) =>
    Effect.flatMap(read(shared.deadLetter(id)), (letter) =>
      letter === undefined
        ? Effect.undefined
        : Effect.map(called(queue, Call.Discard({ id })), ({ answer }) => answer === "Done" ? letter : undefined))
  const replay = (id: string) => replayOne(queue, id)
  return {
    deadLetters: {
      add: (letter) => Effect.asVoid(called(queue, Call.AddLetter({ letter }))),
      list,
      take,
      takeAll: Effect.flatMap(list, (letters) =>
        Effect.map(
          Effect.forEach(letters, ({ id }) => take(id), { concurrency: mostAtOnce }),
          (taken) => taken.filter((letter) => letter !== undefined)
        )),
      counters: {
        get count() {
          return queue.status().deadLetters
        },
        get added() {
          return queue.letters.added
        },
        get dropped() {
          return queue.letters.dropped
        }
      }
    },
    replay: {
      replay,
      replayAll: Effect.flatMap(list, (letters) => replayAll(queue, letters.map(({ id }) => id))),
      deadLettersAfter: (cursor) =>
        Effect.map(after(cursor), (all) => all.map(({ cursor, letter }) => ({ cursor, value: letter })))
    }
  }
}

/** How many dead letters are deleted in a turn. */
const mostAtOnce = 100

const read = <A>(effect: Effect.Effect<A, { readonly message: string }>): Effect.Effect<A, InternalError> =>
  Effect.mapError(effect, ({ message }) => new InternalError({ detail: message }))

const called = (queue: SharedEventQueue, call: Parameters<SharedEventQueue["call"]>[0]) =>
  Effect.mapError(queue.call(call), notQueued)

const lettersAfter = (
  shared: SharedQueue,
  cursor: number,
  before: ReadonlyArray<NumberedLetter>
): Effect.Effect<ReadonlyArray<NumberedLetter>, InternalError> =>
  Effect.flatMap(read(shared.deadLettersAfter(cursor)), (part) => {
    const last = part.at(-1)
    return last === undefined ? Effect.succeed(before) : lettersAfter(shared, last.cursor, [...before, ...part])
  })

const replayOne = (queue: SharedEventQueue, id: string): Effect.Effect<boolean, InternalError> =>
  Effect.flatMap(called(queue, Call.Replay({ id })), ({ answer, status }) => {
    switch (answer) {
      case "Queued":
        return Effect.succeed(true)
      case "NoWorker":
        return Effect.fail(noLifecycleWorker)
      case "Full":
        return Effect.fail(notQueued(new QueueFullError(status.lanes.events)))
      default:
        return Effect.succeed(false)
    }
  })

// Those that no worker takes do not hold up the others.
const replayAll = Effect.fnUntraced(function*(queue: SharedEventQueue, ids: ReadonlyArray<string>) {
  let replayed = 0
  // Another node may have replayed or discarded them meanwhile.
  let gone = 0
  for (const id of ids) {
    const { answer } = yield* called(queue, Call.Replay({ id }))
    if (answer === "Queued") replayed++
    if (answer === "None") gone++
    if (answer === "Full") break
  }
  return { replayed, left: ids.length - replayed - gone }
})
