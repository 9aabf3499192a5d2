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
import type { Hearer } from "../Transport.ts"
import * as Flight from "./flight.ts"

/** The requests in flight on one connection at a time. Their ids count up from 1 in base 36. */
interface PendingRequests {
  /** Notes a request that is about to be sent under the id it gives. */
  readonly addUnsafe: (command: string, hearer: Hearer) => string
  /** Gives a request its answer; one that nobody waits for any more is dropped. */
  readonly answerUnsafe: (id: string, frames: Frames) => void
  /** Fails one that is in flight. */
  readonly failUnsafe: (id: string, error: ConnectionError) => void
  /** Nobody waits for its answer any more. */
  readonly forgetUnsafe: (id: string) => void
  /** Notes that the other side lives. */
  readonly heardUnsafe: () => void
  /** Fails everything that is in flight. */
  readonly failAllUnsafe: (error: ConnectionError) => void
}

interface Pending {
  readonly hearer: Hearer
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
  const pending = Flight.make<Pending>()
  let lastHeard = 0
  let watching = false

  const take = (id: string): Hearer | undefined => pending.take(numberOf(id))?.hearer

  const watch = Effect.gen(function*() {
    for (;;) {
      const now = clock.currentTimeMillisUnsafe()
      const next = pending.first()
      if (next === undefined) break
      const { command, deadline, hearer } = next.value
      if (deadline > now) {
        yield* Effect.sleep(deadline - now)
      } else {
        pending.take(next.number)
        if (lastHeard < deadline - timeout) yield* options.onSilence
        hearer.failed(new RequestTimeoutError({ command, after: options.timeout }))
      }
    }
    watching = false
  })

  const table: PendingRequests = {
    addUnsafe: (command, hearer) => {
      const number = pending.add({ hearer, command, deadline: clock.currentTimeMillisUnsafe() + timeout })
      if (!watching) {
        watching = true
        Fiber.runIn(Effect.runForkWith(services)(watch), scope)
      }
      return number.toString(36)
    },
    answerUnsafe: (id, frames) => take(id)?.answered(frames),
    failUnsafe: (id, error) => take(id)?.failed(error),
    forgetUnsafe: take,
    heardUnsafe: () => {
      lastHeard = clock.currentTimeMillisUnsafe()
    },
    failAllUnsafe: (error) => {
      for (const { hearer } of pending.takeAll()) hearer.failed(error)
    }
  }
  return table
})

// What is no id has no number of one: 0.
const numberOf = (id: string): number => {
  let number = 0
  for (let index = 0; index < id.length; index++) {
    const char = id.charCodeAt(index)
    const digit = char <= 0x39 /* 9 */ ? char - 0x30 : char >= 0x61 /* a */ ? char - 0x57 : -1
    if (digit < 0 || digit > 35) return 0
    number = number * 36 + digit
  }
  return number
}
