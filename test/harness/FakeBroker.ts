/**
 * A broker that says what a test tells it to, over either transport.
 */
import { Effect, Queue, Redacted } from "effect"
import type { Frames } from "../../src/protocol/Frame.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
import type { Peer } from "../../src/transport/TransportServer.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import { token } from "./TestBroker.ts"

const drivers = {
  backend: { listen: ZmqTransportServer.listen, scheme: "wr" },
  backendTcp: { listen: TcpTransportServer.listen, scheme: "wr+tcp" }
} as const

/** Binds it for the scope; `heard` gives what backends said, with the way back to them. */
export const make = Effect.fnUntraced(function*(which: keyof typeof drivers, port = 0) {
  const { listen, scheme } = drivers[which]
  const heard = yield* Queue.unbounded<{ readonly peer: Peer; readonly frames: Frames | undefined }>()
  const server = yield* listen({ host: "127.0.0.1", port, maxMessageSize: 1_048_576 })
  yield* server.run({
    onMessage: (peer, frames) => Queue.offer(heard, { peer, frames }),
    onClose: () => Effect.void
  }).pipe(Effect.forkScoped)
  /** The next message that is this command. */
  const nextOf = (command: string): Effect.Effect<{ readonly peer: Peer; readonly frames: Frames | undefined }> =>
    Effect.flatMap(
      Queue.take(heard),
      (message) => message.frames?.[0] === command ? Effect.succeed(message) : nextOf(command)
    )
  return {
    next: Queue.take(heard),
    nextOf,
    port: server.port,
    url: Redacted.make(`${scheme}://${token}@127.0.0.1:${server.port}/test`)
  }
})
