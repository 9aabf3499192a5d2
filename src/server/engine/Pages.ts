/**
 * The pages that are connected to one vhost, by their sid and by the user they have authenticated as.
 *
 * Here a backend reaches one browser: sends it an event, or ends its connection.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import type { JsonObject } from "../../protocol/Json.ts"
import { BrowserNotFoundError } from "../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import * as PageMessage from "../../protocol/PageMessage.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Page } from "../domain/Page.ts"

/**
 * The close code of a page that a backend has disconnected: forbidden, it should not come back by itself. (Codes from
 * 4000 on are an application's own; RFC 6455, section 7.4.2.)
 *
 * @since 0.1.0
 */
export const disconnectedCode = 4403

/**
 * The connected pages of one vhost.
 *
 * @since 0.1.0
 */
export interface Pages {
  /** A page has connected. */
  readonly enterUnsafe: (page: Page) => void
  /** A page has authenticated, or has done so as somebody else. */
  readonly identifyUnsafe: (page: Page, uid: string) => void
  /** A page has gone. */
  readonly leaveUnsafe: (page: Page) => void
  /** Sends an event to one page; data may be the text of an object. */
  readonly sendTo: (sid: string, event: string, data: JsonObject | string) => Effect.Effect<void, BrowserNotFoundError>
  /** Ends the connections of one page or of a user's pages, and tells how many those were. */
  readonly disconnect: (by: "sid" | "uid", who: string) => Effect.Effect<number>
  /** How many are connected. */
  readonly count: () => number
}

/**
 * Makes a vhost's register of pages, empty. `announce` hears of their coming and going.
 *
 * @since 0.1.0
 */
export const make = (announce: (event: Event) => void): Pages => {
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
      // It may have gone while its token was looked at.
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
      Effect.suspend(() => {
        const page = pages.get(sid)
        if (page === undefined) return Effect.fail(new BrowserNotFoundError({ sid }))
        page.sendUnsafe(PageMessage.direct(event, data))
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
