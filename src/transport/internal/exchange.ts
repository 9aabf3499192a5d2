/**
 * The exchange of requests and responses on one connection at a time: unsent requests, requests in flight, and callers that
 * wait for room.
 */

import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Frames } from "../../protocol/Frame.ts"
import { ConnectionClosedError, ConnectionError } from "../../protocol/KosmonautError.ts"
import type { ResponseHandler, Room } from "../Transport.ts"
import type { Item } from "./batch.ts"
import * as OutboundQueue from "./outboundQueue.ts"
import * as PendingRequests from "./pendingRequests.ts"
import * as Sender from "./sender.ts"
import * as Turns from "./turns.ts"
import * as WaitingRoom from "./waitingRoom.ts"

/** A connection that carries items; the envelope of a response is that of its request. */
export interface Mailbox extends Sender.Outlet {
  /** The id of the connection, as in its identity. */
  readonly name: string
  /** The next items. Fails once the connection has ended. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Item>, unknown>
}

/** Requests and responses. */
export interface Exchange {
  readonly room: Room
  /** From now on requests are sent on this connection. */
  readonly attachUnsafe: (mailbox: Mailbox) => void
  /** Sends a request, and returns its envelope. */
  readonly requestUnsafe: (frames: Frames, handler: ResponseHandler) => string
  /** Cancels a request; if it is unsent, it is never sent. */
  readonly cancelUnsafe: (envelope: string) => void
  /** Reads responses until the connection ends. */
  readonly receive: (mailbox: Mailbox) => Effect.Effect<never, unknown>
  /** The connection has ended: fails what is in flight and what is unsent. Callers that wait for room go on. */
  readonly endUnsafe: (inFlight: Cause.Cause<ConnectionError>, unsent: Cause.Cause<ConnectionError>) => void
}

/** What it needs to know. */
export interface Options {
  readonly address: string
  readonly requestTimeout: Duration.Duration
  readonly maxMessageSize: number
  readonly maxQueuedRequests: number
  readonly maxQueuedBytes: number
  /** Run when nothing was received for the whole time of a request. */
  readonly onSilence: Effect.Effect<void>
}

/** Makes one, without a connection. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const { address, requestTimeout: timeout } = options
  const queue = OutboundQueue.make<PendingRequests.Pending>({
    maxRequests: options.maxQueuedRequests,
    maxBytes: options.maxQueuedBytes
  })
  const pending = yield* PendingRequests.make({
    timeout,
    onTimeout: (request) => withdraw(request),
    onSilence: options.onSilence
  })
  const room = WaitingRoom.make({ pending, isFull: queue.isFull, timeout })
  const sender = Sender.make({
    queue,
    maxMessageSize: options.maxMessageSize,
    onFailed: ({ envelope }, cause) => {
      const request = pending.takeUnsafe(envelope)
      if (request !== undefined) {
        pending.failUnsafe(
          request,
          Cause.fail(new ConnectionError({ reason: new ConnectionClosedError({ address, cause }) }))
        )
      }
    },
    onSent: room.admitUnsafe
  })
  const withdraw = (request: PendingRequests.Pending) => {
    queue.remove(request)
    room.admitUnsafe()
  }

  const exchange: Exchange = {
    room,
    attachUnsafe: sender.attachUnsafe,
    requestUnsafe: (frames, handler) => {
      const request = pending.addUnsafe(frames[0]!, frames, handler)
      sender.sendUnsafe(request)
      return request.envelope
    },
    cancelUnsafe: (envelope) => {
      const request = pending.takeUnsafe(envelope)
      if (request?.frames !== undefined) withdraw(request)
    },
    receive: ({ pull }) => {
      const turns = Turns.make()
      const receive = Effect.flatMap(pull, (items) => {
        pending.receivedUnsafe()
        return respondAll(items, pending, turns)
      })
      return Effect.forever(receive, { disableYield: true })
    },
    endUnsafe: (inFlight, unsent) => {
      sender.attachUnsafe(undefined)
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

// If a callback throws, the others still get their responses.
const respondAll = (
  items: ReadonlyArray<Item>,
  pending: PendingRequests.PendingRequests,
  turns: Turns.Turns
): Effect.Effect<void> => {
  let at = 0
  const rest = Effect.suspend(() => {
    let wait: Effect.Effect<void> | undefined
    while (at < items.length) {
      const { envelope, frames } = items[at++]!
      pending.respondUnsafe(envelope, frames)
      wait = turns() ?? wait
    }
    return wait ?? Effect.void
  })
  const guarded: Effect.Effect<void> = Effect.catchDefect(
    rest,
    (defect) => Effect.andThen(PendingRequests.logDefect(defect), guarded)
  )
  return guarded
}
