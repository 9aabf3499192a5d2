/**
 * The commands that a worker sends on one connection, in order. Acks of the same turn are coalesced, and all that is queued is
 * sent together if the broker reads batches.
 *
 * A command that cannot be sent is not a failure, because reading will fail with the reason. A defect of sending is one.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { FromClient, maxAcknowledged } from "../../protocol/Command.ts"
import { encodeFromClient } from "../../protocol/CommandCodec.ts"
import { ConnectionError } from "../../protocol/KosmonautError.ts"
import * as RequestQueue from "./requestQueue.ts"
import * as Sender from "./sender.ts"

/** The outbound commands of one connection. Commands after its end are dropped. */
export interface Outbound {
  readonly sendUnsafe: (command: FromClient) => void
  /** Sends a command, and waits until it is sent or the connection has ended. */
  readonly send: (command: FromClient) => Effect.Effect<void>
  readonly hasEnded: () => boolean
  readonly endUnsafe: () => void
  /** Dies with the defect of sending, should there be one. */
  readonly defect: Effect.Effect<never>
}

interface Waiting extends RequestQueue.Queued {
  /** Done when it is sent. */
  readonly sent: Deferred.Deferred<void> | undefined
}

/**
 * The commands of a connection that has just been opened, which carries messages of up to `maxMessageSize` bytes.
 * `onAcknowledged` is called with the number of events whose acks are sent next.
 */
export const make = (
  connection: Sender.Outlet,
  options: { readonly maxMessageSize: number; readonly onAcknowledged: (count: number) => void }
): Outbound => {
  const ended = Deferred.makeUnsafe<void>()
  const defect = Deferred.makeUnsafe<never>()
  const queue = RequestQueue.make<Waiting>({ maxRequests: Infinity, maxBytes: Infinity })
  let awaited: Array<Waiting> = []
  const sender = Sender.make<Waiting>({
    queue,
    maxMessageSize: options.maxMessageSize,
    onFailed: (_command, error) => {
      if (!(error instanceof ConnectionError)) Deferred.doneUnsafe(defect, Effect.die(error))
    },
    onSent: () => {
      if (awaited.length === 0) return
      const settled = awaited.filter(({ frames }) => frames === undefined)
      awaited = awaited.filter(({ frames }) => frames !== undefined)
      for (const { sent } of settled) Deferred.doneUnsafe(sent!, Effect.void)
    }
  })
  sender.attachUnsafe(connection)

  const enqueue = (command: FromClient, sent?: Deferred.Deferred<void>) => {
    const waiting = { envelope: "", frames: encodeFromClient(command), sent }
    if (sent !== undefined) awaited.push(waiting)
    sender.sendUnsafe(waiting)
  }
  const acks = makeAcks((deliveries) => {
    enqueue(FromClient.Ack({ deliveries }))
    options.onAcknowledged(deliveries.length)
  })
  const sendUnsafe = (command: FromClient, sent?: Deferred.Deferred<void>) => {
    if (Deferred.isDoneUnsafe(ended)) return
    if (command._tag === "Ack") return acks.addUnsafe(command.deliveries)
    acks.flushUnsafe()
    enqueue(command, sent)
  }
  return {
    sendUnsafe: (command) => sendUnsafe(command),
    send: (command) =>
      Effect.suspend(() => {
        const sent = Deferred.makeUnsafe<void>()
        sendUnsafe(command, sent)
        return Effect.raceFirst(Deferred.await(sent), Deferred.await(ended))
      }),
    hasEnded: () => Deferred.isDoneUnsafe(ended),
    endUnsafe: () => {
      Deferred.doneUnsafe(ended, Effect.void)
      acks.clearUnsafe()
      sender.attachUnsafe(undefined)
      queue.clear()
    },
    defect: Deferred.await(defect)
  }
}

// The acks of a turn.
const makeAcks = (flush: (deliveries: ReadonlyArray<string>) => void) => {
  let waiting: Array<string> = []
  const flushUnsafe = () => {
    if (waiting.length === 0) return
    const deliveries = waiting
    waiting = []
    flush(deliveries)
  }
  return {
    flushUnsafe,
    addUnsafe: (deliveries: ReadonlyArray<string>) => {
      if (waiting.length === 0) queueMicrotask(flushUnsafe)
      waiting.push(...deliveries)
      if (waiting.length >= maxAcknowledged) flushUnsafe()
    },
    clearUnsafe: () => {
      waiting = []
    }
  }
}
