/**
 * The requests of a Client about dead letters.
 */

import * as Effect from "effect/Effect"
import { allLetters, FromClient } from "../../protocol/Command.ts"
import { DeadLetterNotFoundError, InternalError, ProtocolError } from "../../protocol/KosmonautError.ts"
import * as Response from "../../protocol/Response.ts"
import type { DeadLetter } from "../DeadLetter.ts"
import * as Parts from "./parts.ts"
import type { Requests } from "./request.ts"
import { expecting } from "./target.ts"

/** `Client.deadLetters`. */
export const make = ({ query, execute }: Requests) => ({
  list: Parts.stream((after) =>
    Effect.map(
      query(FromClient.ListDeadLetters({ after })),
      ({ deadLetters, next }) => ({ items: deadLetters.map(deadLetter), next })
    )
  ),

  replay: (id: string) =>
    named(
      id,
      () =>
        execute(
          FromClient.ReplayDeadLetter({ id }),
          (failed, command) =>
            failed.code === 597 && failed.reason === undefined
              ? new ProtocolError({ reason: new InternalError({ detail: noRoom(id) }) })
              : notFound(failed, command)
        )
    ),

  replayAll: query(FromClient.ReplayDeadLetters()),

  discard: (id: string) => named(id, () => execute(FromClient.DiscardDeadLetter({ id }), notFound)),

  discardAll: Effect.map(query(FromClient.DiscardDeadLetters()), ({ discarded }) => discarded)
})

const deadLetter = ({ data, origin, ...letter }: typeof Response.DeadLetter.Type): DeadLetter => ({
  ...letter,
  data: data ?? undefined,
  origin: { sid: origin.sid, uid: origin.uid, channel: origin.channel }
})

// No dead letter has these ids, and on the wire they mean something else.
const named = <A, E>(id: string, request: () => Effect.Effect<A, E>) =>
  id === "" || id === allLetters ? Effect.fail(new DeadLetterNotFoundError({ id })) : request()

const notFound = expecting(456)

const noRoom = (id: string) =>
  `the queue is full, or no worker takes this event, so the dead letter ${
    JSON.stringify(id.slice(0, 100))
  } stays one; replay it later`
