/**
 * The events that Clients send to workers: requests, which end with their response, and triggers.
 */

import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import { type FromClient, FromServer } from "../../../protocol/Command.ts"
import { byteLength, envelopeSize } from "../../../protocol/Frame.ts"
import { BadRequestError, type StatusError, TooManyRequestsError } from "../../../protocol/KosmonautError.ts"
import { requested } from "../../../protocol/Response.ts"
import { TransientMap } from "../../../protocol/TransientMap.ts"
import { defaultTimeout, encodeOrigin } from "../../../protocol/Trigger.ts"
import type { RequestResult } from "../../engine/EventQueue.ts"
import type { Cancel } from "../../engine/Lobby.ts"
import * as Pending from "../../engine/Pending.ts"
import * as ResponseCache from "../../engine/ResponseCache.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import { errorOf, responseTooLarge } from "./sharedErrors.ts"

/** The requests of one connection without a response. */
export interface Running {
  /** How many there are, retries that wait for the response to an earlier attempt included. */
  count: number
  /** How those that were enqueued are cancelled. */
  readonly cancels: TransientMap<Cancel, true>
  /** Done when the connection has ended, with a response that nobody reads. */
  readonly ended: Deferred.Deferred<FromServer>
}

/** Makes it without requests. */
export const makeRunning = (): Running => ({ count: 0, cancels: new TransientMap(), ended: Deferred.makeUnsafe() })

/** How many requests of a connection may be without a response. */
const maxRunning = 4096

/** The error of one more request on a connection that has as many as it may. */
export const refusal = ({ count }: Running): TooManyRequestsError | undefined =>
  count < maxRunning ? undefined : tooMany

/** The connection has ended: cancels the requests that no worker has begun, and ends the retries that wait. */
export const end = (running: Running | undefined): void => {
  if (running === undefined) return
  Deferred.doneUnsafe(running.ended, Effect.succeed(ResponseCache.cancelled))
  for (const cancel of running.cancels.keys()) cancel()
}

/**
 * Enqueues a request when it is called, and ends with its response, which is at most `maxMessageSize` bytes large with its envelope. It is
 * pending, or an `Exit`, unless it waits until several nodes have enqueued it.
 */
export const request = (
  vhost: Vhost,
  { cancels }: Running,
  { data, event, options: { timeout = defaultTimeout } }: Command<"Request">,
  traceparent: string | undefined,
  maxMessageSize: number
): Effect.Effect<FromServer, StatusError> => {
  if (event.startsWith(":")) return reserved
  let outcome: Exit.Exit<FromServer, StatusError> | undefined
  let end: Pending.Observer<FromServer, StatusError> = constVoid
  const enqueued = vhost.lobby.request({
    event,
    json: BrokerMessage.direct(event, data),
    origin: originOf(traceparent),
    timeout,
    respondUnsafe: (result) => {
      outcome = responseOf(event, result, maxMessageSize - envelopeSize)
      end(outcome)
    }
  })
  const wait = (cancel: Cancel): Effect.Effect<FromServer, StatusError> => {
    if (outcome !== undefined) return outcome
    cancels.set(cancel, true)
    return Pending.make<FromServer, StatusError>((observer) => {
      end = (exit) => {
        cancels.delete(cancel)
        observer(exit)
      }
      if (outcome !== undefined) end(outcome)
    }, cancel)
  }
  if (!Pending.isDone(enqueued)) {
    return Effect.uninterruptibleMask((restore) => Effect.flatMap(enqueued, (cancel) => restore(wait(cancel))))
  }
  return Exit.isSuccess(enqueued) ? wait(enqueued.value) : Exit.failCause(enqueued.cause)
}

/** Enqueues an event. */
export const trigger = (
  { lobby }: Vhost,
  { data, event, options: { dedupeKey, delay = 0 } }: Command<"Trigger">,
  traceparent: string | undefined
): Effect.Effect<FromServer, StatusError> => {
  if (event.startsWith(":")) return reserved
  const options = delay === 0 && dedupeKey === undefined ? undefined : { delay: Duration.millis(delay), dedupeKey }
  return Effect.as(
    lobby.enqueue(BrokerMessage.direct(event, data), originOf(traceparent), options),
    FromServer.Ok()
  )
}

const originOf = (traceparent: string | undefined): string | undefined =>
  traceparent === undefined ? undefined : encodeOrigin({ traceparent })

const responseOf = (
  event: string,
  result: RequestResult,
  largest: number
): Exit.Exit<FromServer, StatusError> => {
  if (result._tag === "Cancelled") return Exit.succeed(ResponseCache.cancelled)
  if (result._tag !== "Responded") return Exit.fail(errorOf(event, result)!)
  const json = requested(result.outcome, result.json)
  return byteLength(json) > largest
    ? Exit.fail(responseTooLarge(event, largest))
    : Exit.succeed(FromServer.Response({ json }))
}

const reserved = Exit.fail(new BadRequestError({ detail: "event names that begin with : are reserved" }))

const tooMany = new TooManyRequestsError({
  detail: `a connection has at most ${maxRunning} requests without a response`
})

type Command<Tag extends FromClient["_tag"]> = Extract<FromClient, { readonly _tag: Tag }>
