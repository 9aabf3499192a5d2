/**
 * The exchange of requests and responses on one connection at a time: unsent requests, requests in flight, and callers that
 * wait for room.
 */

import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Frames } from "../../protocol/Frame.ts"
import { ConnectionClosedError, ConnectionError, type RequestTimeoutError } from "../../protocol/KosmonautError.ts"
import * as EventLoop from "../../transport/EventLoop.ts"
import type { Connection, Message } from "../../transport/Transport.ts"
import * as PendingRequests from "./pendingRequests.ts"
import * as RequestQueue from "./requestQueue.ts"
import * as Sender from "./sender.ts"
import * as WaitingRoom from "./waitingRoom.ts"

/** Where requests are sent: a connection, or many of one request each. */
export interface Outlet extends Sender.Outlet, Pick<Connection, "isKosmonaut"> {
  /** The id of the connection. */
  readonly id: string
  /** The response to a request that was sent is not needed any more. */
  readonly cancelUnsafe?: ((envelope: string) => void) | undefined
}

/** Requests and responses. */
export interface Exchange {
  /** Whether the limit of unsent requests is reached, in number or in bytes. Requests are accepted even beyond it. */
  readonly isFull: () => boolean
  readonly waitForRoom: (command: string) => Effect.Effect<void, RequestTimeoutError>
  /** From now on requests are sent there. */
  readonly attachUnsafe: (outlet: Outlet) => void
  /** Sends a request. */
  readonly requestUnsafe: (
    outlet: Outlet,
    frames: Frames,
    handler: PendingRequests.ResponseHandler
  ) => PendingRequests.Pending
  /** Cancels a request; if it is unsent, it is never sent. */
  readonly cancelUnsafe: (request: PendingRequests.Pending) => void
  /** Passes responses to their requests, and ends the turn if that takes long. */
  readonly respond: (messages: ReadonlyArray<Message>) => Effect.Effect<void>
  /** Fails the request of this envelope, if there is one. */
  readonly failUnsafe: (envelope: string, cause: Cause.Cause<ConnectionError>) => void
  /** The connection has ended: fails what is in flight and what is unsent. Callers that wait for room go on. */
  readonly endUnsafe: (inFlight: Cause.Cause<ConnectionError>, unsent: Cause.Cause<ConnectionError>) => void
}

/** The options of an exchange. */
export interface Options {
  readonly address: string
  readonly requestTimeout: Duration.Duration
  /** How much longer the response to these frames may take, in milliseconds. */
  readonly extraTime: (frames: Frames) => number
  readonly maxMessageSize: number
  readonly maxQueuedRequests: number
  readonly maxQueuedBytes: number
  /** Run when nothing was received for the whole time of a request. */
  readonly onSilence: Effect.Effect<void>
}

/** Makes one, without a connection. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const { address, requestTimeout: timeout } = options
  const queue = RequestQueue.make<PendingRequests.Pending>({
    maxRequests: options.maxQueuedRequests,
    maxBytes: options.maxQueuedBytes
  })
  let current: Outlet | undefined
  const pending = yield* PendingRequests.make({ ...options, timeout, onTimeout: (request) => withdraw(request) })
  const room = WaitingRoom.make({ pending, isFull: queue.isFull, timeout })
  const failUnsafe: Exchange["failUnsafe"] = (envelope, cause) => {
    const request = pending.takeUnsafe(envelope)
    if (request !== undefined) pending.failUnsafe(request, cause)
  }
  const sender = Sender.make({
    queue,
    maxMessageSize: options.maxMessageSize,
    onFailed: ({ envelope }, cause) => failUnsafe(envelope, Cause.fail(closed(address, cause))),
    onSent: room.admitUnsafe,
    // The broker responds to one half while the other is sent. It responds to a batch with a batch, so they stay two.
    mostAtOnce: () => Math.max(leastAtOnce, Math.ceil(pending.size() / 2)),
    areFew: () => pending.size() <= leastAtOnce
  })
  const withdraw = (request: PendingRequests.Pending) => {
    if (request.frames === undefined) return current?.cancelUnsafe?.(request.envelope)
    queue.remove(request)
    room.admitUnsafe()
  }
  const attach = (outlet: Outlet | undefined) => {
    current = outlet
    sender.attachUnsafe(outlet)
  }

  const exchange: Exchange = {
    isFull: queue.isFull,
    waitForRoom: room.wait,
    attachUnsafe: attach,
    requestUnsafe: (outlet, frames, handler) => {
      const request = pending.addUnsafe(outlet.id, frames[0]!, frames, handler)
      sender.sendUnsafe(request)
      return request
    },
    cancelUnsafe: ({ envelope }) => {
      const request = pending.takeUnsafe(envelope)
      if (request !== undefined) withdraw(request)
    },
    respond: (messages) => respondAll(messages, pending),
    failUnsafe,
    endUnsafe: (inFlight, unsent) => {
      attach(undefined)
      const callers = room.leaveUnsafe()
      const ended = pending.takeAllUnsafe()
      const causes = ended.map(({ frames }) => frames === undefined ? inFlight : unsent)
      queue.clear()
      ended.forEach((request, index) => pending.failUnsafe(request, causes[index]!))
      callers.forEach((admit) => admit())
    }
  }
  return exchange
})

/** How many requests are sent together, however few are in flight. */
const leastAtOnce = 32

// If a callback throws, the others still get their responses.
const respondAll = (
  messages: ReadonlyArray<Message>,
  pending: PendingRequests.PendingRequests
): Effect.Effect<void> => {
  let at = 0
  const rest = Effect.suspend(() => {
    pending.receivedUnsafe()
    let isOver = false
    while (at < messages.length) {
      const { envelope, frames } = messages[at++]!
      pending.respondUnsafe(envelope, frames)
      EventLoop.begin()
      isOver ||= EventLoop.isOver()
    }
    return isOver ? Effect.yieldNow : Effect.void
  })
  const guarded: Effect.Effect<void> = Effect.catchDefect(
    rest,
    (defect) => Effect.andThen(PendingRequests.logDefect(defect), guarded)
  )
  return guarded
}

const closed = (address: string, cause: unknown): ConnectionError =>
  cause instanceof ConnectionError
    ? cause
    : new ConnectionError({ reason: new ConnectionClosedError({ address, cause }) })
