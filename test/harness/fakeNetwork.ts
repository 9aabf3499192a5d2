/**
 * A worker on a network in memory, of a broker under the test's control: it says nothing by itself, but lets a worker go
 * that quits.
 */
import { Effect, Queue } from "effect"
import { Transport, Worker } from "../../src/index.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import { MemoryNetwork, type TestBroker } from "../../src/testing/index.ts"
import type { Peer } from "../../src/transport/TransportServer.ts"
import { token } from "./TestBroker.ts"

/** What the broker has received. */
export interface Received {
  readonly peer: Peer
  readonly frames: Frames | undefined
}

/** Makes it. Without `answersQuit` the broker does not answer a goodbye, as the original. */
export const make = Effect.fnUntraced(function*(
  options?: TestBroker.BackendOptions["worker"],
  { answersQuit = true }: { readonly answersQuit?: boolean } = {}
) {
  const network = MemoryNetwork.make()
  const received = yield* Queue.unbounded<Received>()
  const server = yield* network.listen({ host: "fake", port: 0, maxMessageSize: 1_048_576 })
  yield* server.run({
    onMessage: (peer, frames) =>
      frames?.[0] === "QT" && answersQuit
        ? Effect.andThen(Queue.offer(received, { peer, frames }), peer.close)
        : Queue.offer(received, { peer, frames }),
    onClose: () => Effect.void
  }).pipe(Effect.forkScoped)
  /** The next message that is this command. */
  const nextOf = (command: string): Effect.Effect<Received> =>
    Effect.flatMap(
      Queue.take(received),
      (message) => message.frames?.[0] === command ? Effect.succeed(message) : nextOf(command)
    )
  const url = `wr://${token}@fake:${server.port}/test`
  const worker = yield* Effect.provideService(
    Worker.make({ url, ...options }),
    Transport.Transport,
    network.transport()
  )
  return { network, next: Queue.take(received), nextOf, url, worker }
})
