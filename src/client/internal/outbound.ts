/**
 * The commands that a worker sends on one connection, in order. Queued acks are coalesced.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { FromClient, maxAcknowledged } from "../../protocol/Command.ts"

/** The outbound commands of one connection. Commands after its end are dropped. */
export interface Outbound {
  readonly sendUnsafe: (command: FromClient) => void
  /** Sends a command, and waits until it is sent or the connection has ended. */
  readonly send: (command: FromClient) => Effect.Effect<void>
  readonly hasEnded: () => boolean
  readonly endUnsafe: () => void
  /**
   * Waits for commands, sends all queued ones, and returns the number of acks among them. A command that cannot be sent is not a
   * failure, because reading will fail with the reason.
   */
  readonly flush: <E>(send: (command: FromClient) => Effect.Effect<void, E>) => Effect.Effect<number>
}

interface Waiting {
  readonly command: FromClient
  /** Done when it is sent. */
  readonly sent: Deferred.Deferred<void> | undefined
}

/** The commands of a connection that has just been opened. */
export const make = Effect.gen(function*() {
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
    flush: (send) =>
      Effect.flatMap(Queue.takeAll(queue), (waiting) =>
        Effect.as(
          Effect.forEach(coalesce(waiting), ({ command, sent }) =>
            Effect.andThen(
              Effect.ignore(send(command)),
              sent === undefined ? Effect.void : Deferred.succeed(sent, undefined)
            ), { discard: true }),
          waiting.filter(({ command }) => command._tag === "Ack").length
        ))
  }
  return outbound
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
