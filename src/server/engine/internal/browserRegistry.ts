/**
 * The browsers that are connected, by their sid and by the user they have authenticated as.
 */

import type { Browser } from "../../domain/Browser.ts"
import type { Permission } from "../../domain/Permission.ts"

/** The connected browsers of one vhost. */
export interface BrowserRegistry {
  readonly add: (browser: Browser) => void
  /**
   * A browser has authenticated, maybe as another user than before, and this is what its token says of the user. Ignored for a
   * browser that is not connected.
   */
  readonly identify: (browser: Browser, uid: string, info?: Permission["info"]) => void
  /** A browser is that of no user any more, until it is identified again. */
  readonly forgetUser: (browser: Browser) => void
  /** Removes a browser, and returns its user; `undefined` if it is not connected. */
  readonly remove: (browser: Browser) => { readonly uid: string | undefined } | undefined
  readonly get: (sid: string) => Browser | undefined
  /** The user that a browser has authenticated as. */
  readonly uidOf: (browser: Browser) => string | undefined
  /** What its token says of that user. */
  readonly infoOf: (browser: Browser) => Permission["info"]
  /** One browser, or all browsers of a user. */
  readonly find: (by: "sid" | "uid", who: string) => ReadonlyArray<Browser>
  /** Those that have authenticated, in this order, and what their tokens say of their users. */
  readonly users: () => Iterable<readonly [Browser, Pick<Permission, "uid" | "info">]>
  readonly size: () => number
  /** How many of them are connected to this node. */
  readonly own: () => number
  /** All of them, in the order in which they were added. */
  readonly all: () => Iterable<Browser>
}

/** Makes an empty registry. */
export const make = (): BrowserRegistry => {
  const browsers = new Map<string, Browser>()
  const users = new Map<Browser, Pick<Permission, "uid" | "info">>()
  const browsersOf = new Map<string, Set<Browser>>()
  let remote = 0

  const removeUser = (browser: Browser): string | undefined => {
    const uid = users.get(browser)?.uid
    if (uid === undefined) return undefined
    users.delete(browser)
    const theirs = browsersOf.get(uid)
    if (theirs?.delete(browser) === true && theirs.size === 0) browsersOf.delete(uid)
    return uid
  }

  return {
    add: (browser) => {
      browsers.set(browser.sid, browser)
      if (browser.isRemote === true) remote++
    },
    identify: (browser, uid, info) => {
      if (!browsers.has(browser.sid)) return
      removeUser(browser)
      users.set(browser, { uid, info })
      const theirs = browsersOf.get(uid)
      if (theirs === undefined) browsersOf.set(uid, new Set([browser]))
      else theirs.add(browser)
    },
    forgetUser: removeUser,
    remove: (browser) => {
      if (!browsers.delete(browser.sid)) return undefined
      if (browser.isRemote === true) remote--
      return { uid: removeUser(browser) }
    },
    get: (sid) => browsers.get(sid),
    uidOf: (browser) => users.get(browser)?.uid,
    infoOf: (browser) => users.get(browser)?.info,
    find: (by, who) => {
      if (by === "uid") return [...browsersOf.get(who) ?? []]
      const browser = browsers.get(who)
      return browser === undefined ? [] : [browser]
    },
    users: () => users,
    size: () => browsers.size,
    own: () => browsers.size - remote,
    all: () => browsers.values()
  }
}
