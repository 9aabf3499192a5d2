/**
 * Who waits for which answer, and until when.
 *
 * One fiber watches all deadlines, and only while there are any: a timer for each request costs more than the request.
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Frames } from "../../protocol/Frame.ts"
import { type ConnectionError, RequestTimeoutError } from "../../protocol/KosmonautError.ts"

/** What becomes of a request. */
type Answer = Effect.Effect<Frames, ConnectionError | RequestTimeoutError>

/** The requests in flight on one connection at a time. */
interface PendingRequests {
  /** Waits for an answer, after `send` has sent the request under the id it is given. */
  readonly await: (command: string, send: (id: string) => void) => Answer
  /** Gives a request its answer; one that nobody waits for any more is dropped. */
  readonly settleUnsafe: (id: string, answer: Answer) => void
  /** Notes that the other side lives. */
  readonly heardUnsafe: () => void
  /** Fails everything that is in flight. */
  readonly failUnsafe: (error: ConnectionError) => void
}

interface Pending {
  readonly resume: (answer: Answer) => void
  readonly command: string
  readonly deadline: number
}

/** Makes the table. `onSilence` is run before a request times out that nothing at all was heard since. */
export const make = Effect.fnUntraced(function*(options: {
  readonly timeout: Duration.Duration
  readonly onSilence: Effect.Effect<void>
}) {
  const scope = yield* Effect.scope
  const services = yield* Effect.context()
  const clock = yield* Clock.Clock
  const timeout = Duration.toMillis(options.timeout)
  // In the order of their deadlines, since all have the same time.
  const pending = new Map<string, Pending>()
  let lastId = 0
  let lastHeard = 0
  let watching = false

  const take = (id: string): Pending | undefined => {
    const request = pending.get(id)
    pending.delete(id)
    return request
  }

  const watch = Effect.gen(function*() {
    for (;;) {
      const now = clock.currentTimeMillisUnsafe()
      const [id, next] = pending.entries().next().value ?? []
      if (id === undefined || next === undefined) break
      if (next.deadline > now) {
        yield* Effect.sleep(next.deadline - now)
      } else {
        pending.delete(id)
        if (lastHeard < next.deadline - timeout) yield* options.onSilence
        next.resume(Effect.fail(new RequestTimeoutError({ command: next.command, after: options.timeout })))
      }
    }
    watching = false
  })

  const table: PendingRequests = {
    await: (command, send) =>
      Effect.callback((resume) => {
        const id = (++lastId).toString(36)
        pending.set(id, { resume, command, deadline: clock.currentTimeMillisUnsafe() + timeout })
        send(id)
        if (!watching) {
          watching = true
          Fiber.runIn(Effect.runForkWith(services)(watch), scope)
        }
        return Effect.sync(() => take(id))
      }),
    settleUnsafe: (id, answer) => take(id)?.resume(answer),
    heardUnsafe: () => {
      lastHeard = clock.currentTimeMillisUnsafe()
    },
    failUnsafe: (error) => {
      const failed = [...pending.values()]
      pending.clear()
      for (const { resume } of failed) resume(Effect.fail(error))
    }
  }
  return table
})
