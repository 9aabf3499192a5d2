/**
 * The commands that a worker sends on one connection, in order. Queued acks are coalesced, and all that is queued is sent
 * together if the broker reads batches.
 */

import * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { FromClient, maxAcknowledged } from "../../protocol/Command.ts"
import { encodeFromClient } from "../../protocol/CommandCodec.ts"
import type { Connection } from "../../transport/Transport.ts"
import * as RequestQueue from "./requestQueue.ts"

/** The outbound commands of one connection. Commands after its end are dropped. */
export interface Outbound {
  readonly sendUnsafe: (command: FromClient) => void
  /** Sends a command, and waits until it is sent or the connection has ended. */
  readonly send: (command: FromClient) => Effect.Effect<void>
  readonly hasEnded: () => boolean
  readonly endUnsafe: () => void
  /**
   * Waits for commands, sends all queued ones, waits until the system has accepted them, and returns the number of acks among
   * them. A command that cannot be sent is not a failure, because reading will fail with the reason.
   */
  readonly flush: (connection: Pick<Connection, "isKosmonaut" | "sendUnsafe">) => Effect.Effect<number>
}

interface Waiting {
  readonly command: FromClient
  /** Done when it is sent. */
  readonly sent: Deferred.Deferred<void> | undefined
}

/** How many commands are sent together at most, and how many bytes. A command that is larger is sent alone. */
const maxItems = 1024
const maxBatchSize = 131_072

/** The commands of a connection that has just been opened, which carries messages of up to `maxMessageSize` bytes. */
export const make = Effect.fnUntraced(function*(maxMessageSize: number) {
  const batchSize = Math.min(maxBatchSize, maxMessageSize)
  const queue = yield* Queue.unbounded<Waiting>()
  const ended = yield* Deferred.make<void>()
  const outbound: Outbound = {
    sendUnsafe: (command) => void Queue.offerUnsafe(queue, { command, sent: undefined }),
    send: (command) =>
      Effect.suspend(() => {
        const sent = Deferred.makeUnsafe<void>()
        Queue.offerUnsafe(queue, { command, sent })
        return Effect.raceFirst(Deferred.await(sent), Deferred.await(ended))
      }),
    hasEnded: () => Deferred.isDoneUnsafe(ended),
    endUnsafe: () => void Deferred.doneUnsafe(ended, Effect.void),
    flush: (connection) =>
      Effect.flatMap(
        Queue.takeAll(queue),
        (waiting) =>
          Effect.map(sendAll(connection, coalesce(waiting), batchSize), () => {
            for (const { sent } of waiting) if (sent !== undefined) Deferred.doneUnsafe(sent, Effect.void)
            return waiting.filter(({ command }) => command._tag === "Ack").length
          })
      )
  }
  return outbound
})

const sendAll = (
  connection: Pick<Connection, "isKosmonaut" | "sendUnsafe">,
  commands: ReadonlyArray<Waiting>,
  batchSize: number
): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const queue = RequestQueue.make<RequestQueue.Queued>({ maxRequests: Infinity, maxBytes: Infinity })
    for (const { command } of commands) queue.enqueue({ envelope: "", frames: encodeFromClient(command) })
    let unsettled = 1
    const settled = () => {
      if (--unsettled === 0) resume(Effect.void)
    }
    const most = connection.isKosmonaut() ? maxItems : 1
    while (queue.size() > 0) {
      const batch = queue.dequeue(most, batchSize)
      if (!Arr.isReadonlyArrayNonEmpty(batch)) break
      unsettled++
      connection.sendUnsafe(batch, settled)
    }
    settled()
  })

const coalesce = (waiting: ReadonlyArray<Waiting>): ReadonlyArray<Waiting> => {
  const coalesced: Array<Waiting> = []
  let deliveries: Array<string> = []
  for (const next of waiting) {
    if (next.command._tag === "Ack" && deliveries.length > 0 && deliveries.length < maxAcknowledged) {
      deliveries.push(...next.command.deliveries)
    } else if (next.command._tag === "Ack") {
      deliveries = [...next.command.deliveries]
      coalesced.push({ ...next, command: FromClient.Ack({ deliveries }) })
    } else {
      deliveries = []
      coalesced.push(next)
    }
  }
  return coalesced
}
