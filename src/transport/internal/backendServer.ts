/**
 * The server of backends' connections, for every protocol: it accepts connections, limits their number, and closes those that
 * do not authenticate in time.
 *
 * A connection has five seconds to show a valid access token and, unless it is a Client's that stays open, to send a first
 * whole message. The time counts while it is waited for, not while a message is handled. If there are as many connections
 * as there may be, or no file descriptor is left, the one that has waited longest without a token makes room for the next,
 * so that strangers cannot lock others out.
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as net from "node:net"
import { TransientMap } from "../../protocol/TransientMap.ts"
import type { CurveServer } from "../CurveServer.ts"
import * as Strangers from "../Strangers.ts"
import type { Decrypt } from "../TlsServer.ts"
import { checkPort, type Handlers, type Listen, ListenError } from "../TransportServer.ts"
import { type BackendConnection, type Host, serve } from "./backendConnection.ts"
import * as Warnings from "./warnings.ts"

/** How long a connection may take until it is established, in nanoseconds. */
const handshakeTimeout = 5_000_000_000n

/** Binds a server for the scope. `endpoint` names it in errors and warnings. */
export const listen = (endpoint: string): Listen =>
  Effect.fnUntraced(function*(options) {
    yield* checkPort(endpoint, options.host, options.port)
    let accept = (socket: net.Socket): void => void socket.destroy()
    // Connections that are accepted before the server runs wait for it.
    const early: Array<net.Socket> = []
    const maxConnections = options.maxConnections ?? 4096
    const server = yield* bind(endpoint, options, (socket) => accept(socket))
    yield* Effect.addFinalizer(() => Effect.sync(() => early.forEach((socket) => socket.destroy())))
    accept = (socket) => {
      if (early.length >= maxConnections) return void socket.destroy()
      early.push(socket.on("error", () => undefined).pause())
    }
    const address = server.address()
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      run: Effect.fnUntraced(function*(handlers) {
        const connections = yield* makeConnections({ ...options, handlers, maxConnections, endpoint })
        server.on("error", connections.onError)
        accept = connections.accept
        for (const socket of early.splice(0)) accept(socket.resume())
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            accept = (socket) => void socket.destroy()
            server.off("error", connections.onError)
          })
        )
        return yield* connections.sweep
      }, Effect.scoped)
    }
  })

const bind = (
  endpoint: string,
  options: { readonly host: string; readonly port: number },
  onConnection: (socket: net.Socket) => void
) =>
  Effect.acquireRelease(
    Effect.callback<net.Server, ListenError>((resume) => {
      const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 }, onConnection)
      server.once("error", (cause) => resume(Effect.fail(new ListenError({ ...options, endpoint, cause }))))
      server.listen(options.port, options.host, () => {
        server.removeAllListeners("error")
        server.on("error", () => undefined)
        resume(Effect.succeed(server))
      })
      return Effect.sync(() => void server.close())
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )

// All connections of one run. At its end they are closed; those that do not end in time are destroyed.
const makeConnections = Effect.fnUntraced(function*(options: {
  readonly endpoint: string
  readonly handlers: Handlers
  readonly maxMessageSize: number
  readonly maxConnections: number
  readonly outboxSize?: number | undefined
  readonly decrypt?: Decrypt | undefined
  readonly curve?: CurveServer | undefined
  readonly shutdownTimeout?: Duration.Duration | undefined
}) {
  const clock = yield* Clock.Clock
  const fork = yield* makeFork
  const warnUnsafe = Warnings.make(clock, fork)
  const open = new Set<BackendConnection>()
  const byIdentity = new Map<string, BackendConnection>()
  const pending = makePending(clock)
  const isEmpty = Latch.makeUnsafe(true)

  const host: Host = {
    ...options,
    outboxSize: options.outboxSize ?? 16 * 1_048_576,
    fork,
    warnUnsafe,
    onEstablished: pending.remove,
    takeOver: (identity, connection) => {
      const earlier = byIdentity.get(identity)
      byIdentity.set(identity, connection)
      return earlier
    },
    onEnd: (connection, identity) => {
      open.delete(connection)
      pending.remove(connection)
      if (identity !== undefined && byIdentity.get(identity) === connection) byIdentity.delete(identity)
      if (open.size === 0) isEmpty.openUnsafe()
    }
  }
  const accept = (socket: net.Socket): void => {
    if (open.size >= options.maxConnections) {
      const oldest = pending.oldest()
      warnUnsafe(`There are ${open.size} connections for ${options.endpoint}, which is the limit`)
      if (oldest === undefined) return void socket.destroy()
      pending.remove(oldest)
      oldest.destroyUnsafe()
    }
    const connection = serve(socket, host)
    open.add(connection)
    isEmpty.closeUnsafe()
    pending.add(connection)
    if (Strangers.makeRoom()) {
      warnUnsafe(`A connection was closed to make room for one for ${options.endpoint}. ${Strangers.advice}`)
    }
  }
  yield* Effect.addFinalizer(() => closeAll(open, isEmpty, options.shutdownTimeout ?? "5 seconds"))
  return {
    accept,
    sweep: pending.sweep,
    onError: ({ message }: Error) => warnUnsafe(`Connections for ${options.endpoint} cannot be accepted: ${message}`)
  }
})

const closeAll = (open: ReadonlySet<BackendConnection>, isEmpty: Latch.Latch, timeout: Duration.Input) =>
  Effect.suspend(() => {
    for (const connection of open) connection.closeUnsafe()
    return isEmpty.await
  }).pipe(
    Effect.timeoutOption(timeout),
    Effect.andThen(Effect.sync(() => {
      for (const connection of open) connection.destroyUnsafe()
    }))
  )

// The connections that are not established yet, and since when, the oldest first.
const makePending = (clock: Clock.Clock) => {
  const pending = new Map<BackendConnection, bigint>()
  const hasPending = Latch.makeUnsafe()
  const remove = (connection: BackendConnection): void => {
    if (pending.delete(connection)) Strangers.remove(connection)
  }
  return {
    add: (connection: BackendConnection): void => {
      pending.set(connection, clock.monotonicTimeNanosUnsafe())
      hasPending.openUnsafe()
      Strangers.add(connection, connection.destroyUnsafe)
    },
    remove,
    oldest: (): BackendConnection | undefined => {
      const [oldest] = pending.keys()
      return oldest
    },
    /** Closes those that take too long. */
    sweep: Effect.suspend((): Effect.Effect<void> => {
      for (const [connection, since] of pending) {
        const left = since + handshakeTimeout - clock.monotonicTimeNanosUnsafe()
        if (left > 0n) return Effect.sleep(Duration.nanos(left))
        remove(connection)
        connection.destroyUnsafe()
      }
      hasPending.closeUnsafe()
      return hasPending.await
    }).pipe(Effect.forever)
  }
}

// Forks effects; their fibers are interrupted when the scope ends.
const makeFork = Effect.gen(function*() {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const running = new TransientMap<number, Fiber.Fiber<void>>()
  yield* Effect.addFinalizer(() => Effect.suspend(() => Fiber.interruptAll([...running.values()])))
  return (effect: Effect.Effect<void>): Fiber.Fiber<void> => {
    const fiber = run(effect)
    if (fiber.pollUnsafe() !== undefined) return fiber
    running.set(fiber.id, fiber)
    fiber.addObserver(() => void running.delete(fiber.id))
    return fiber
  }
})
