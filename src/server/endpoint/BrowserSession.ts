/**
 * One browser's session: its authentication, its rate limits, and the handling of its messages.
 *
 * A session has no socket. A message that is invalid or beyond a limit gets the protocol's `:error` and changes nothing.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as BrokerMessage from "../../protocol/BrokerMessage.ts"
import * as BrowserMessage from "../../protocol/BrowserMessage.ts"
import { byteLength } from "../../protocol/Frame.ts"
import type { StatusError, TooManyRequestsError } from "../../protocol/KosmonautError.ts"
import * as EventLoop from "../../transport/EventLoop.ts"
import type { Browser } from "../domain/Browser.ts"
import type { Vhost } from "../engine/Vhosts.ts"
import * as BrowserCalls from "./internal/browserCalls.ts"
import * as BrowserMessages from "./internal/browserMessages.ts"
import * as BrowserRates from "./internal/browserRates.ts"
import { tooMany } from "./internal/sharedErrors.ts"

/**
 * One browser's session.
 *
 * @since 0.1.0
 */
export interface BrowserSession {
  /**
   * Handles one message, or a batch of them in version 1. `false` if the browser wants to be closed. Does nothing after `end`.
   * A browser that keeps exceeding its rates is closed with 1013.
   */
  readonly handle: (message: string | Uint8Array) => Effect.Effect<boolean>
  /** Whether it has authenticated. */
  readonly isAuthenticated: () => boolean
  /**
   * The connection has ended: the browser leaves its channels. If it `mayReturn`, see `mayReturn`, its user stays a member
   * until the grace is over. Safe to repeat, and not interruptible.
   */
  readonly end: (mayReturn: boolean) => Effect.Effect<void>
}

/**
 * Whether a browser whose connection has ended by this close code of its own may come back a moment later: its page is loaded
 * again (1001), the connection is lost (1006), or the broker has not responded in time (4000).
 *
 * @since 0.1.0
 */
export const mayReturn = (code: number): boolean => code === 1001 || code === 1006 || code === 4000

/**
 * Starts a session and sends `:connected`.
 *
 * @since 0.1.0
 */
export const make = (vhost: Vhost, browser: Browser): BrowserSession => {
  const state: BrowserMessages.State = {
    vhost,
    browser,
    permission: undefined,
    origin: "",
    client: undefined,
    caller: undefined,
    guesses: undefined,
    hasEnded: false
  }
  vhost.browsers.enterUnsafe(browser)
  browser.sendUnsafe(BrokerMessage.connected(
    browser.sid,
    browser.version === 0 ? undefined : {
      pingInterval: Duration.toMillis(vhost.config.browsers.pingInterval)
    }
  ))
  const admit = makeAdmission(state)

  return {
    handle: (message) => {
      const handleNow = Effect.suspend(() => {
        if (state.hasEnded) return Effect.succeed(false)
        const batch = browser.version === 0 ? undefined : BrowserMessage.batch(message)
        if (batch === undefined) return handleOne(state, BrowserMessage.read(message))
        return Result.isFailure(batch) ? reject(state, batch.failure) : handleAll(state, batch.success, admit)
      })
      return admit === undefined ? handleNow : admit(sizeOf(message), () => readShort(message), handleNow)
    },
    isAuthenticated: () => state.permission !== undefined,
    end: (mayReturn) =>
      Effect.uninterruptible(Effect.suspend(() => {
        state.hasEnded = true
        BrowserCalls.end(state)
        vhost.authentications.removeUnsafe(browser)
        return vhost.browsers.leave(browser, mayReturn)
      }))
  }
}

/** Handles a message of so many bytes if the rates of its browser allow it, and rejects it if not. */
type Admit = (
  size: number,
  read: () => BrowserMessage.Envelope | undefined,
  handle: Effect.Effect<boolean>
) => Effect.Effect<boolean>

// Without limits nothing is counted.
const makeAdmission = (state: BrowserMessages.State): Admit | undefined => {
  const rates = BrowserRates.make(state.vhost.config)
  let left: BrowserRates.Allowance | undefined
  return rates && ((size, read, handle) =>
    Clock.clockWith((clock) => {
      const now = BrowserMessages.monotonicOf(clock)
      left ??= BrowserRates.allowance(rates, now)
      const reason = BrowserRates.refusal(rates, left, now, size)
      if (reason === undefined) return handle
      if (state.hasEnded) return Effect.succeed(false)
      const mayStay = BrowserRates.mayStay(rates, left, now)
      const rejected = handleBeyond(state, read(), tooMany(reason))
      return mayStay
        ? rejected
        : Effect.tap(rejected, () => Effect.sync(() => state.browser.closeUnsafe(tryAgainLater, reason)))
    }))
}

// The messages of a batch are counted one by one; their bytes were counted with the first.
const handleAll = Effect.fnUntraced(function*(
  state: BrowserMessages.State,
  messages: ReadonlyArray<ReturnType<typeof BrowserMessage.read>>,
  admit: Admit | undefined
) {
  let share: number | undefined
  for (const [index, message] of messages.entries()) {
    // A browser that sends many messages at once yields to the others, also if it sends them as one.
    const isOver = share === undefined ? EventLoop.isOver() : EventLoop.isShareOver(share)
    if (index > 0 && (index % turn === 0 || isOver)) {
      yield* EventLoop.nextLast
      share = EventLoop.shareFromNow()
    }
    if (state.hasEnded) return false
    const handle = Effect.suspend(() => handleOne(state, message))
    const goesOn = yield* admit === undefined || index === 0
      ? handle
      : admit(0, () => Result.getOrUndefined(message), handle)
    if (!goesOn) return false
  }
  return true
})

const handleOne = (
  state: BrowserMessages.State,
  envelope: ReturnType<typeof BrowserMessage.read>
): Effect.Effect<boolean> => {
  if (Result.isFailure(envelope)) return reject(state, envelope.failure)
  const interpreted = BrowserMessage.interpret(envelope.success)
  return Result.isFailure(interpreted)
    ? reject(state, interpreted.failure, envelope.success)
    : Effect.catch(
      BrowserMessages.execute(state, interpreted.success),
      (error) => reject(state, error, envelope.success)
    )
}

// Messages that make less work for the broker always pass.
const handleBeyond = (
  state: BrowserMessages.State,
  envelope: BrowserMessage.Envelope | undefined,
  error: TooManyRequestsError
): Effect.Effect<boolean> =>
  envelope?.name === "unsubscribe" || envelope?.name === "close"
    ? handleOne(state, Result.succeed(envelope))
    : reject(state, error, envelope)

// Only short messages are read beyond the rates.
const readShort = (message: string | Uint8Array): BrowserMessage.Envelope | undefined =>
  message.length > maxShort ? undefined : Result.getOrUndefined(BrowserMessage.read(message))

// The original's `:error` has only a code and its text. The reason is for version 1 and for messages with an id.
const reject = (
  { browser, vhost }: BrowserMessages.State,
  error: StatusError,
  envelope?: BrowserMessage.Envelope
): Effect.Effect<boolean> =>
  Effect.sync(() => {
    const hasReason = browser.version === 1 || envelope?.payload.id !== undefined
    const about = hasReason ? (envelope ? BrowserMessage.aboutOf(envelope) : {}) : undefined
    if (error.code === 429) vhost.browsers.rejectedUnsafe()
    browser.sendUnsafe(BrokerMessage.error(error, about))
    return true
  })

const sizeOf = (message: string | Uint8Array): number =>
  typeof message === "string" ? byteLength(message) : message.length

/** The close code for a browser that may reconnect later. */
const tryAgainLater = 1013

/** How many messages of a batch are handled in one turn of the event loop, unless that ends earlier by time. */
const turn = 64

/** The longest message that is read beyond the rates. */
const maxShort = 1024
