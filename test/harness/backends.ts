/**
 * Backends with nothing of the library in them: bare ZeroMQ sockets and TCP connections to a real broker.
 */
import { type Cause, Effect, type Scope } from "effect"
import { expect } from "vitest"
import * as Browser from "./Browser.ts"
import { identity } from "./identity.ts"
import * as RawTcp from "./RawTcp.ts"
import * as RawZmq from "./RawZmq.ts"
import { TestBroker } from "./TestBroker.ts"

export type Frames = ReadonlyArray<string>

export interface Backend {
  /** Sends a command, with the identity if that is needed. */
  readonly send: (...frames: Frames) => Effect.Effect<void>
  /** The next message of the broker: the command and its arguments. */
  readonly next: Effect.Effect<Frames, Cause.Done>
}

/** Connects a backend to the broker of the test. */
export type Connect = (who: string) => Effect.Effect<Backend, never, TestBroker | Scope.Scope>

// A response without arguments carries one empty frame.
const framesOf = (message: string): Frames => {
  const frames = message.slice(0, -"\n\r\n\r\n".length).split("\n")
  return frames.length === 2 && frames[1] === "" ? frames.slice(0, 1) : frames
}

/** A TCP connection of this identity. */
export const tcp = Effect.fnUntraced(function*(who: string) {
  const { broker } = yield* TestBroker
  const connection = yield* RawTcp.connect(broker.tcpPort)
  let envelope: Frames = [who, ""]
  return {
    connection,
    send: (...frames: Frames) =>
      Effect.suspend(() => {
        const message = RawTcp.message(...envelope, ...frames)
        envelope = []
        return connection.send(message)
      }),
    next: Effect.map(connection.next, framesOf)
  }
})

/** A DEALER socket of this identity. */
export const zmq = Effect.fnUntraced(function*(who: string) {
  const { broker } = yield* TestBroker
  const dealer = yield* RawZmq.dealer(broker.backendPort, who)
  const backend: Backend = {
    send: (...frames) => dealer.send("", ...frames),
    next: Effect.map(dealer.next, ([delimiter, ...frames]) => {
      expect(delimiter).toBe("")
      return frames
    })
  }
  return backend
})

export const transports: ReadonlyArray<{ readonly name: string; readonly connect: Connect }> = [
  { name: "ZeroMQ", connect: zmq },
  { name: "TCP", connect: tcp }
]

/** The response to one request, on a connection of its own. */
export const requestOver = (connect: Connect) => (...frames: Frames) =>
  Effect.scoped(Effect.gen(function*() {
    const backend = yield* connect(identity("req"))
    yield* backend.send(...frames)
    return yield* backend.next
  }))

/** Asserts that the broker still serves both transports. */
export const stillServes = Effect.forEach(transports, ({ connect }) =>
  Effect.gen(function*() {
    expect(yield* requestOver(connect)("OC", "room")).toEqual(["OK"])
  }))

/** How many events are queued, and the workers. */
export const lobby = TestBroker.use(({ vhost }) => vhost.lobby.info)

/** Enqueues an event. */
export const enqueue = (json: string) => TestBroker.use(({ vhost }) => vhost.lobby.enqueue(json))

/** The text of an event. */
export const event = (n: number) => `{"e":{"n":${n}}}`

/** Connects a browser. */
export const connectBrowser = TestBroker.use(({ urls }) => Browser.connect(urls.websocket))

/** A worker that does not ack, after its first heartbeat. */
export const worker = (connect: Connect, who = identity("dlr")) =>
  Effect.gen(function*() {
    const backend = yield* connect(who)
    yield* backend.send("RD")
    expect(yield* backend.next).toEqual(["HB"])
    yield* backend.send("HB")
    return backend
  })

/** Waits until the broker has handled everything that a worker has sent. */
export const allHandled = (worker: Backend) =>
  Effect.gen(function*() {
    yield* worker.send("HB")
    expect(yield* worker.next).toEqual(["HB"])
  })

/** A worker that acks, with two attempts for each event. */
export const ackingWorker = (connect: Connect, prefetch: number, who = identity("dlr")) =>
  Effect.gen(function*() {
    const backend = yield* connect(who)
    yield* backend.send("RD", "ack", String(prefetch), `{"lifecycle":false,"maxAttempts":2}`)
    expect(yield* backend.next).toEqual(["HB"])
    return backend
  })

/** Asserts that the next message is this event, and returns the id of the delivery. */
export const delivery = <E>(self: { readonly next: Effect.Effect<Frames, E> }, json: string, attempt: number) =>
  Effect.map(self.next, (frames) => {
    expect(frames).toEqual(["TR", json, expect.stringMatching(/^[0-9a-f]{12}-[0-9a-z]+$/), String(attempt)])
    return frames[2]!
  })

/** The numbers of the events that a worker receives from now on. */
export const numbersReceived = Effect.fnUntraced(function*(self: Backend) {
  const numbers: Array<number> = []
  yield* Effect.map(self.next, ([_, json]) => numbers.push((JSON.parse(json!) as { e: { n: number } }).e.n)).pipe(
    Effect.forever,
    Effect.forkScoped
  )
  return numbers
})
