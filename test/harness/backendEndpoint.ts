/**
 * The endpoint of backends without sockets: a vhost `/test`, backends that send frames and browsers that send messages.
 * What one sends is handled when the effect that sends it ends, so that nothing is waited for but the test's clock.
 */
import { Context, Deferred, Effect, Logger, type Scope } from "effect"
import { expect } from "vitest"
import * as BackendEndpoint from "../../src/server/endpoint/BackendEndpoint.ts"
import * as BrowserSession from "../../src/server/endpoint/BrowserSession.ts"
import * as Vhosts from "../../src/server/engine/Vhosts.ts"
import { BrokerConfig } from "../../src/server/index.ts"
import type { Handlers, Peer } from "../../src/transport/TransportServer.ts"
import type { Browser } from "./Browser.ts"
import { settings } from "./engine.ts"
import { identity } from "./identity.ts"
import { token } from "./TestBroker.ts"

export type Frames = ReadonlyArray<string>

/** A backend of which the endpoint knows the identity. */
export interface Backend {
  readonly send: (...frames: Frames) => Effect.Effect<void>
  /** The next message to it. Dies if there is none. */
  readonly next: Effect.Effect<Frames>
  /** All other messages to it. */
  readonly rest: () => ReadonlyArray<Frames>
  readonly isClosed: () => boolean
  /** Its connection is lost. */
  readonly lose: Effect.Effect<void>
}

/** The endpoint of a test. */
export class Endpoint extends Context.Service<Endpoint, {
  readonly vhosts: Vhosts.Vhosts["Service"]
  readonly vhost: Vhosts.Vhost
  /** Connects a backend. If it does not see the end of its connection, it must be sent `QT`, as over ZeroMQ. */
  readonly connect: (who: string, options?: { readonly seesClose?: boolean }) => Effect.Effect<Backend>
  /** The response to a Client's request, on a connection of its own. */
  readonly request: (...frames: Frames) => Effect.Effect<Frames>
  /** Connects a browser, which is gone at the end of its scope. */
  readonly browser: Effect.Effect<Browser, never, Scope.Scope>
}>()("test/harness/Endpoint") {}

/** The endpoint of these vhosts, for its handlers. */
export const handlersOf = Effect.fnUntraced(
  function*(vhosts: Vhosts.Vhosts["Service"], options?: BrokerConfig.Options) {
    const handlers = yield* Deferred.make<Handlers>()
    yield* BackendEndpoint.make(
      () =>
        Effect.succeed({ port: 1, run: (given) => Effect.andThen(Deferred.succeed(handlers, given), Effect.never) }),
      1
    ).pipe(Effect.provideService(Vhosts.Vhosts, vhosts), Effect.provide(BrokerConfig.layer(options)))
    return yield* Deferred.await(handlers)
  }
)

const defaults: BrokerConfig.Options = {
  browsers: { broadcast: true, messageRate: Infinity, byteRate: Infinity },
  vhosts: [{ path: "/test", token, channels: ["room", "presence-room", "private-room"] }]
}

/** The vhost `/test` with its channels `room`, `presence-room` and `private-room`. */
export const makeVhosts = (options?: BrokerConfig.Options) =>
  Effect.provide(Vhosts.make, settings({ ...defaults, ...options }))

const make = Effect.fnUntraced(function*(options?: BrokerConfig.Options) {
  const vhosts = yield* makeVhosts(options)
  const vhost = yield* vhosts.get("/test")
  const handlers = yield* handlersOf(vhosts, options)
  const connect = (who: string, options?: { readonly seesClose?: boolean }) =>
    Effect.sync(() => connectTo(handlers, who, options?.seesClose ?? true))
  return Endpoint.of({
    vhosts,
    vhost,
    connect,
    request: (...frames) =>
      Effect.gen(function*() {
        const client = yield* connect(identity("req"))
        yield* client.send(...frames)
        const response = yield* client.next
        expect([client.rest(), client.isClosed()]).toEqual([[], true])
        return response
      }),
    browser: Effect.acquireRelease(
      Effect.sync(() => browserOf(vhost)),
      ({ end }) => end
    )
  })
})

/** Runs a test with an endpoint. A defect in it is logged, and fails the test. */
export const withEndpoint =
  (options?: BrokerConfig.Options) => <A, E>(test: Effect.Effect<A, E, Endpoint | Scope.Scope>) =>
    Effect.suspend(() => {
      const defects: Array<unknown> = []
      const logger = Logger.make(({ cause, logLevel, message }) => {
        if (logLevel === "Error" || logLevel === "Fatal") defects.push(message, ...cause.reasons)
      })
      return Effect.flatMap(Effect.orDie(make(options)), (endpoint) => Effect.provideService(test, Endpoint, endpoint))
        .pipe(
          Effect.scoped,
          Effect.provide(Logger.layer([logger])),
          Effect.tap(() => Effect.sync(() => expect(defects).toEqual([])))
        )
    })

const connectTo = (handlers: Handlers, who: string, seesClose: boolean): Backend => {
  const received: Array<Frames> = []
  let state: "new" | "authorized" | "closed" = "new"
  const close = Effect.sync(() => {
    state = "closed"
  })
  const peer: Peer = {
    identity: who,
    connection: {},
    seesClose,
    sendUnsafe: (frames, settled) => {
      const isOpen = state !== "closed"
      if (isOpen) received.push(frames)
      settled?.(isOpen)
      return isOpen
    },
    separateUnsafe: () => {},
    close: who.startsWith("req") ? close : Effect.void,
    disconnect: close
  }
  const authorize = Effect.gen(function*() {
    const rejection = yield* handlers.authorize?.(peer) ?? Effect.succeed(undefined)
    if (rejection === undefined) return void (state = "authorized")
    received.push(rejection)
    state = "closed"
  })
  return {
    send: (...frames) =>
      Effect.gen(function*() {
        if (state === "new") yield* authorize
        if (state === "authorized") yield* handlers.onMessage(peer, frames) ?? Effect.void
      }),
    next: taken("a backend", received),
    rest: () => received.splice(0),
    isClosed: () => state === "closed",
    lose: Effect.andThen(close, handlers.onClose(peer))
  }
}

const browserOf = (vhost: Vhosts.Vhost) => {
  const received: Array<Record<string, unknown>> = []
  const closed = Deferred.makeUnsafe<number>()
  const sid = crypto.randomUUID()
  const end = (code: number) => Effect.andThen(Deferred.succeed(closed, code), session.end(false))
  const session = BrowserSession.make(vhost, {
    sid,
    version: 0,
    sendUnsafe: (message) => void received.push(JSON.parse(message)),
    closeUnsafe: (code) => Effect.runSync(Effect.asVoid(end(code)))
  })
  const next = taken("a browser", received)
  const nextOf = (event: string): Effect.Effect<unknown> =>
    Effect.flatMap(next, (message) => Object.hasOwn(message, event) ? Effect.succeed(message[event]) : nextOf(event))
  received.splice(0)
  return {
    sid,
    end: session.end(false),
    next,
    nextOf,
    closed: Deferred.await(closed),
    send: (message: unknown) =>
      Effect.flatMap(
        session.handle(typeof message === "string" ? message : JSON.stringify(message)),
        (goesOn) => goesOn ? Effect.void : end(1000)
      )
  }
}

const taken = <A>(who: string, received: Array<A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    const first = received.shift()
    return first === undefined ? Effect.die(new Error(`${who} has received nothing more`)) : Effect.succeed(first)
  })

/** Connects a backend. */
export const connect = (who: string, options?: { readonly seesClose?: boolean }) =>
  Endpoint.use((endpoint) => endpoint.connect(who, options))

/** The response to a Client's request, on a connection of its own. */
export const request = (...frames: Frames) => Endpoint.use((endpoint) => endpoint.request(...frames))

/** Connects a browser. */
export const connectBrowser = Endpoint.use(({ browser }) => browser)

/** How many events are queued, and the workers. */
export const lobby = Endpoint.use(({ vhost }) => vhost.lobby.info)

/** Enqueues an event. */
export const enqueue = (json: string) => Endpoint.use(({ vhost }) => vhost.lobby.enqueue(json))

/** A worker that does not ack, after its first heartbeat. */
export const worker = Effect.fnUntraced(function*(who = identity("dlr"), ...options: Frames) {
  const self = yield* connect(who)
  yield* self.send("RD", ...options)
  expect(yield* self.next).toEqual(["HB"])
  yield* self.send("HB")
  return self
})

/** A worker that acks, with two attempts for each event. */
export const ackingWorker = Effect.fnUntraced(function*(prefetch: number, who = identity("dlr")) {
  const self = yield* connect(who)
  yield* self.send("RD", "ack", String(prefetch), `{"lifecycle":false,"maxAttempts":2}`)
  expect(yield* self.next).toEqual(["HB"])
  return self
})
