/**
 * The authentications of a vhost's browsers that end by themselves, because their tokens were requested so.
 *
 * A browser whose authentication ends is disconnected with a code after which it reconnects with another token. One sweep finds
 * all of them by monotonic time; no browser has a timer of its own.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Browser } from "../domain/Browser.ts"
import * as Heap from "./internal/heap.ts"
import * as Timeline from "./internal/timeline.ts"

/**
 * The authentications that end by themselves.
 *
 * @since 0.1.0
 */
export interface Authentications {
  /** A browser has authenticated until a time in monotonic milliseconds, `undefined` for as long as it is connected. */
  readonly startUnsafe: (browser: Browser, endsAt: number | undefined) => void
  /** A browser has disconnected. */
  readonly removeUnsafe: (browser: Browser) => void
  /** When the next one ends, in monotonic milliseconds; `undefined` if no authentication ends. */
  readonly nextDue: () => number | undefined
  /** Disconnects the browsers whose authentication has ended. It yields in between. */
  readonly sweep: Effect.Effect<void>
}

/**
 * The close code for a browser whose authentication has ended. It may come back with another token. (Codes from 4000 on are
 * for applications; RFC 6455, section 7.4.2.)
 */
const expiredCode = 4501

/** After how many browsers to yield. */
const turn = 256

interface Ending {
  readonly browser: Browser
  readonly endsAt: number
}

/**
 * Makes them. `wake` is called when one ends earlier than all others.
 *
 * @since 0.1.0
 */
export const make = (clock: Clock.Clock, wake: () => void): Authentications => {
  const entries = new Map<Browser, Heap.Entry<Ending>>()
  const byEnd = Heap.make<Ending>((one, other) => one.endsAt < other.endsAt)

  const remove = (browser: Browser) => {
    const entry = entries.get(browser)
    if (entry === undefined) return
    entries.delete(browser)
    byEnd.remove(entry)
  }
  const takeDue = (): Browser | undefined => {
    const next = byEnd.peek()
    if (next === undefined || next.endsAt > Timeline.nowOf(clock)) return undefined
    remove(next.browser)
    return next.browser
  }

  return {
    startUnsafe: (browser, endsAt) => {
      remove(browser)
      if (endsAt === undefined) return
      const entry = Heap.entryOf({ browser, endsAt })
      entries.set(browser, entry)
      byEnd.put(entry)
      if (byEnd.peek() === entry.item) wake()
    },
    removeUnsafe: remove,
    nextDue: () => byEnd.peek()?.endsAt,
    sweep: Effect.gen(function*() {
      for (let count = 1;; count++) {
        const browser = takeDue()
        if (browser === undefined) return
        browser.closeUnsafe(expiredCode, "the authentication has expired")
        if (count % turn === 0) yield* Effect.yieldNow
      }
    })
  }
}
