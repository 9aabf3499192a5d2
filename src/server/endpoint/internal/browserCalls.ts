/**
 * The triggers and requests of one browser: none is enqueued twice, each request gets one response, and what a browser may have
 * without a response is limited.
 *
 * A browser that has named its client may send a call again with its id, on this connection or another. A trigger is then
 * confirmed again; the response to a request goes to the browser that sent it last. If a browser leaves, its requests that no
 * worker has begun are cancelled.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constFalse } from "effect/Function"
import type * as Tracer from "effect/Tracer"
import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import type { FromBrowser, Id } from "../../../protocol/BrowserMessage.ts"
import { byteLength, envelopeSize } from "../../../protocol/Frame.ts"
import { BadRequestError, type StatusError, type TooManyRequestsError } from "../../../protocol/KosmonautError.ts"
import * as Retry from "../../../protocol/Retry.ts"
import * as Trace from "../../../protocol/Trace.ts"
import { TransientMap } from "../../../protocol/TransientMap.ts"
import type { Browser } from "../../domain/Browser.ts"
import { type Call, type Caller, keyOf } from "../../engine/Calls.ts"
import type { RequestResult } from "../../engine/EventQueue.ts"
import type { Cancel } from "../../engine/Lobby.ts"
import * as Pending from "../../engine/Pending.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import { errorOf, responseTooLarge, tooMany } from "./sharedErrors.ts"

/** A session as its calls know it. */
export interface Session {
  readonly vhost: Vhost
  readonly browser: Browser
  /** `undefined` before its first call with an id: most browsers make none, and each connection counts. */
  caller: Caller | undefined
  /** What the browser calls its client, if it has authenticated with that. */
  readonly client: string | undefined
}

/** What a request takes beside its data, in bytes. */
const overhead = 1024

const callerOf = (session: Session): Caller =>
  session.caller ??= { running: new TransientMap(), size: 0, sendUnsafe: session.browser.sendUnsafe }

/** Runs `enqueue` unless this trigger of the user was enqueued before. */
export const once = <E>(
  session: Session,
  uid: string,
  { data, event, id }: Message<"Trigger">,
  enqueue: Effect.Effect<void, E>
): Effect.Effect<void, E | BadRequestError> => {
  if (session.client === undefined || id === undefined) return enqueue
  const key = keyOf(uid, session.client, id)
  return Effect.suspend((): Effect.Effect<void, E | BadRequestError> => {
    const { calls } = session.vhost
    const fingerprint = Retry.digest(["trigger", event, data.text])
    const known = calls.find(key)
    if (known !== undefined) return known.fingerprint === fingerprint ? Effect.void : otherCall
    return Effect.andThen(
      enqueue,
      Effect.sync(() => calls.endUnsafe(callOf({ id, uid, fingerprint, size: 0, caller: callerOf(session), key })))
    )
  })
}

/** Enqueues a request of the user, or waits for the response to it if it was enqueued before. */
export const request = (
  session: Session,
  { origin, uid }: { readonly uid: string; readonly origin: (traceparent: string | undefined) => string },
  message: Message<"Request">
): Effect.Effect<void, StatusError> =>
  Effect.withFiber((fiber) => {
    const { client, vhost } = session
    const caller = callerOf(session)
    const { data, event, id } = message
    const key = client === undefined ? undefined : keyOf(uid, client, id)
    const fingerprint = Retry.digest(["request", event, data.text])
    const own = caller.running.get(id)
    const known = (key && vhost.calls.find(key)) ?? own
    if (known !== undefined) {
      const isSame = known.fingerprint === fingerprint && known.uid === uid && (own === undefined || own === known)
      return isSame ? attach(known, caller) : otherCall
    }
    const call = callOf({ id, uid, fingerprint, size: byteLength(data.text) + overhead, caller, key })
    const beyond = refusal(vhost, caller, call.size)
    if (beyond !== undefined) return Effect.fail(beyond)
    const { options, traceparent } = Trace.fromBrowser(message.traceparent)
    return Trace.isTraced(fiber)
      ? traced(vhost, event, options, (span, end) =>
        enqueue(vhost, call, message, origin(Trace.toTraceparent(span)), end))
      : enqueue(vhost, call, message, origin(traceparent))
  })

/** The browser no longer needs the response to a request. */
export const cancel = ({ caller }: Session, id: Id): void => {
  const call = caller?.running.get(id)
  if (call === undefined) return
  call.isWanted = false
  call.cancel()
}

/** The browser has left. */
export const end = (session: Session): void => {
  if (session.caller === undefined) return
  for (const id of [...session.caller.running.keys()]) cancel(session, id)
}

const callOf = (call: Pick<Call, "id" | "uid" | "fingerprint" | "size" | "caller" | "key">): Call => ({
  ...call,
  isWanted: true,
  cancel: constFalse,
  response: undefined
})

const otherCall = Effect.fail(new BadRequestError({ detail: "the id is that of another trigger or request" }))

const refusal = (
  { config: { browsers: { maxRequests, requestSize } } }: Vhost,
  { running, size }: Caller,
  more: number
): TooManyRequestsError | undefined =>
  running.size >= maxRequests
    ? tooMany(`a browser has at most ${maxRequests} requests without a response`)
    : running.size > 0 && size + more > requestSize
    ? tooMany(`the requests of a browser have at most ${requestSize} bytes`)
    : undefined

// The last one to send a request gets the response.
const attach = (call: Call, caller: Caller): Effect.Effect<void> =>
  Effect.sync(() => {
    if (call.response !== undefined) return caller.sendUnsafe(call.response)
    leave(call)
    call.caller = caller
    call.isWanted = true
    join(call)
  })

const join = (call: Call): void => {
  call.caller.running.set(call.id, call)
  call.caller.size += call.size
}

const leave = (call: Call): void => {
  if (call.caller.running.get(call.id) !== call) return
  call.caller.running.delete(call.id)
  call.caller.size -= call.size
}

const enqueue = (
  vhost: Vhost,
  call: Call,
  { data, event, timeout }: Message<"Request">,
  origin: string,
  endSpan?: EndSpan
): Effect.Effect<void, StatusError> => {
  join(call)
  vhost.calls.addUnsafe(call)
  const enqueued = vhost.lobby.request({
    event,
    json: BrokerMessage.direct(event, data),
    origin,
    timeout,
    respondUnsafe: (result) => {
      respond(vhost, call, event, result)
      endSpan?.(exitOf(event, result))
    }
  })
  const accept = (cancel: Cancel): void => void (call.cancel = cancel)
  if (Pending.isDone(enqueued) && Exit.isSuccess(enqueued)) return Exit.succeed(accept(enqueued.value))
  return Effect.matchEffect(enqueued, {
    onSuccess: (cancel) => Exit.succeed(accept(cancel)),
    onFailure: (error) => {
      leave(call)
      vhost.calls.removeUnsafe(call)
      endSpan?.(Exit.fail(error))
      return Effect.fail(error)
    }
  })
}

const respond = (vhost: Vhost, call: Call, event: string, result: RequestResult): void => {
  const { caller } = call
  leave(call)
  // It was not executed, so that it may be sent again.
  if (result._tag === "Cancelled") return vhost.calls.removeUnsafe(call)
  call.response = messageOf(vhost, call.id, event, result)
  // First, so that the browser goes on while the call is filed.
  if (call.isWanted) caller.sendUnsafe(call.response)
  vhost.calls.endUnsafe(call)
}

const messageOf = ({ config }: Vhost, id: Id, event: string, result: RequestResult): string => {
  const about = { event: "request", id }
  if (result._tag !== "Responded") return BrokerMessage.error(errorOf(event, result)!, about)
  const message = BrokerMessage.response(id, result.outcome, result.json)
  const largest = config.maxMessageSize + envelopeSize
  return isLarger(message, largest)
    ? BrokerMessage.error(responseTooLarge(event, config.maxMessageSize), about)
    : message
}

const isLarger = (text: string, size: number): boolean => text.length * 3 > size && byteLength(text) > size

const exitOf = (event: string, result: RequestResult): Exit.Exit<void, StatusError> => {
  const error = errorOf(event, result)
  return error === undefined ? Exit.void : Exit.fail(error)
}

type EndSpan = (exit: Exit.Exit<void, StatusError>) => void

// The span ends with the request, long after its message was handled.
const traced = (
  vhost: Vhost,
  event: string,
  options: Tracer.SpanOptionsNoTrace,
  use: (span: Tracer.Span, end: EndSpan) => Effect.Effect<void, StatusError>
): Effect.Effect<void, StatusError> =>
  Clock.clockWith((clock) =>
    Effect.flatMap(
      Effect.makeSpan("Broker.request", {
        ...options,
        kind: "producer",
        attributes: {
          "messaging.system": "kosmonaut",
          "messaging.operation.type": "send",
          "messaging.operation.name": "request",
          "kosmonaut.vhost": vhost.path,
          "kosmonaut.event": event
        }
      }),
      (span) => use(span, (exit) => span.end(clock.currentTimeNanosUnsafe(), exit))
    )
  )

type Message<Tag extends FromBrowser["_tag"]> = Extract<FromBrowser, { readonly _tag: Tag }>
