/**
 * The browsers that are connected to one vhost, by their sid and by the user they have authenticated as.
 *
 * Here a backend reaches one browser: sends it an event, or ends its connection.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import { envelopeSize } from "../../protocol/Frame.ts"
import type * as JsonText from "../../protocol/JsonText.ts"
import { type BadRequestError, BrowserNotFoundError } from "../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import * as PageMessage from "../../protocol/PageMessage.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Page } from "../domain/Page.ts"
import * as MessageSize from "./internal/messageSize.ts"

/**
 * The close code for a browser that a backend disconnects: forbidden, it should not reconnect by itself. (Codes from 4000 on
 * are an application's own; RFC 6455, section 7.4.2.)
 *
 * @since 0.1.0
 */
export const disconnectedCode = 4403

/**
 * The connected browsers of one vhost.
 *
 * @since 0.1.0
 */
export interface Pages {
  /** A browser has connected. */
  readonly enterUnsafe: (page: Page) => void
  /** A browser has authenticated, or has done so as somebody else; ignored for one that has gone. */
  readonly identifyUnsafe: (page: Page, uid: string) => void
  /** A browser has gone. */
  readonly leaveUnsafe: (page: Page) => void
  /**
   * Sends an event to one browser; data may be the text of an object. Fails with 400 if the message would be larger than
   * `maxMessageSize` and 256 bytes.
   */
  readonly sendTo: (
    sid: string,
    event: string,
    data: JsonText.Input
  ) => Effect.Effect<void, BrowserNotFoundError | BadRequestError>
  /** Ends the connections of one browser or of all of a user's, and gives how many those were. */
  readonly disconnect: (by: "sid" | "uid", who: string) => Effect.Effect<number>
  /** How many are connected. */
  readonly count: () => number
}

/**
 * Makes a vhost's register of browsers, empty. `announce` gets the lifecycle events.
 *
 * @since 0.1.0
 */
export const make = (announce: (event: Event) => void, options: { readonly maxMessageSize: number }): Pages => {
  const largest = options.maxMessageSize + envelopeSize
  const pages = new Map<string, Page>()
  const users = new Map<Page, string>()
  const pagesOf = new Map<string, Set<Page>>()

  const forgetUser = (page: Page): string | undefined => {
    const uid = users.get(page)
    if (uid === undefined) return undefined
    users.delete(page)
    const theirs = pagesOf.get(uid)
    if (theirs?.delete(page) === true && theirs.size === 0) pagesOf.delete(uid)
    return uid
  }

  const find = (by: "sid" | "uid", who: string): ReadonlyArray<Page> => {
    if (by === "uid") return [...pagesOf.get(who) ?? []]
    const page = pages.get(who)
    return page === undefined ? [] : [page]
  }

  return {
    enterUnsafe: (page) => {
      pages.set(page.sid, page)
      announce(Lifecycle.browserConnected(page.sid))
    },

    identifyUnsafe: (page, uid) => {
      if (!pages.has(page.sid)) return
      forgetUser(page)
      users.set(page, uid)
      const theirs = pagesOf.get(uid)
      if (theirs === undefined) pagesOf.set(uid, new Set([page]))
      else theirs.add(page)
    },

    leaveUnsafe: (page) => {
      if (!pages.delete(page.sid)) return
      announce(Lifecycle.browserDisconnected(page.sid, forgetUser(page)))
    },

    sendTo: (sid, event, data) =>
      Effect.suspend((): Effect.Effect<void, BrowserNotFoundError | BadRequestError> => {
        const page = pages.get(sid)
        if (page === undefined) return Effect.fail(new BrowserNotFoundError({ sid }))
        const message = PageMessage.direct(event, data)
        if (MessageSize.isLarger(message, largest)) return Effect.fail(MessageSize.tooLarge(largest))
        page.sendUnsafe(message)
        return Effect.void
      }),

    disconnect: (by, who) =>
      Effect.sync(() => {
        const found = find(by, who)
        for (const page of found) {
          page.sendUnsafe(PageMessage.closed(page.sid))
          page.closeUnsafe(disconnectedCode)
        }
        return found.length
      }),

    count: () => pages.size
  }
}
