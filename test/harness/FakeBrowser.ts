/**
 * A browser without a socket, which records what it receives.
 */
import type { Browser } from "../../src/server/domain/Browser.ts"

export interface FakeBrowser extends Browser {
  /** The messages that it has received since the last call, parsed. */
  readonly received: () => ReadonlyArray<unknown>
  /** The code it was closed with. */
  readonly closedWith: () => number | undefined
}

/** Makes a browser; `onSend` is called with every message, before it is recorded. */
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
    received: () => {
      const received = messages
      messages = []
      return received
    }
  }
}
