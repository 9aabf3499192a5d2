/**
 * Appends to the logs of all vhosts. What was appended in one turn of the event loop, and while the batch before was on its way, is one
 * batch, so that the order of the calls is that of the log.
 *
 * If Redis does not answer, everything that waits fails; an entry that was sent may have a place.
 */

import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { LeaseLostError } from "../../BrokerError.ts"
import { maxEntrySize, SharedLogError } from "../../engine/SharedLog.ts"
import { supervised } from "../../engine/Supervisor.ts"
import type { Nodes } from "../Nodes.ts"
import type { CommandError } from "./link.ts"
import * as LogScripts from "./logScripts.ts"

/** Appends an entry to the log of a vhost with this epoch, and returns its offset. */
export type Append = (vhost: string, epoch: string, entry: string) => Effect.Effect<number, SharedLogError>

/** How many characters may wait. Beyond that appending fails, and what was to be appended surely has no place. */
const maxWaiting = 64 * maxEntrySize

/** How many characters a batch has at most, if it has more than one entry. */
const maxBatch = maxEntrySize

interface Waiting {
  readonly vhost: string
  readonly epoch: string
  readonly entry: string
  readonly resume: (result: Effect.Effect<number, SharedLogError>) => void
}

/** What a failure of Redis means for an entry that was sent. */
export const errorOf = (error: CommandError | LeaseLostError): SharedLogError =>
  new SharedLogError({
    detail: error.message,
    wasAppended: error._tag === "RedisConnectionError" && error.maybeExecuted ? "maybe" : "no",
    isFenced: error._tag === "LeaseLostError"
  })

/** Makes it, until the scope ends. `onOtherEpoch` is called with the vhost of a log that was found to have another epoch. */
export const make = Effect.fnUntraced(function*(
  nodes: Pick<Nodes, "run">,
  onOtherEpoch: (vhost: string, epoch: string) => void
): Effect.fn.Return<Append, never, Scope.Scope> {
  const queue = makeQueue()
  let batches = 0
  const fail = (all: ReadonlyArray<Waiting>, error: SharedLogError) => {
    for (const { resume } of all) resume(Effect.fail(error))
  }
  const settle = (batch: ReadonlyArray<Waiting>, offsets: ReadonlyArray<number>) => {
    for (const [index, { epoch, resume, vhost }] of batch.entries()) {
      const offset = offsets[index]!
      resume(offset > 0 ? Effect.succeed(offset) : Effect.fail(otherEpoch))
      if (offset === 0) onOtherEpoch(vhost, epoch)
    }
  }
  const flush = Effect.suspend(() => {
    const batch = queue.take(maxBatch)
    if (batch.length === 0) return Effect.void
    const args = batch.flatMap(({ entry, epoch, vhost }) => [vhost, epoch, entry])
    return Effect.matchEffect(nodes.run(LogScripts.append, [], [++batches, ...args]), {
      onSuccess: (offsets) => Effect.sync(() => settle(batch, offsets as ReadonlyArray<number>)),
      onFailure: (error) =>
        Effect.sync(() => {
          const failure = errorOf(error)
          fail(batch, failure)
          // The next ones would wait as long again.
          if (error._tag !== "RedisCommandError") fail(queue.take(), notSent(error.message, failure.isFenced))
        })
    }).pipe(Effect.onError(() => Effect.sync(() => fail(batch, inFlight))))
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => fail(queue.take(), notSent("this node has ended"))))
  const flushing = Effect.forever(Effect.andThen(queue.filled, Effect.andThen(Effect.yieldNow, flush)))
  yield* Effect.forkScoped(supervised("What appends to the logs in Redis", flushing))

  return (vhost, epoch, entry) =>
    Effect.callback((resume) => {
      const one = { vhost, epoch, entry, resume }
      if (queue.put(one)) return Effect.sync(() => queue.remove(one))
      resume(Effect.fail(notSent(`more than ${maxWaiting} characters wait for Redis`)))
    })
})

const makeQueue = () => {
  const isFilled = Latch.makeUnsafe(false)
  let waiting: Array<Waiting> = []
  let size = 0
  return {
    /** Waits until there is something. */
    filled: isFilled.await,
    /** `false` if there is too much already. One is always accepted. */
    put: (one: Waiting): boolean => {
      if (size > 0 && size + one.entry.length > maxWaiting) return false
      waiting.push(one)
      size += one.entry.length
      isFilled.openUnsafe()
      return true
    },
    remove: (one: Waiting): void => {
      const index = waiting.indexOf(one)
      if (index < 0) return
      waiting.splice(index, 1)
      size -= one.entry.length
    },
    /** The first ones, at least one if there is one, and otherwise at most so many characters. */
    take: (limit = Infinity): ReadonlyArray<Waiting> => {
      let count = 0
      for (let taken = 0; count < waiting.length; count++) {
        taken += waiting[count]!.entry.length
        if (count > 0 && taken > limit) break
      }
      const batch = waiting.slice(0, count)
      waiting = waiting.slice(count)
      for (const { entry } of batch) size -= entry.length
      if (waiting.length === 0) isFilled.closeUnsafe()
      return batch
    }
  }
}

const notSent = (detail: string, isFenced = false) => new SharedLogError({ detail, wasAppended: "no", isFenced })
const otherEpoch = notSent("it is another log now")
const inFlight = new SharedLogError({
  detail: "nobody reads the answer of Redis",
  wasAppended: "maybe",
  isFenced: false
})
