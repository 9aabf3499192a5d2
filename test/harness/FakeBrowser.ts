/**
 * A browser without a socket: it keeps what it is told.
 */
import type { Browser } from "../../src/server/domain/Browser.ts"

export interface FakeBrowser extends Browser {
  /** What it has been told since the last look, parsed. */
  readonly heard: () => ReadonlyArray<unknown>
  /** The code it was closed with. */
  readonly closedWith: () => number | undefined
}

/** Makes a browser; `onSend` is called with every message, before it is kept. */
export const make = (sid: string, onSend?: (message: string) => void, version: 0 | 1 = 0): FakeBrowser => {
  let closedWith: number | undefined
  let messages: Array<unknown> = []
  return {
    sid,
    version,
    sendUnsafe: (message) => {
      onSend?.(message)
      messages.push(JSON.parse(message))
    },
    closeUnsafe: (code) => {
      closedWith = code
    },
    closedWith: () => closedWith,
    heard: () => {
      const heard = messages
      messages = []
      return heard
    }
  }
}
