/**
 * The endpoint of backends: Clients that send requests and Workers that take events, over ZeroMQ and over classic TCP.
 *
 * A connection is authorized by its identity before its messages are read. Every message is decoded and executed, and gets a
 * response, an error its status code. A Client's connection is closed after its response unless it is for more requests.
 * Workers are registered in the vhost's lobby, which sends heartbeats and expires them. When the endpoint ends, it dismisses
 * its workers.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { decodeFromClient } from "../../protocol/CommandCodec.ts"
import type { Frames } from "../../protocol/Frame.ts"
import { BadRequestError, InternalError, type StatusError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import * as TcpTransportServer from "../../transport/TcpTransportServer.ts"
import type { Handlers, Listen, ListenError, Peer } from "../../transport/TransportServer.ts"
import * as ZmqTransportServer from "../../transport/ZmqTransportServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import { Vhosts } from "../engine/Vhosts.ts"
import { Certificate } from "./Certificate.ts"
import * as Authenticator from "./internal/authenticator.ts"
import * as ClientEvents from "./internal/clientEvents.ts"
import * as ClientSession from "./internal/clientSession.ts"
import * as EventLoopMetrics from "./internal/eventLoopMetrics.ts"
import { encode, reject, supportsExtensions } from "./internal/response.ts"
import * as WorkerSession from "./internal/workerSession.ts"
import { ServerKey } from "./ServerKey.ts"

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

/**
 * Binds a backend endpoint and serves it until the scope ends.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  listen: Listen,
  port: number,
  accepts: ServerKey["Service"]["accepts"] = () => true
): Effect.fn.Return<{ readonly port: number }, ListenError, BrokerConfig | Vhosts | Scope.Scope> {
  const config = yield* BrokerConfig
  const vhosts = yield* Vhosts
  const server = yield* listen({
    host: config.host,
    port,
    maxMessageSize: config.maxMessageSize,
    outboxSize: config.backends.outboxSize,
    maxConnections: config.backends.max,
    shutdownTimeout: config.shutdownTimeout
  })
  yield* EventLoopMetrics.register
  const authenticator = Authenticator.make(vhosts)
  yield* vhosts.onTokenRemoved((token) => disconnectAll(authenticator.withToken(token)))
  const guarded = guardedBy(authenticator)
  const request = ClientSession.make({
    guarded,
    maxMessageSize: config.maxMessageSize,
    context: yield* Effect.context<never>(),
    scope: yield* Effect.scope
  })
  const handlers = handlersOf(authenticator, guarded, request, accepts)
  yield* server.run(handlers).pipe(
    Effect.catchCause((cause) =>
      Effect.logFatal("The endpoint of backends has failed and no longer serves anybody", Cause.squash(cause))
    ),
    Effect.forkScoped
  )
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(
      vhosts.list,
      Effect.forEach(({ lobby }) => lobby.dismissWhere(({ connection }) => authenticator.has(connection)), {
        discard: true
      })
    )
  )
  return { port: server.port }
})

// Their events are redelivered. A token is of one vhost.
const disconnectAll = (backends: ReadonlyArray<Authenticator.Backend>): Effect.Effect<void> => {
  const connections = new Set(backends.map(({ connection }) => connection))
  const dismissed = backends[0]?.vhost.lobby.dismissWhere(({ connection }) => connections.has(connection)) ??
    Effect.void
  const disconnected = Effect.forEach(backends, ({ disconnect }) => disconnect, {
    concurrency: "unbounded",
    discard: true
  })
  return Effect.andThen(dismissed, disconnected)
}

/** Sends the error with which a message fails. */
type Guarded = (peer: Peer, rest: Effect.Effect<void, StatusError>) => Effect.Effect<void>

// A defect fails one message, not the endpoint.
const guardedBy = (authenticator: Authenticator.Authenticator): Guarded => {
  const failed = (peer: Peer, error: StatusError): Effect.Effect<void> =>
    reject(peer, error, supportsExtensions(peer) || authenticator.find(peer)?.supportsExtensions === true)
  return (peer, rest) =>
    rest.pipe(
      Effect.catch((error) => failed(peer, error)),
      Effect.catchDefect((defect) => Effect.andThen(logDefect(defect), failed(peer, brokerFailed)))
    )
}

const makeOnMessage = (authenticator: Authenticator.Authenticator, request: ClientSession.Handle) => {
  const handle = (
    backend: Authenticator.Backend,
    peer: Peer,
    frames: Frames
  ): Effect.Effect<void, StatusError> | undefined => {
    if (backend.kind === "req") return request(backend, peer, frames)
    const command = decodeFromClient(frames)
    return Result.isFailure(command)
      ? Effect.fail(command.failure)
      : WorkerSession.handle(backend, peer, command.success)
  }
  return (peer: Peer, frames: Frames | undefined): Effect.Effect<void, StatusError> | undefined => {
    if (frames === undefined) return Effect.fail(new BadRequestError({ detail: "the message cannot be read" }))
    const backend = authenticator.find(peer)
    return backend === undefined
      ? Effect.flatMap(authenticator.authorize(peer), (backend) => handle(backend, peer, frames) ?? Effect.void)
      : handle(backend, peer, frames)
  }
}

const handlersOf = (
  authenticator: Authenticator.Authenticator,
  guarded: Guarded,
  request: ClientSession.Handle,
  accepts: ServerKey["Service"]["accepts"]
): Handlers => {
  const onMessage = makeOnMessage(authenticator, request)
  return {
    authorize: (peer) =>
      (accepts(peer.key) ? authenticator.authorize(peer) : Effect.fail(keyRefused)).pipe(
        Effect.as(undefined),
        Effect.catch((error) => Effect.succeed(framesOf(error))),
        Effect.catchDefect((defect) => Effect.as(logDefect(defect), framesOf(brokerFailed)))
      ),
    onMessage: (peer, frames) => {
      const rest = Result.try(() => onMessage(peer, frames))
      if (Result.isFailure(rest)) return guarded(peer, Effect.die(rest.failure))
      return rest.success && guarded(peer, rest.success)
    },
    onClose: (peer) =>
      Effect.suspend(() => {
        const backend = authenticator.remove(peer)
        ClientEvents.end(backend?.running)
        return backend?.kind === "dlr" ? backend.vhost.lobby.leave(peer.identity, peer.connection) : Effect.void
      })
  }
}

const logDefect = (defect: unknown) => Effect.logError("A backend's message was not handled", defect)

const keyRefused = new UnauthorizedError({ detail: "the key of the backend is not accepted" })

const brokerFailed = new InternalError({ detail: "the broker failed" })

// It is unknown whether an unauthorized connection supports extensions.
const framesOf = ({ code }: StatusError): Frames => encode({ _tag: "Failure", code }, false)

// With a certificate either port speaks TLS, too, and with a key CURVE.
const makeEncrypted = Effect.fnUntraced(function*(listen: Listen, port: number) {
  const { decrypt } = yield* Certificate
  const { accepts, curve } = yield* ServerKey
  return yield* make((options) => listen({ ...options, decrypt, curve }), port, accepts)
})

type Needed = BrokerConfig | Certificate | ServerKey | Vhosts

/**
 * The backend endpoint over ZeroMQ as a layer, on the configured `backendPort`.
 *
 * @since 0.1.0
 */
export const layerZmq: Layer.Layer<ZmqBackendEndpoint, ListenError, Needed> = Layer.effect(
  ZmqBackendEndpoint,
  Effect.gen(function*() {
    const { backendPort } = yield* BrokerConfig
    return yield* makeEncrypted(ZmqTransportServer.listen, backendPort)
  })
)

/**
 * The backend endpoint over classic TCP as a layer, on the configured `tcpPort`.
 *
 * @since 0.1.0
 */
export const layerTcp: Layer.Layer<TcpBackendEndpoint, ListenError, Needed> = Layer.effect(
  TcpBackendEndpoint,
  Effect.gen(function*() {
    const { tcpPort } = yield* BrokerConfig
    return yield* makeEncrypted(TcpTransportServer.listen, tcpPort)
  })
)
