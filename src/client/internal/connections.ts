/**
 * The connections of a pipeline, one after the other: each is opened when a request needs one.
 */

import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  ConnectionTimeoutError
} from "../../protocol/KosmonautError.ts"
import type { Connection, Transport } from "../../transport/Transport.ts"
import * as Exchange from "./exchange.ts"
import * as SingleConnections from "./singleConnections.ts"

/** The options of the connections. */
export interface Options extends Omit<Exchange.Options, "address" | "onSilence"> {
  readonly transport: Transport["Service"]
  readonly endpoint: Endpoint
}

/** The connections of a pipeline, and the exchange on them. */
export interface Connections {
  readonly exchange: Exchange.Exchange
  /** Where requests are sent now, if there is a connection. */
  readonly outlet: () => Exchange.Outlet | undefined
  /** Opens a connection. Callers that come meanwhile share the outcome, and may leave without harm to the others. */
  readonly connect: Effect.Effect<Exchange.Outlet, ConnectionError>
  /** Whether the broker has shown so far that it is a Kosmonaut broker. */
  readonly isKosmonaut: () => boolean
}

/** Makes them, without a connection. When the scope ends, all requests fail. */
export const make = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<Connections, never, Scope.Scope> {
    const { address } = options.endpoint
    const state: State = { current: undefined, opening: undefined, isClosed: false, isKosmonaut: false }
    const scope = yield* Effect.scope
    const exchange = yield* Exchange.make({
      ...options,
      address,
      // The connection is of no use any more, even if somebody is there. Single connections time out with their request.
      onSilence: Effect.suspend(() => {
        const timedOut = state.current?.scope
        if (timedOut === undefined) return Effect.void
        end(self, Cause.fail(failure(ConnectionTimeoutError, address)))
        return Effect.forkIn(Scope.close(timedOut, Exit.void), scope)
      })
    })
    const self: Self = { options, state, exchange, scope }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        const cause = Cause.fail(failure(ConnectionClosedError, address, clientClosed))
        state.isClosed = true
        end(self, cause)
        // Callers that wait for a connection that will not be.
        if (state.opening !== undefined) Deferred.doneUnsafe(state.opening, Exit.failCause(cause))
      })
    )
    return {
      exchange,
      outlet: () => state.current?.outlet,
      connect: connect(self),
      isKosmonaut: () => state.isKosmonaut ||= state.current?.outlet.isKosmonaut() === true
    }
  }
)

interface State {
  current: { readonly outlet: Exchange.Outlet; readonly scope: Scope.Closeable | undefined } | undefined
  opening: Deferred.Deferred<Exchange.Outlet, ConnectionError> | undefined
  isClosed: boolean
  isKosmonaut: boolean
}

interface Self {
  readonly options: Options
  readonly state: State
  readonly exchange: Exchange.Exchange
  readonly scope: Scope.Scope
}

const connect = (self: Self): Effect.Effect<Exchange.Outlet, ConnectionError> =>
  Effect.suspend(() => {
    const { options, scope, state } = self
    if (state.isClosed) return Effect.fail(failure(ConnectionClosedError, options.endpoint.address, clientClosed))
    if (state.opening !== undefined) return Deferred.await(state.opening)
    const outcome = Deferred.makeUnsafe<Exchange.Outlet, ConnectionError>()
    state.opening = outcome
    return Effect.exit(open(self)).pipe(
      Effect.map((exit) => {
        state.opening = undefined
        Deferred.doneUnsafe(outcome, exit)
      }),
      Effect.forkIn(scope),
      Effect.andThen(Deferred.await(outcome))
    )
  })

const open = Effect.fnUntraced(function*(self: Self) {
  const { options, scope, state } = self
  const own = yield* Scope.fork(scope)
  const connection = yield* Scope.provide(options.transport.connect(options.endpoint, { kind: "req" }), own).pipe(
    Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
  )
  if (!connection.pipelines) {
    state.isKosmonaut = false
    yield* Scope.close(own, Exit.void)
    return attach(self, yield* Scope.provide(singleConnections(self), scope), undefined)
  }
  attach(self, connection, own)
  yield* readAll(connection, self.exchange).pipe(
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        if (state.current?.outlet === connection) end(self, causeOf(cause, options.endpoint.address))
      })
    ),
    Effect.ensuring(Scope.close(own, Exit.void)),
    Effect.forkIn(scope)
  )
  return connection
})

const readAll = Effect.fnUntraced(function*({ pull }: Connection, { respond }: Exchange.Exchange) {
  for (;;) yield* respond(yield* pull)
})

const singleConnections = ({ exchange, options: { endpoint, transport } }: Self) =>
  SingleConnections.make({
    connect: transport.connect(endpoint, { kind: "req", pipelines: false }),
    maxConnections: transport.maxConnections,
    onResponse: (envelope, frames) => exchange.respond([{ envelope, frames }]),
    onFailure: exchange.failUnsafe
  })

const attach = (self: Self, outlet: Connection | Exchange.Outlet, scope: Scope.Closeable | undefined) => {
  self.state.current = { outlet, scope }
  self.exchange.attachUnsafe(outlet)
  return outlet
}

// A defect fails all requests; otherwise those that were not sent fail as such.
const end = ({ exchange, options, state }: Self, cause: Cause.Cause<ConnectionError>): void => {
  state.isKosmonaut ||= state.current?.outlet.isKosmonaut() === true
  state.current = undefined
  const isFinal = state.isClosed || Cause.hasDies(cause)
  const { address } = options.endpoint
  exchange.endUnsafe(cause, isFinal ? cause : Cause.fail(failure(ConnectionRefusedError, address, lostBefore)))
}

const failure = (
  Reason: typeof ConnectionClosedError | typeof ConnectionRefusedError | typeof ConnectionTimeoutError,
  address: string,
  cause?: unknown
) => new ConnectionError({ reason: new Reason({ address, cause }) })

const clientClosed = new Error("the client was closed")

const lostBefore = new Error("the connection was lost before the request was sent")

// Why a connection has ended; a defect stays one.
const causeOf = (cause: Cause.Cause<unknown>, address: string): Cause.Cause<ConnectionError> => {
  const defect = cause.reasons.find(Cause.isDieReason)
  if (defect !== undefined) return Cause.die(defect.defect)
  const error = Cause.squash(cause)
  return Cause.fail(error instanceof ConnectionError ? error : failure(ConnectionClosedError, address, error))
}
