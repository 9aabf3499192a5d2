/**
 * Where backends enter: Clients that ask and Workers that take events, over ZeroMQ and over classic TCP.
 *
 * Every message is authorized by its identity, understood, carried out and answered, an error with its status code. A
 * Client's connection is closed after its answer, where the transport has connections. Workers are kept in the vhost's
 * lobby, which greets the living and dismisses the silent; at the end of the endpoint all are dismissed.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import {
  decodeFromClient,
  encodeFromServer,
  encodeTrigger,
  type FromClient,
  FromServer,
  nameOf,
  type ReadyOptions,
  traceparentOf
} from "../../protocol/Command.ts"
import type { Frames } from "../../protocol/Frame.ts"
import * as Identity from "../../protocol/Identity.ts"
import { BadRequestError, InternalError, type StatusError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import * as MetricFamily from "../../protocol/MetricFamily.ts"
import * as Repetition from "../../protocol/Repetition.ts"
import * as Trace from "../../protocol/Trace.ts"
import * as TcpTransportServer from "../../transport/TcpTransportServer.ts"
import type { Listen, ListenError, Peer } from "../../transport/TransportServer.ts"
import * as ZmqTransportServer from "../../transport/ZmqTransportServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import * as BrokerMetrics from "../BrokerMetrics.ts"
import * as Idempotency from "../engine/Idempotency.ts"
import type { Worker } from "../engine/Lobby.ts"
import { type Vhost, Vhosts } from "../engine/Vhosts.ts"
import { answer } from "./internal/answer.ts"

/**
 * The backend endpoint over ZeroMQ.
 *
 * @since 0.1.0
 */
export class ZmqBackendEndpoint extends Context.Service<ZmqBackendEndpoint, {
  /** The port it is bound to. */
  readonly port: number
}>()("kosmonaut/server/endpoint/BackendEndpoint/ZmqBackendEndpoint") {}

/**
 * The backend endpoint over classic TCP.
 *
 * @since 0.1.0
 */
export class TcpBackendEndpoint extends Context.Service<TcpBackendEndpoint, {
  /** The port it is bound to. */
  readonly port: number
}>()("kosmonaut/server/endpoint/BackendEndpoint/TcpBackendEndpoint") {}

/** Who has been let in, and where. */
interface Backend {
  readonly kind: Identity.Kind
  readonly vhost: Vhost
  /** The name of its connection. */
  readonly id: string
  /** What is remembered of it, once there is anything. */
  answers: Idempotency.Connection | undefined
}

/** How many identities are known at most; beyond it all are looked at anew. */
const knownLimit = 10_000

/**
 * Binds a backend endpoint and serves it until the scope ends.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  listen: Listen,
  port: number
): Effect.fn.Return<{ readonly port: number }, ListenError, BrokerConfig | Vhosts | Scope.Scope> {
  const config = yield* BrokerConfig
  const vhosts = yield* Vhosts
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  const server = yield* listen({ host: config.host, port, maxMessageSize: config.maxMessageSize })

  // Whoever was let in says the same with every message, and is known by it until the vhost is removed.
  const known = new Map<string, Backend>()
  const knownAs = ({ identity }: Peer): Backend | undefined => {
    const backend = known.get(identity)
    return backend === undefined || backend.vhost.isRemoved() ? undefined : backend
  }
  const authorize = (peer: Peer): Effect.Effect<Backend, UnauthorizedError> => {
    const { identity } = peer
    const backend = knownAs(peer)
    if (backend !== undefined) return Effect.succeed(backend)
    return Effect.fromOption(Identity.decode(identity)).pipe(
      Effect.mapError(() => new UnauthorizedError({ detail: "the identity is none" })),
      Effect.flatMap((decoded) =>
        Effect.map(vhosts.authorize(decoded), (vhost) => {
          if (known.size >= knownLimit) known.clear()
          const backend: Backend = { kind: decoded.kind, vhost, id: decoded.id, answers: undefined }
          known.set(identity, backend)
          return backend
        })
      )
    )
  }

  // Most of what Clients ask is done and answered here at once, without a step of a fiber.
  const onMessage = (peer: Peer, frames: Frames | undefined): Effect.Effect<void, StatusError> | undefined => {
    if (frames === undefined) return Effect.fail(new BadRequestError({ detail: "the message cannot be read" }))
    const backend = knownAs(peer)
    return backend === undefined
      ? Effect.flatMap(authorize(peer), (backend) => obey(backend, peer, frames) ?? Effect.void)
      : obey(backend, peer, frames)
  }
  const obey = (backend: Backend, peer: Peer, frames: Frames): Effect.Effect<void, StatusError> | undefined => {
    const { kind, vhost } = backend
    const isRepeated = kind === "req" && Repetition.isRepeated(frames)
    const said = isRepeated ? Repetition.firstOf(frames) : frames
    const decoded = decodeFromClient(said)
    if (Result.isFailure(decoded)) return Effect.fail(decoded.failure)
    const command = decoded.success
    if (kind === "dlr") return attend(vhost, peer, command)
    const answering = { backend, frames: said, command, maxMessageSize: config.maxMessageSize, context }
    const answered = isRepeated
      ? vhost.idempotency.again(Repetition.nameOf(frames), Effect.suspend(() => carryOut(answering, undefined, "")))
      : remembered(answering, peer.message)
    if (outlasts(command)) return Effect.flatMap(answered, (reply) => respondWhenKept(vhost, peer, reply))
    if (!isDone(answered)) return Effect.flatMap(answered, (reply) => farewell(peer, reply))
    if (Exit.isFailure(answered)) return Effect.failCause(answered.cause)
    peer.sendUnsafe(encodeFromServer(answered.value))
    return peer.close === Effect.void ? undefined : peer.close
  }
  // Where others speak over the same socket they have their turn in the meantime.
  const respondWhenKept = (vhost: Vhost, peer: Peer, reply: FromServer) => {
    const responding = Effect.matchEffect(vhost.journal.kept, {
      onFailure: (error) => refuse(peer, error),
      onSuccess: () => farewell(peer, reply)
    })
    return peer.seesClose ? responding : Effect.forkIn(responding, scope, { startImmediately: true })
  }

  // A fault of ours is one message's, never the endpoint's.
  const guarded = (peer: Peer, rest: Effect.Effect<void, StatusError>): Effect.Effect<void> =>
    rest.pipe(
      Effect.catch((error) => refuse(peer, error)),
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("A backend's message was not handled", defect),
          refuse(peer, new InternalError({ detail: "the broker failed" }))
        )
      )
    )

  yield* server.run({
    onMessage: (peer, frames) => {
      const rest = Result.try(() => onMessage(peer, frames))
      if (Result.isFailure(rest)) return guarded(peer, Effect.die(rest.failure))
      return rest.success && guarded(peer, rest.success)
    },
    onClose: (peer) =>
      authorize(peer).pipe(
        Effect.flatMap(({ vhost }) => vhost.lobby.leave(peer.identity, peer.connection)),
        Effect.ignore
      )
  }).pipe(Effect.forkScoped)

  yield* Effect.addFinalizer(() =>
    Effect.flatMap(vhosts.list, Effect.forEach(({ lobby }) => lobby.dismissAll, { discard: true }))
  )
  return { port: server.port }
})

/**
 * The backend endpoint over ZeroMQ as a layer, on the configured `backendPort`.
 *
 * @since 0.1.0
 */
export const layerZmq: Layer.Layer<ZmqBackendEndpoint, ListenError, BrokerConfig | Vhosts> = Layer.effect(
  ZmqBackendEndpoint,
  Effect.flatMap(BrokerConfig, ({ backendPort }) => make(ZmqTransportServer.listen, backendPort))
)

/**
 * The backend endpoint over classic TCP as a layer, on the configured `tcpPort`.
 *
 * @since 0.1.0
 */
export const layerTcp: Layer.Layer<TcpBackendEndpoint, ListenError, BrokerConfig | Vhosts> = Layer.effect(
  TcpBackendEndpoint,
  Effect.flatMap(BrokerConfig, ({ tcpPort }) => make(TcpTransportServer.listen, tcpPort))
)

// Whether what it does is to outlast the broker, so that its answer has to wait for the store.
const outlasts = ({ _tag }: FromClient): boolean => kept.has(_tag)

const kept: ReadonlySet<FromClient["_tag"]> = new Set([
  "OpenChannel",
  "CloseChannel",
  "AccessToken",
  "ReplayDeadLetter",
  "ReplayDeadLetters",
  "DiscardDeadLetter",
  "DiscardDeadLetters"
])

/** What a Client asks. */
interface Answering {
  readonly backend: Backend
  readonly frames: Frames
  readonly command: FromClient
  readonly maxMessageSize: number
  /** Where it is counted and traced. */
  readonly context: Context.Context<never>
}

const carryOut = (
  { backend: { vhost }, command, context, frames, maxMessageSize }: Answering,
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

// Where the transport gives names, so that the Client can ask again.
const remembered = (
  answering: Answering,
  message: string | undefined
): Effect.Effect<FromServer, StatusError> => {
  if (message === undefined || !Idempotency.isName(message)) return carryOut(answering, undefined, "")
  const { backend, command } = answering
  if (backend.answers === undefined || backend.answers.isForgotten()) {
    backend.answers = backend.vhost.idempotency.connection(backend.id)
  }
  if (Repetition.isHarmless(command)) {
    backend.answers.meetUnsafe(message)
    return carryOut(answering, undefined, "")
  }
  return backend.answers.beginUnsafe(message) ?? carryOut(answering, backend.answers, message)
}

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

// What a Worker says moves it in the lobby.
const attend = (vhost: Vhost, peer: Peer, command: FromClient): Effect.Effect<void, StatusError> => {
  switch (command._tag) {
    case "Ready":
      return vhost.lobby.join(workerOf(peer, command.options))
    case "Heartbeat":
      return Effect.flatMap(
        vhost.lobby.heard(peer.identity, peer.connection),
        (known) => known ? Effect.void : dismiss(peer)
      )
    case "Acknowledge":
      return vhost.lobby.acknowledge(peer.identity, peer.connection, command.deliveries)
    case "Return":
      return vhost.lobby.giveBack(peer.identity, peer.connection, command.delivery, command.reason)
    case "Quit":
      return Effect.andThen(
        vhost.lobby.leave(peer.identity, peer.connection),
        peer.seesClose ? peer.close : dismiss(peer)
      )
    default:
      return Effect.fail(new BadRequestError({ detail: "a worker cannot ask this" }))
  }
}

// To a worker that says nothing of itself an event comes as the original sends it.
const workerOf = (peer: Peer, options: ReadyOptions | undefined): Worker => ({
  id: peer.identity,
  connection: peer.connection,
  lifecycle: options?.lifecycle === true,
  prefetch: options?.prefetch,
  maxAttempts: options?.maxAttempts ?? 1,
  deliverUnsafe: (json, origin, settled, delivery) =>
    peer.sendUnsafe(encodeTrigger(json, options && origin, delivery), settled),
  heartbeatUnsafe: () => peer.sendUnsafe(encodeFromServer(FromServer.Heartbeat())),
  dismiss: dismiss(peer)
})

const dismiss = (peer: Peer): Effect.Effect<void> => farewell(peer, FromServer.Quit())

const refuse = (peer: Peer, error: StatusError): Effect.Effect<void> =>
  farewell(peer, FromServer.Failure({ code: error.code }))

const farewell = (peer: Peer, last: FromServer): Effect.Effect<void> =>
  Effect.suspend(() => {
    peer.sendUnsafe(encodeFromServer(last))
    return peer.close
  })
