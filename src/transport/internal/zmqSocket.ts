/**
 * ZeroMQ sockets as this library needs them.
 *
 * A socket is scoped, returns its messages in batches with backpressure (at most `inboxLimit` are in memory, the rest in
 * ZeroMQ and then at the peer) and sends in order, one at a time. A pull may be interrupted without losing a message.
 *
 * zeromq.js has rules that shape this file: there is one pending `receive` for a socket's whole life, ended by `close`
 * alone; overlapping sends fail; a socket that is never closed keeps the process alive.
 */

import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import dns, { type LookupAddress } from "node:dns"
import type * as Zmq from "zeromq"
import * as ZeroMqModule from "./zeromqModule.ts"
import { ZmqError } from "./zeromqModule.ts"

/** A message as ZeroMQ returns it: at least one frame. */
export type RawFrames = ReadonlyArray<Uint8Array>

/** An open socket; closed with its scope. */
export interface ZmqSocket {
  /** The next messages. Fails once the connection has ended, after all messages that arrived before. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<RawFrames>, ZmqError>
  /** Sends a message after those before. `settled` is called later, without an error if ZeroMQ has accepted the message. */
  readonly sendUnsafe: (frames: Array<string | Uint8Array>, settled?: Settled) => void
}

/** Called when a message was sent, or with the error if it was not. */
export type Settled = (error: ZmqError | undefined) => void

/** How many messages are received before they are pulled. */
const inboxLimit = 1000

// Long enough to pass the last messages to the system, short enough not to be noticed at exit.
const linger = 250

/**
 * The system notices if a peer is gone that did not close its connection. ZeroMQ has heartbeats of its own, but it aborts the
 * process when one is due on a connection that is lost while its reader is behind (libzmq 4.3.5).
 */
const keepAlive = { tcpKeepalive: 1, tcpKeepaliveIdle: 10, tcpKeepaliveInterval: 5, tcpKeepaliveCount: 3 }

/** How long a connection may take to shake hands, in milliseconds. */
const handshakeInterval = 5000

/**
 * How many messages ZeroMQ accepts before the broker has read any of them. Further ones stay unsent, where they can be
 * cancelled.
 */
const sendHighWaterMark = 16

/** The options of a DEALER socket. */
interface DealerOptions {
  readonly host: string
  readonly port: number
  readonly routingId: string
  readonly maxMessageSize: number
  readonly openTimeout: Duration.Duration
  /** Keys for CURVE, as ZeroMQ writes them; without them nothing is encrypted. */
  readonly curve: CurveOptions | undefined
}

/** The broker's public key, and the own pair; without that the socket makes one. */
export interface CurveOptions {
  readonly serverKey: string
  readonly own: { readonly publicKey: string; readonly secretKey: string } | undefined
}

/**
 * A DEALER socket with one connection to `host`: it is opened here, and once lost the socket has ended. ZeroMQ's own
 * reconnecting is switched off. Each address of the host is tried in turn, all within `openTimeout`.
 */
export const dealer = Effect.fnUntraced(function*(
  options: DealerOptions
): Effect.fn.Return<ZmqSocket, ZmqError, Scope.Scope> {
  const scope = yield* Effect.scope
  const open = Effect.gen(function*() {
    const addresses = yield* lookup(options.host)
    // One that does not answer leaves time for the others.
    const share = Duration.divideUnsafe(options.openTimeout, Math.max(1, addresses.length))
    return yield* Effect.firstSuccessOf(addresses.map((address) => openAt(address, options, scope, share)))
  })
  return yield* timed(open, options.openTimeout)
})

// A name may have IPv6 addresses, IPv4 addresses or both, and a broker may listen on one of them only.
const lookup = (host: string): Effect.Effect<ReadonlyArray<LookupAddress>, ZmqError> =>
  Effect.callback((resume) => {
    dns.lookup(host.replace(/^\[|\]$/g, ""), { all: true, verbatim: true }, (error, addresses) => {
      resume(error === null ? Effect.succeed(addresses) : Effect.fail(new ZmqError({ code: codeOf(error) })))
    })
  })

const openAt = Effect.fnUntraced(function*(
  { address, family }: LookupAddress,
  options: DealerOptions,
  scope: Scope.Scope,
  timeout: Duration.Duration
) {
  const own = yield* Scope.fork(scope)
  return yield* connect(family === 6 ? `[${address}]` : address, options).pipe(
    Scope.provide(own),
    (connecting) => timed(connecting, timeout),
    Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
  )
})

const connect = Effect.fnUntraced(function*(host: string, options: DealerOptions) {
  const opened = yield* acquire(({ Dealer, curveKeyPair }) =>
    new Dealer({
      ...options.curve !== undefined && curveOf(options.curve, curveKeyPair),
      routingId: options.routingId,
      // What is encrypted is a little larger.
      maxMessageSize: options.maxMessageSize + (options.curve === undefined ? 0 : 64),
      sendHighWaterMark,
      // Never again by itself. Not -1: ZeroMQ would then throw away what it has received and we have not yet read.
      reconnectInterval: 2 ** 31 - 1,
      ipv6: host.startsWith("["),
      linger,
      handshakeInterval,
      ...keepAlive
    })
  )
  yield* Effect.callback<void, ZmqError>((resume) => {
    opened.onEvent((type) => {
      const code = endings.get(type)
      if (type === "handshake") resume(Effect.void)
      if (code === undefined) return
      resume(Effect.fail(new ZmqError({ code })))
      opened.endUnsafe(code)
    })
    // An address that cannot be used is reported by an exception.
    opened.socket.connect(`tcp://${host}:${options.port}`)
  }).pipe(Effect.catchDefect((cause) => Effect.fail(new ZmqError({ code: codeOf(cause) }))))
  return opened
})

/** The events after which there is no connection. */
const endings = new Map<Zmq.EventType, string>([
  ["close", "ECONNREFUSED"],
  ["disconnect", "ECONNRESET"],
  ["handshake:error:auth", "EACCES"],
  ["handshake:error:protocol", "EPROTO"],
  ["handshake:error:other", "EPROTO"]
])

const curveOf = ({ own, serverKey }: CurveOptions, generate: ZeroMqModule.ZeroMq["curveKeyPair"]) => {
  const { publicKey, secretKey } = own ?? generate()
  return { curveServerKey: serverKey, curvePublicKey: publicKey, curveSecretKey: secretKey }
}

const timed = <A, R>(open: Effect.Effect<A, ZmqError, R>, duration: Duration.Duration) =>
  Effect.timeoutOrElse(open, { duration, orElse: () => Effect.fail(new ZmqError({ code: "ETIMEDOUT" })) })

interface Opened extends ZmqSocket {
  readonly socket: Zmq.Dealer
  /** From now on calls this with each event of the socket. */
  readonly onEvent: (listener: (type: Zmq.EventType) => void) => void
  /** Ends the pulls with this code, after what ZeroMQ has already received. */
  readonly endUnsafe: (code: string) => void
  /** Waits until all messages were sent. */
  readonly flushed: Effect.Effect<void>
  /** Closes the socket. */
  readonly close: Effect.Effect<void>
}

// When its scope ends, a socket passes unsent messages to ZeroMQ, within the time of `linger`.
const acquire = (make: (zmq: ZeroMqModule.ZeroMq) => Zmq.Dealer) =>
  Effect.acquireRelease(
    Effect.gen(function*(): Effect.fn.Return<Opened, ZmqError> {
      const zmq = yield* ZeroMqModule.load
      const { monitor, socket } = yield* Effect.try({
        try: () => monitored(make(zmq)),
        catch: (cause) => new ZmqError({ code: codeOf(cause) })
      })
      ZeroMqModule.open.add(socket)
      return { socket, ...makeEvents(socket, monitor), ...makeInbox(socket), ...makeOutbox(socket) }
    }),
    ({ close, flushed, socket }) =>
      Effect.timeoutOption(flushed, linger).pipe(
        Effect.andThen(close),
        Effect.ensuring(Effect.sync(() => ZeroMqModule.open.delete(socket)))
      )
  )

// Its monitor takes sockets, too, of which there may be none left.
const monitored = (socket: Zmq.Dealer) => {
  const monitor = Result.try(() => socket.events)
  if (Result.isSuccess(monitor)) return { socket, monitor: monitor.success }
  socket.close()
  return Result.getOrThrow(Result.fail(monitor.failure))
}

// ZeroMQ closes sockets later, in a thread of its own, and tells their `end` then. Sometimes it does not, when there are no files left;
// an open monitor would keep the process alive. `monitor.on` would end the process, with an unhandled rejection, if it is closed.
const makeEvents = (socket: Zmq.Dealer, monitor: Zmq.Observer) => {
  let listener: (type: Zmq.EventType) => void = constVoid
  const next = (): void => {
    if (monitor.closed) return
    monitor.receive().then(({ type }) => {
      listener(type)
      next()
    }, constVoid)
  }
  next()
  return {
    onEvent: (to: typeof listener) => void (listener = to),
    close: Effect.callback<void>((resume) => {
      listener = (type) => {
        if (type === "end") resume(Effect.void)
      }
      socket.close()
    }).pipe(Effect.timeoutOrElse({ duration: linger, orElse: () => Effect.sync(() => monitor.close()) }))
  }
}

const makeInbox = (socket: Zmq.Dealer) => {
  type Batch = Arr.NonEmptyReadonlyArray<RawFrames>
  let inbox: Array<RawFrames> = []
  let receiving = false
  let error: ZmqError | undefined
  let waiter: ((batch: Effect.Effect<Batch, ZmqError>) => void) | undefined

  const deliver = () => {
    if (waiter === undefined) return
    const resume = waiter
    const batch = inbox
    if (Arr.isArrayNonEmpty(batch)) {
      inbox = []
      waiter = undefined
      resume(Effect.succeed(batch))
    } else if (error !== undefined) {
      waiter = undefined
      resume(Effect.fail(error))
    }
    receive()
  }
  const fail = (cause: ZmqError) => {
    error ??= cause
    deliver()
  }
  // Received messages are delivered first, which often sends; only then the next are received.
  const received = (frames: RawFrames) => {
    receiving = false
    inbox.push(frames)
    deliver()
    receive()
  }
  const receive = (): void => {
    if (receiving || error !== undefined || socket.closed || inbox.length >= inboxLimit) return
    receiving = true
    socket.receive().then(received, (cause) => fail(new ZmqError({ code: codeOf(cause) })))
  }

  const pull = Effect.callback<Batch, ZmqError>((resume) => {
    waiter = resume
    deliver()
    return Effect.sync(() => {
      if (waiter === resume) waiter = undefined
    })
  })
  // What ZeroMQ has received is still to be read, and would be lost otherwise.
  const endUnsafe = (code: string) => {
    const check = () => socket.closed || !socket.readable ? fail(new ZmqError({ code })) : setImmediate(check)
    setImmediate(check)
  }
  return { pull, endUnsafe }
}

const makeOutbox = (socket: Zmq.Dealer) => {
  type Outgoing = {
    readonly frames: Array<string | Uint8Array>
    readonly settled: Settled | undefined
  }
  let waiting: Array<Outgoing> = []
  let sending = false
  let onFlushed: (() => void) | undefined

  // From a promise to the next message, never from a message to the next: a backlog must not become a stack.
  const send = (batch: ReadonlyArray<Outgoing>, index: number): void => {
    const next = batch[index]
    if (next === undefined || socket.closed) return sendWaiting(batch.slice(index))
    const settle = (error?: ZmqError) => {
      next.settled?.(error)
      send(batch, index + 1)
    }
    socket.send(next.frames).then(() => settle(), (cause) => settle(new ZmqError({ code: codeOf(cause) })))
  }
  const sendWaiting = (unsent: ReadonlyArray<Outgoing>) => {
    let batch = unsent.concat(waiting)
    waiting = []
    while (socket.closed && batch.length > 0) {
      for (const { settled } of batch) settled?.(new ZmqError({ code: "ECLOSED" }))
      batch = waiting
      waiting = []
    }
    sending = batch.length > 0
    if (sending) send(batch, 0)
    else onFlushed?.()
  }

  return {
    sendUnsafe: ((frames, settled) => {
      waiting.push({ frames, settled })
      if (sending) return
      sending = true
      sendWaiting([])
    }) satisfies ZmqSocket["sendUnsafe"],
    flushed: Effect.callback<void>((resume) => {
      if (!sending) return resume(Effect.void)
      onFlushed = () => resume(Effect.void)
    })
  }
}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)
