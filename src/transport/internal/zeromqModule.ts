/**
 * Loads the package `zeromq` when the first socket is opened, so that applications which never use ZeroMQ do not need it.
 */

import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { isMainThread } from "node:worker_threads"
import type * as Zmq from "zeromq"
import { messageOf } from "../../protocol/ErrorText.ts"
import * as TaggedError from "../../protocol/TaggedError.ts"

/** The package's exports. */
export type ZeroMq = typeof Zmq

/** The socket can do no more, or a message could not be sent; `code` is ZeroMQ's or the system's. */
export class ZmqError extends TaggedError.make("kosmonaut/transport")<ZmqError>()("ZmqError", {
  code: Schema.String
}, ({ code }) => code) {}

/**
 * How many sockets the process may have. A connection takes three of them, and ZeroMQ's default of 1023 would be 341
 * connections. The number can be set only before the first socket is made.
 */
const maxSockets = 16_384

/** Loads it. Fails with a sentence, if the package is missing or has no binary for this system. */
export const load: Effect.Effect<ZeroMq, ZmqError> = Effect.map(
  Effect.tryPromise({ try: () => import("zeromq"), catch: notLoaded }),
  (zmq) => {
    if (!configured) configure(zmq)
    configured = true
    return zmq
  }
)
let configured = false

function notLoaded(cause: unknown): ZmqError {
  const [why] = messageOf(cause).split("\n")
  const code =
    `the package zeromq cannot be loaded: ${why}. Install it (npm install zeromq), or use a wr+tcp:// URL, which does not need it`
  return new ZmqError({ code })
}

/** The open sockets. */
export const open = new Set<Zmq.Socket>()

const configure = ({ context }: ZeroMq) => {
  if (context.maxSockets < maxSockets) context.maxSockets = Math.min(maxSockets, context.maxSocketsLimit)
  // zeromq aborts the process if a thread ends while its sockets are open. `terminate()` ends one without a chance for this.
  if (!isMainThread) process.on("exit", closeAll)
}

// A monitor first: it must not find its socket closed.
const closeAll = () => {
  for (const socket of open) {
    socket.events.close()
    socket.close()
  }
}
