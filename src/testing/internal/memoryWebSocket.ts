/**
 * A WebSocket in memory, as browsers have it.
 */

/** How a WebSocket ended. */
export interface End {
  readonly code: number
  readonly reason: string
}

interface WebSocketEvent {
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
}

type EventType = "open" | "message" | "error" | "close"

type Listener = (event: WebSocketEvent) => void

/** What a browser client uses of it: that part of a `WebSocket` that Effect uses. */
export interface MemoryWebSocket {
  readonly readyState: number
  addEventListener(type: EventType, listener: Listener, options?: { readonly once?: boolean }): void
  removeEventListener(type: EventType, listener: Listener): void
  close(code?: number, reason?: string): void
  send(data: string | Uint8Array<ArrayBuffer>): void
}

/** What the network sees of it. */
export interface Owned {
  readonly like: MemoryWebSocket
  readonly receiveUnsafe: (text: string) => void
  readonly endUnsafe: (end: End) => void
}

/** Makes one that is connecting: it opens with its first message. */
export const make = (network: {
  readonly sendUnsafe: (text: string) => void
  readonly closeUnsafe: (code: number) => void
}): Owned => {
  const listeners = new Map<EventType, Set<Listener>>()
  let readyState: 0 | 1 | 2 | 3 = 0
  const emit = (type: EventType, event: WebSocketEvent = {}) => {
    for (const listener of [...listeners.get(type) ?? []]) listener(event)
  }
  const endUnsafe = (end: End) => {
    if (readyState === 3) return
    const isOpen = readyState > 0
    readyState = 3
    if (!isOpen || end.code === 1006) emit("error")
    emit("close", end)
  }
  const remove = (type: EventType, listener: Listener) => void listeners.get(type)?.delete(listener)
  const like: MemoryWebSocket = {
    get readyState() {
      return readyState
    },
    addEventListener: (type, listener, options) => {
      const added: Listener = options?.once
        ? (event) => {
          remove(type, added)
          listener(event)
        }
        : listener
      listeners.set(type, (listeners.get(type) ?? new Set()).add(added))
    },
    removeEventListener: remove,
    close: (code = 1005) => {
      if (readyState >= 2) return
      readyState = 2
      network.closeUnsafe(code)
    },
    send: (data) => {
      if (readyState === 1) network.sendUnsafe(String(data))
    }
  }
  return {
    like,
    receiveUnsafe: (text) => {
      if (readyState === 0) {
        readyState = 1
        emit("open")
      }
      if (readyState === 1) emit("message", { data: text })
    },
    endUnsafe
  }
}
