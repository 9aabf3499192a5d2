/**
 * A browser's connection as the engine sees it: somebody who can be told things.
 *
 * @since 0.1.0
 */

import type { JsonObject } from "../../protocol/Json.ts"

/**
 * One connection of one browser.
 *
 * @since 0.1.0
 */
export interface Page {
  /** A uuid, the connection's public name. */
  readonly sid: string
  /** Which version of the browsers' protocol it asked for: 1 by `?v=1`, else 0, that of the original. */
  readonly version: 0 | 1
  /** Hands a message to the outbox. Never waits; a page that does not read is disconnected by its endpoint. */
  readonly sendUnsafe: (message: string) => void
  /** Ends the connection with this close code, once what was sent has left. */
  readonly closeUnsafe: (code: number) => void
}

/**
 * A page on a channel.
 *
 * @since 0.1.0
 */
export interface Subscription {
  readonly page: Page
  /** The user, on private and presence channels. */
  readonly uid: string | undefined
  /** A hidden subscriber hears everything and is never announced or listed. */
  readonly hidden: boolean
  /** What the page tells the others of itself. */
  readonly data: JsonObject
}
