/**
 * A real browser's side of a WebSocket connection, as an Effect: what is said is sent as it stands, what is heard waits
 * in line until it is asked for.
 */
import { Cause, Deferred, Effect, Queue } from "effect"

export interface Browser {
  /** Sends text as it is, anything else as JSON. */
  readonly send: (message: unknown) => Effect.Effect<void>
  /** The next message, parsed. Fails when the connection ends first. */
  readonly next: Effect.Effect<Record<string, unknown>, Cause.Done>
  /** The next message that is this event: its payload. What came before it is skipped. */
  readonly nextOf: (event: string) => Effect.Effect<unknown, Cause.Done>
  /** The close code, once closed. */
  readonly closed: Effect.Effect<number>
  /** The connection's sid. */
  readonly sid: string
}

/** Connects and waits for `:connected`. */
export const connect = Effect.fnUntraced(function*(url: string) {
  const inbox = yield* Queue.unbounded<Record<string, unknown>, Cause.Done>()
  const closed = yield* Deferred.make<number>()
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => new WebSocket(url)),
    (socket) => Effect.sync(() => socket.close())
  )
  socket.onmessage = (event) => Queue.offerUnsafe(inbox, JSON.parse(String(event.data)))
  socket.onclose = (event) => {
    Deferred.doneUnsafe(closed, Effect.succeed(event.code))
    Queue.endUnsafe(inbox)
  }
  const next = Queue.take(inbox)
  const nextOf = (event: string): Effect.Effect<unknown, Cause.Done> =>
    Effect.flatMap(next, (message) => Object.hasOwn(message, event) ? Effect.succeed(message[event]) : nextOf(event))
  const { sid } = (yield* nextOf(":connected")) as { readonly sid: string }
  const browser: Browser = {
    sid,
    next,
    nextOf,
    closed: Deferred.await(closed),
    send: (message) =>
      Effect.sync(() =>
        socket.send(typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message))
      )
  }
  return browser
})
