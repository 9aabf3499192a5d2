/**
 * The requests of a Client about dead letters.
 */

import * as Effect from "effect/Effect"
import { allLetters, FromClient } from "../../protocol/Command.ts"
import { DeadLetterNotFoundError, InternalError, ProtocolError } from "../../protocol/KosmonautError.ts"
import * as Response from "../../protocol/Response.ts"
import type { DeadLetter } from "../DeadLetter.ts"
import * as Pages from "./pages.ts"
import type { Failed, Requests } from "./request.ts"

/** `Client.deadLetters`. */
export const make = ({ query, tell }: Requests) => ({
  list: Pages.stream((after) =>
    Effect.map(
      query(FromClient.ListDeadLetters({ after }), Response.DeadLetters),
      ({ deadLetters, next }) => ({ items: deadLetters.map(deadLetter), next })
    )
  ),

  replay: (id: string) =>
    named(
      id,
      () =>
        tell(FromClient.ReplayDeadLetter({ id }), ({ code, reason }) =>
          code === 597
            ? new ProtocolError({ reason: new InternalError({ detail: reason ?? noRoom(id) }) })
            : notFound(id)({ code }))
    ),

  replayAll: query(FromClient.ReplayDeadLetters(), Response.Replayed),

  discard: (id: string) => named(id, () => tell(FromClient.DiscardDeadLetter({ id }), notFound(id))),

  discardAll: Effect.map(query(FromClient.DiscardDeadLetters(), Response.Discarded), ({ discarded }) => discarded)
})

const deadLetter = ({ data, origin, ...letter }: typeof Response.DeadLetter.Type): DeadLetter => ({
  ...letter,
  data: data ?? undefined,
  origin: { sid: origin.sid, uid: origin.uid, channel: origin.channel }
})

// No dead letter has these ids, and on the wire they mean something else.
const named = <A, E>(id: string, ask: () => Effect.Effect<A, E>) =>
  id === "" || id === allLetters ? Effect.fail(new DeadLetterNotFoundError({ id })) : ask()

const notFound = (id: string) => ({ code }: Pick<Failed, "code">) =>
  code === 456 ? new DeadLetterNotFoundError({ id }) : undefined

const noRoom = (id: string) =>
  `the queue is full, or no worker takes this event, so the dead letter ${
    JSON.stringify(id.slice(0, 100))
  } stays one; replay it later`
