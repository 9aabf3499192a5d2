/**
 * What a Client requests: carried out, counted, traced and responded to, each once.
 *
 * Most of it is done at once where it was read, without a step of a fiber. Responses to what is to outlast the broker wait
 * until it is persisted; requests behind them on the same connection do not.
 */

import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import {
  argumentsOf,
  decodeFromClient,
  type FromClient,
  type FromServer,
  isPersisted,
  nameOf,
  traceparentOf
} from "../../../protocol/Command.ts"
import type { Frames } from "../../../protocol/Frame.ts"
import type { StatusError } from "../../../protocol/KosmonautError.ts"
import * as MetricFamily from "../../../protocol/MetricFamily.ts"
import * as Repetition from "../../../protocol/Repetition.ts"
import * as Trace from "../../../protocol/Trace.ts"
import type { Peer } from "../../../transport/TransportServer.ts"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import * as Idempotency from "../../engine/Idempotency.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import { answer } from "./answer.ts"
import type { Backend } from "./authenticator.ts"
import { refuse, respond, respondUnsafe } from "./response.ts"

/** How many responses of an endpoint may wait for the store while its Clients go on; beyond it they wait, too. */
const maxUnpersisted = 1024

/** Handles a request; gives what is left to do, if anything. */
export type Handle = (backend: Backend, peer: Peer, frames: Frames) => Effect.Effect<void, StatusError> | undefined

/** Makes it, for one endpoint. `scope` is where responses wait for the store. */
export const make = ({ context, maxMessageSize, scope }: {
  readonly maxMessageSize: number
  readonly context: Context.Context<never>
  readonly scope: Scope.Scope
}): Handle => {
  let unpersisted = 0

  const respondWhenPersisted = ({ journal }: Vhost, peer: Peer, response: FromServer) => {
    const responding = Effect.matchEffect(journal.kept, {
      onFailure: (error) => refuse(peer, error),
      onSuccess: () => respond(peer, response)
    })
    if (peer.close !== Effect.void || unpersisted >= maxUnpersisted) return responding
    unpersisted++
    return responding.pipe(
      Effect.ensuring(Effect.sync(() => unpersisted--)),
      Effect.forkIn(scope, { startImmediately: true })
    )
  }

  return (backend, peer, frames) => {
    const isRepeated = Repetition.isRepeated(frames)
    const said = isRepeated ? Repetition.firstOf(frames) : frames
    const decoded = decodeFromClient(said)
    if (Result.isFailure(decoded)) return Effect.fail(decoded.failure)
    const request: Request = { backend, frames: said, command: decoded.success, maxMessageSize, context }
    const answered = isRepeated ? repeated(request, Repetition.nameOf(frames)) : recorded(request, peer.message)
    if (isPersisted(request.command)) {
      return Effect.flatMap(answered, (response) => respondWhenPersisted(backend.vhost, peer, response))
    }
    if (!isDone(answered)) return Effect.flatMap(answered, (response) => respond(peer, response))
    if (Exit.isFailure(answered)) return Effect.failCause(answered.cause)
    return respondUnsafe(peer, answered.value)
  }
}

/** A Client's request. */
interface Request {
  readonly backend: Backend
  readonly frames: Frames
  readonly command: FromClient
  readonly maxMessageSize: number
  /** Where it is counted and traced. */
  readonly context: Context.Context<never>
}

const carryOut = (
  { backend: { vhost }, command, context, frames, maxMessageSize }: Request,
  answers: Idempotency.Connection | undefined,
  message: string
): Effect.Effect<FromServer, StatusError> => {
  const end = (exit: Exit.Exit<FromServer, StatusError>) => {
    answers?.endUnsafe(message, exit)
    count(command, exit, context)
  }
  const answered = Trace.isTraced({ context })
    ? traced(command, vhost, frames, Effect.suspend(() => answer(vhost, command, maxMessageSize)))
    : Result.getOrElse(Result.try(() => answer(vhost, command, maxMessageSize)), Exit.die)
  if (isDone(answered)) {
    end(answered)
    return answered
  }
  return Effect.onExit(answered, (exit) => Effect.sync(() => end(exit)))
}

const isDone = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Exit<A, E> => Exit.isExit(effect)

const fingerprint = ({ command, frames }: Request): number => Repetition.fingerprint(frames, 1 + argumentsOf(command))

// Where the transport gives names, so that the Client can retry.
const recorded = (request: Request, message: string | undefined): Effect.Effect<FromServer, StatusError> => {
  if (message === undefined || !Idempotency.isName(message)) return carryOut(request, undefined, "")
  const { backend, command } = request
  if (backend.answers === undefined || backend.answers.isForgotten()) {
    backend.answers = backend.vhost.idempotency.connection(backend.id)
  }
  if (Repetition.isHarmless(command)) {
    backend.answers.meetUnsafe(message)
    return carryOut(request, undefined, "")
  }
  return backend.answers.beginUnsafe(message, fingerprint(request)) ?? carryOut(request, backend.answers, message)
}

const repeated = (request: Request, name: Repetition.Name): Effect.Effect<FromServer, StatusError> =>
  Repetition.isName(name)
    ? request.backend.vhost.idempotency.again(
      name,
      fingerprint(request),
      Effect.suspend(() => carryOut(request, undefined, ""))
    )
    : Idempotency.unknown

const count = (
  command: FromClient,
  exit: Exit.Exit<FromServer, StatusError>,
  context: Context.Context<never>
): void => {
  const outcome = Exit.isSuccess(exit) ? "ok" : Option.match(Exit.findErrorOption(exit), {
    onNone: () => "defect",
    onSome: (error) => String(error.code)
  })
  requestsBy(nameOf(command), outcome).updateUnsafe(1, context)
}

const requestsBy = MetricFamily.make(BrokerMetrics.requests, "command", "outcome")

// The span goes on from the Client's.
const traced = <A, E>(
  command: FromClient,
  vhost: Vhost,
  frames: Frames,
  carryOut: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Trace.span(`Broker.${nameOf(command)}`, () => ({
    kind: "server",
    parent: Trace.fromTraceparent(traceparentOf(frames)),
    attributes: {
      "messaging.system": "kosmonaut",
      "messaging.operation.name": nameOf(command),
      "kosmonaut.vhost": vhost.path,
      ..."channel" in command && { "messaging.destination.name": command.channel },
      ..."event" in command && { "kosmonaut.event": command.event }
    }
  }), () => carryOut)
