/**
 * The browsers that are connected to one vhost, by their sid and by the user they have authenticated as.
 *
 * A backend can send an event to one of them, or disconnect it.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Iterable from "effect/Iterable"
import type * as JsonText from "../../protocol/JsonText.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Browser } from "../domain/Browser.ts"
import type { VhostState } from "./internal/vhostState.ts"
import type { Log, Rejections } from "./Log.ts"

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
  ) => Effect.Effect<void, Rejections["SendTo"]>
  /** Disconnects one browser, or all browsers of a user, and returns how many. */
  readonly disconnect: (by: "sid" | "uid", who: string) => Effect.Effect<number>
  /** All that are connected, in the order in which they have. */
  readonly list: () => Iterable<BrowserInfo>
  /** How many are connected. */
  readonly count: () => number
  /** A message of a browser was rejected, because a limit was reached (429). */
  readonly rejectedUnsafe: () => void
  /** How many messages were rejected so, since the start. */
  readonly counters: { readonly rejected: number }
}

/**
 * A connected browser, for an administrator.
 *
 * @since 0.1.0
 */
export interface BrowserInfo {
  readonly browser: Browser
  /** The user that it has authenticated as. */
  readonly uid: string | undefined
  /** How many subscriptions it has. */
  readonly subscriptions: number
}

/**
 * Makes the browsers of a vhost. `emit` gets the lifecycle events of their connections.
 *
 * @since 0.1.0
 */
export const make = (state: VhostState, log: Log, emit: (event: Event) => void): Browsers => {
  const { browsers } = state
  const counters = { rejected: 0 }
  return {
    enterUnsafe: (browser) => {
      browsers.add(browser)
      emit(Lifecycle.browserConnected(browser.sid))
    },
    identifyUnsafe: browsers.identify,
    leaveUnsafe: (browser) => {
      const removed = browsers.remove(browser)
      if (removed !== undefined) emit(Lifecycle.browserDisconnected(browser.sid, removed.uid))
    },
    sendTo: (sid, event, data) => Effect.asVoid(Effect.suspend(() => log.commit({ _tag: "SendTo", sid, event, data }))),
    disconnect: (by, who) =>
      Effect.suspend(() => {
        const { length } = browsers.find(by, who)
        return Effect.as(log.commit({ _tag: "Disconnect", by, who }), length)
      }),
    list: () =>
      Iterable.map(browsers.all(), (browser) => ({
        browser,
        uid: browsers.uidOf(browser),
        subscriptions: state.subscriptions.get(browser)?.channels.size ?? 0
      })),
    count: browsers.size,
    rejectedUnsafe: () => {
      counters.rejected++
    },
    counters
  }
}
