/**
 * One WebSocket: opened, listened to and closed. It never throws.
 */

import * as Result from "effect/Result"
import type * as Socket from "effect/socket/Socket"

/** How a WebSocket is made. */
export type Constructor = Socket.WebSocketConstructor["Service"]

/** What happens to it. Nothing of this happens after `close`. */
export interface Listener {
  /** A message; `undefined` if it was not text. */
  readonly onMessage: (text: string | undefined) => void
  /** It could not be opened, or has ended. Called once. */
  readonly onClosed: (code: number, reason: string) => void
}

/** An open or opening WebSocket. */
export interface Connection {
  readonly sendUnsafe: (text: string) => void
  readonly closeUnsafe: (code: number) => void
}

/** Opens one. Fails if the constructor does not take the URL. */
export const open = (
  construct: Constructor,
  url: string,
  { onClosed, onMessage }: Listener
): Result.Result<Connection, unknown> =>
  Result.try(() => {
    const socket = construct(url)
    let isOver = false
    socket.addEventListener("message", ({ data }) => {
      if (!isOver) onMessage(typeof data === "string" ? data : undefined)
    })
    socket.addEventListener("close", ({ code = 1006, reason = "" }) => {
      if (isOver) return
      isOver = true
      onClosed(code, reason)
    })
    // A close follows. Without a listener some implementations throw.
    socket.addEventListener("error", () => {})
    return {
      // One that is closing does not take it, and its end is on the way.
      sendUnsafe: (text) => void Result.try(() => socket.send(text)),
      closeUnsafe: (code) => {
        isOver = true
        Result.try(() => socket.close(code))
      }
    }
  })

/** The URL of a vhost as a WebSocket has it, or `undefined` if it cannot be one. Relative to the document, if there is one. */
export const urlOf = (url: string): string | undefined => {
  const { location } = globalThis as { readonly location?: { readonly href: string } }
  const parsed = Result.getOrUndefined(Result.try(() => new URL(url, location?.href)))
  const scheme = parsed && schemes[parsed.protocol]
  if (parsed === undefined || scheme === undefined) return undefined
  parsed.protocol = scheme
  parsed.hash = ""
  parsed.searchParams.set("v", "1")
  return parsed.href
}

const schemes: { readonly [scheme: string]: string } = {
  "ws:": "ws:",
  "wss:": "wss:",
  "http:": "ws:",
  "https:": "wss:"
}
