/**
 * The browsers that are connected to one vhost, by their sid and by the user they have authenticated as.
 *
 * A backend can send an event to one of them, or disconnect it.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as BrokerMessage from "../../protocol/BrokerMessage.ts"
import { envelopeSize } from "../../protocol/Frame.ts"
import type * as JsonText from "../../protocol/JsonText.ts"
import { type BadRequestError, BrowserNotFoundError } from "../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Browser } from "../domain/Browser.ts"
import * as MessageSize from "./internal/messageSize.ts"

/**
 * The close code for a browser that a backend disconnects. The browser should not reconnect by itself. (Codes from 4000 on are
 * for applications; RFC 6455, section 7.4.2.)
 */
const disconnectedCode = 4403

/**
 * The connected browsers of one vhost.
 *
 * @since 0.1.0
 */
export interface Browsers {
  /** A browser has connected. */
  readonly enterUnsafe: (browser: Browser) => void
  /** A browser has authenticated, maybe as another user than before. Ignored for a browser that has disconnected. */
  readonly identifyUnsafe: (browser: Browser, uid: string) => void
  /** A browser has disconnected. */
  readonly leaveUnsafe: (browser: Browser) => void
  /**
   * Sends an event to one browser; data may be the text of an object. Fails with 400 if the message would be more than 256
   * bytes larger than `maxMessageSize`.
   */
  readonly sendTo: (
    sid: string,
    event: string,
    data: JsonText.Input
  ) => Effect.Effect<void, BrowserNotFoundError | BadRequestError>
  /** Disconnects one browser, or all browsers of a user, and returns how many. */
  readonly disconnect: (by: "sid" | "uid", who: string) => Effect.Effect<number>
  /** How many are connected. */
  readonly count: () => number
  /** A message of a browser was rejected, because a limit was reached (429). */
  readonly rejectedUnsafe: () => void
  /** How many messages were rejected so, since the start. */
  readonly counters: { readonly rejected: number }
}

/**
 * Makes an empty registry of browsers for a vhost. `emit` gets the lifecycle events.
 *
 * @since 0.1.0
 */
export const make = (emit: (event: Event) => void, options: { readonly maxMessageSize: number }): Browsers => {
  const largest = options.maxMessageSize + envelopeSize
  const browsers = new Map<string, Browser>()
  const users = new Map<Browser, string>()
  const browsersOf = new Map<string, Set<Browser>>()
  const counters = { rejected: 0 }

  const removeUser = (browser: Browser): string | undefined => {
    const uid = users.get(browser)
    if (uid === undefined) return undefined
    users.delete(browser)
    const theirs = browsersOf.get(uid)
    if (theirs?.delete(browser) === true && theirs.size === 0) browsersOf.delete(uid)
    return uid
  }

  const find = (by: "sid" | "uid", who: string): ReadonlyArray<Browser> => {
    if (by === "uid") return [...browsersOf.get(who) ?? []]
    const browser = browsers.get(who)
    return browser === undefined ? [] : [browser]
  }

  return {
    enterUnsafe: (browser) => {
      browsers.set(browser.sid, browser)
      emit(Lifecycle.browserConnected(browser.sid))
    },

    identifyUnsafe: (browser, uid) => {
      if (!browsers.has(browser.sid)) return
      removeUser(browser)
      users.set(browser, uid)
      const theirs = browsersOf.get(uid)
      if (theirs === undefined) browsersOf.set(uid, new Set([browser]))
      else theirs.add(browser)
    },

    leaveUnsafe: (browser) => {
      if (!browsers.delete(browser.sid)) return
      emit(Lifecycle.browserDisconnected(browser.sid, removeUser(browser)))
    },

    sendTo: (sid, event, data) =>
      Effect.suspend((): Effect.Effect<void, BrowserNotFoundError | BadRequestError> => {
        const browser = browsers.get(sid)
        if (browser === undefined) return Effect.fail(new BrowserNotFoundError({ sid }))
        const message = BrokerMessage.direct(event, data)
        if (MessageSize.isLarger(message, largest)) return Effect.fail(MessageSize.tooLarge(largest))
        browser.sendUnsafe(message)
        return Effect.void
      }),

    disconnect: (by, who) =>
      Effect.sync(() => {
        const found = find(by, who)
        for (const browser of found) {
          browser.sendUnsafe(BrokerMessage.closed(browser.sid))
          browser.closeUnsafe(disconnectedCode)
        }
        return found.length
      }),

    count: () => browsers.size,

    rejectedUnsafe: () => {
      counters.rejected++
    },
    counters
  }
}
