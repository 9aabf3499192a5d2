/**
 * A page without a socket: it keeps what it is told.
 */
import type { Page } from "../../src/server/domain/Page.ts"

export interface FakePage extends Page {
  /** What it has been told since the last look, parsed. */
  readonly heard: () => ReadonlyArray<unknown>
  /** The code it was closed with. */
  readonly closedWith: () => number | undefined
}

/** Makes a page; `onSend` is called with every message, before it is kept. */
export const make = (sid: string, onSend?: (message: string) => void, version: 0 | 1 = 0): FakePage => {
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
