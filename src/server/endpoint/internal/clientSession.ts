/**
 * The requests of Clients: each is executed, counted, traced and responded to once.
 *
 * Most requests are executed synchronously when they are read, without a step of a fiber. The response to a durable change
 * waits until the change is persisted, that to a request for a worker until the worker responds; later requests on the same
 * connection do not.
 */

import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { argumentsOf, descriptions, type FromClient, type FromServer } from "../../../protocol/Command.ts"
import { decodeFromClient, traceparentOf } from "../../../protocol/CommandCodec.ts"
import type { Frames } from "../../../protocol/Frame.ts"
import { InternalError, type StatusError } from "../../../protocol/KosmonautError.ts"
import * as Retry from "../../../protocol/Retry.ts"
import * as Trace from "../../../protocol/Trace.ts"
import type { Peer } from "../../../transport/TransportServer.ts"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import * as Journal from "../../engine/Journal.ts"
import * as Pending from "../../engine/Pending.ts"
import * as ResponseCache from "../../engine/ResponseCache.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import type { Backend } from "./authenticator.ts"
import { execute } from "./clientCommands.ts"
import * as ClientEvents from "./clientEvents.ts"
import { reject, respond, respondUnsafe } from "./response.ts"

/** How many responses of an endpoint may wait for the store, and for the log of several nodes. Beyond it later requests wait, too. */
const maxUnpersisted = 1024

/** Handles a request, and returns the rest of the work, if any. */
export type Handle = (backend: Backend, peer: Peer, frames: Frames) => Effect.Effect<void, StatusError> | undefined

/** Makes the handler of one endpoint. Responses wait for the store and for workers in `scope`. */
export const make = ({ context, guarded, maxMessageSize, scope }: {
  readonly maxMessageSize: number
  readonly context: Context.Context<never>
  readonly scope: Scope.Scope
  /** Sends the error with which a request fails. */
  readonly guarded: (peer: Peer, rest: Effect.Effect<void, StatusError>) => Effect.Effect<void>
}): Handle => {
  const run = (rest: Effect.Effect<void>) => void Effect.runForkWith(context)(Effect.forkIn(rest, scope))
  const respondWhenPersisted = makeWaiting(run)
  const whenDone = makeWhenDone(guarded, run)
  const handleCommit = makeCommits({ guarded, scope, whenDone })

  // One that waits for a worker. Later requests on the same connection do not wait for it.
  const handleRequest = (request: Request, peer: Peer, key: Retry.Key | undefined) => {
    const running = request.backend.running ??= ClientEvents.makeRunning()
    const tooMany = ClientEvents.refusal(running)
    if (tooMany !== undefined) {
      count(request.command, Exit.fail(tooMany), context)
      return Effect.fail(tooMany)
    }
    running.count++
    const end = () => void running.count--
    const executed = key === undefined ? cached(request, peer.message) : retried(request, key)
    if (peer.close === Effect.void && Pending.isPending(executed)) {
      return whenDone(peer, executed, end, (response) => respondUnsafe(peer, response))
    }
    const responding = Effect.ensuring(
      Effect.flatMap(executed, (response) => respond(peer, response)),
      Effect.sync(end)
    )
    return peer.close === Effect.void
      ? Effect.forkIn(guarded(peer, responding), scope, { startImmediately: true })
      : responding
  }

  const respondLater = (
    { backend: { vhost }, command }: Request,
    peer: Peer,
    executed: Effect.Effect<FromServer, StatusError>
  ) => {
    const waits = waitsForStore(vhost, command)
    const responded = (response: FromServer) =>
      waits ? respondWhenPersisted(vhost, peer, response) : respondUnsafe(peer, response)
    return isCommit(command)
      ? handleCommit(peer, executed, responded)
      : Effect.flatMap(executed, (response) => responded(response) ?? Effect.void)
  }

  return (backend, peer, frames) => {
    const isRetry = Retry.isRetry(frames)
    const own = isRetry ? Retry.requestOf(frames) : frames
    const decoded = decodeFromClient(own)
    if (Result.isFailure(decoded)) return Effect.fail(decoded.failure)
    const request: Request = { backend, frames: own, command: decoded.success, maxMessageSize, context }
    if (request.command._tag === "Request") {
      return handleRequest(request, peer, isRetry ? Retry.keyOf(frames) : undefined)
    }
    const executed = isRetry ? retried(request, Retry.keyOf(frames)) : cached(request, peer.message)
    if (!Pending.isDone(executed)) return respondLater(request, peer, executed)
    if (Exit.isFailure(executed)) return Effect.failCause(executed.cause)
    return waitsForStore(backend.vhost, request.command)
      ? respondWhenPersisted(backend.vhost, peer, executed.value)
      : respondUnsafe(peer, executed.value)
  }
}

/** Responds when a request is done, without a fiber. */
type WhenDone = (
  peer: Peer,
  executed: Pending.Pending<FromServer, StatusError>,
  end: () => void,
  responded: (response: FromServer) => Effect.Effect<void> | undefined
) => undefined

const makeWhenDone = (
  guarded: (peer: Peer, rest: Effect.Effect<void, StatusError>) => Effect.Effect<void>,
  run: (rest: Effect.Effect<void>) => void
): WhenDone =>
(peer, executed, end, responded) => {
  executed.observeUnsafe((exit) => {
    end()
    const rest = Exit.isSuccess(exit)
      ? Result.getOrElse(Result.try(() => responded(exit.value)), Effect.die)
      : Effect.failCause(exit.cause)
    if (rest !== undefined) run(guarded(peer, rest))
  })
  return undefined
}

// One that several nodes put into an order. Its place is behind the earlier ones, and later requests on the same connection do not
// wait for it, unless too many do. There may be many broadcasts: they need no fiber.
const makeCommits = ({ guarded, scope, whenDone }: {
  readonly guarded: (peer: Peer, rest: Effect.Effect<void, StatusError>) => Effect.Effect<void>
  readonly scope: Scope.Scope
  readonly whenDone: WhenDone
}) => {
  let commits = 0
  return (
    peer: Peer,
    executed: Effect.Effect<FromServer, StatusError>,
    responded: (response: FromServer) => Effect.Effect<void> | undefined
  ): Effect.Effect<unknown, StatusError> | undefined => {
    const isAlone = peer.close !== Effect.void || commits >= maxUnpersisted
    if (isAlone || !Pending.isPending(executed)) {
      const responding = Effect.flatMap(executed, (response) => responded(response) ?? Effect.void)
      if (isAlone) return responding
      commits++
      const done = Effect.ensuring(guarded(peer, responding), Effect.sync(() => commits--))
      return Effect.forkIn(done, scope, { startImmediately: true })
    }
    commits++
    return whenDone(peer, executed, () => void commits--, responded)
  }
}

// They are one intent, which is committed when they are executed.
const isCommit = ({ _tag }: FromClient): boolean =>
  _tag === "Broadcast" || _tag === "SendTo" || _tag === "SendToUser" || _tag === "OpenChannel" ||
  _tag === "CloseChannel"

const cannotPersist = new InternalError({ detail: Journal.notPersisted })

// The responses of `broadcastAll` wait where they are made, since each broadcast has a code.
const waitsForStore = ({ channels }: Vhost, command: FromClient): boolean =>
  command._tag === "Broadcast"
    ? channels.isPersisted(command.channel)
    : command._tag === "SendToUser"
    ? channels.isPersisted(":user")
    : descriptions[command._tag].isPersisted

// Responds once everything recorded so far is persisted, without a fiber: there may be a response for each of many broadcasts.
// Later requests on the same connection do not wait for it, unless too many do.
const makeWaiting = (run: (rest: Effect.Effect<void>) => void) => {
  let waiting = 0
  return ({ journal }: Vhost, peer: Peer, response: FromServer): Effect.Effect<void> | undefined => {
    if (peer.close !== Effect.void || waiting >= maxUnpersisted) {
      return Effect.matchEffect(journal.persisted, {
        onFailure: (error) => reject(peer, error),
        onSuccess: () => respond(peer, response)
      })
    }
    waiting++
    journal.whenPersistedUnsafe((persisted) => {
      waiting--
      const rest = persisted ? respondUnsafe(peer, response) : reject(peer, cannotPersist)
      if (rest !== undefined) run(rest)
    })
    return undefined
  }
}

/** A Client's request. */
interface Request {
  readonly backend: Backend
  readonly frames: Frames
  readonly command: FromClient
  readonly maxMessageSize: number
  /** Has the metrics and the tracer. */
  readonly context: Context.Context<never>
}

const executed = (
  request: Request,
  cache: ResponseCache.Connection | undefined,
  message: string
): Effect.Effect<FromServer, StatusError> => {
  const execution = Trace.isTraced(request)
    ? traced(request, (span) => executeOnce(request, span))
    : Result.getOrElse(Result.try(() => executeOnce(request, undefined)), Exit.die)
  if (!Pending.isDone(execution)) return endLater(request, cache, message, execution)
  end(request, cache, message, execution)
  return execution
}

const end = (
  { command, context }: Request,
  cache: ResponseCache.Connection | undefined,
  message: string,
  exit: Exit.Exit<FromServer, StatusError>
): void => {
  cache?.endUnsafe(message, exit)
  count(command, exit, context)
}

const endLater = (
  request: Request,
  cache: ResponseCache.Connection | undefined,
  message: string,
  execution: Effect.Effect<FromServer, StatusError>
): Effect.Effect<FromServer, StatusError> =>
  Pending.isPending(execution)
    ? Pending.map(execution, (exit) => {
      end(request, cache, message, exit)
      return exit
    })
    : Effect.onExit(execution, (exit) => Effect.sync(() => end(request, cache, message, exit)))

const executeOnce = (
  { backend, command, frames, maxMessageSize }: Request,
  span: Tracer.Span | undefined
): Effect.Effect<FromServer, StatusError> => {
  const { vhost } = backend
  if (command._tag !== "Request" && command._tag !== "Trigger") return execute(vhost, command, maxMessageSize)
  const traceparent = span === undefined ? traceparentOf(frames) : Trace.toTraceparent(span)
  if (command._tag === "Trigger") return ClientEvents.trigger(vhost, command, traceparent)
  return ClientEvents.request(vhost, backend.running!, command, traceparent, maxMessageSize)
}

const fingerprint = ({ command, frames }: Request): number => Retry.fingerprint(frames, 1 + argumentsOf(command))

// The response is cached if the transport has message ids, so that the Client can retry.
const cached = (request: Request, message: string | undefined): Effect.Effect<FromServer, StatusError> => {
  if (message === undefined || !ResponseCache.isMessageId(message)) return executed(request, undefined, "")
  const { backend, command } = request
  if (backend.responses === undefined || backend.responses.isEvicted()) {
    backend.responses = backend.vhost.responseCache.connection(backend.id)
  }
  if (descriptions[command._tag].isIdempotent) {
    backend.responses.skipUnsafe(message)
    return executed(request, undefined, "")
  }
  return backend.responses.beginUnsafe(message, fingerprint(request)) ?? executed(request, backend.responses, message)
}

const retried = (request: Request, key: Retry.Key): Effect.Effect<FromServer, StatusError> =>
  Retry.isKey(key)
    ? request.backend.vhost.responseCache.retry(
      key,
      fingerprint(request),
      Effect.suspend(() => executed(request, undefined, "")),
      request.backend.running?.ended
    )
    : ResponseCache.unknown

const count = (
  command: FromClient,
  exit: Exit.Exit<FromServer, StatusError>,
  context: Context.Context<never>
): void => {
  const outcome = Exit.isSuccess(exit) ?
    exit.value._tag === "Failure" ? String(exit.value.code) : "ok" :
    Option.match(Exit.findErrorOption(exit), {
      onNone: () => "defect",
      onSome: (error) => String(error.code)
    })
  BrokerMetrics.requestsBy(descriptions[command._tag].name, outcome).updateUnsafe(1, context)
}

// The Client's span is the parent.
const traced = <A, E>(
  { backend: { vhost }, command, frames }: Request,
  execution: (span: Tracer.Span | undefined) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Trace.span(`Broker.${descriptions[command._tag].name}`, () => ({
    kind: "server",
    parent: Trace.fromTraceparent(traceparentOf(frames)),
    attributes: {
      "messaging.system": "kosmonaut",
      "messaging.operation.name": descriptions[command._tag].name,
      "kosmonaut.vhost": vhost.path,
      ..."channel" in command && { "messaging.destination.name": command.channel },
      ..."event" in command && { "kosmonaut.event": command.event }
    }
  }), execution)
