/**
 * Clients that broadcast one numbered message after another, and write down what they were told of it.
 */
import { Effect, Fiber, Result } from "effect"
import { Client, TcpTransport, ZmqTransport } from "../../src/index.ts"
import { channels } from "./browsers.ts"
import type { Broadcast } from "./checker.ts"
import { tick } from "./clock.ts"
import { Kept } from "./listeners.ts"

/** After this time a request fails that is not answered. */
const requestTimeout = "1 second"

/** The transport of a URL. */
export const transportOf = (url: string) =>
  url.startsWith("wr+tcp:")
    ? TcpTransport.layer({ openTimeout: "1 second" })
    : ZmqTransport.layer({ openTimeout: "1 second" })

/** A Client for a URL, for the scope. */
export const clientOf = (url: string) => Effect.provide(Client.make({ url, requestTimeout }), transportOf(url))

/** Two senders on a Client of each URL, which wait for `pause` milliseconds after each broadcast, until they are told to end. */
export const beginBroadcasting = Effect.fnUntraced(function*(urls: ReadonlyArray<string>, pause: number) {
  const broadcasts: Array<Broadcast> = []
  let enough = false
  const send = Effect.fnUntraced(function*(client: Client.Client["Service"], sender: string) {
    for (let n = 0; !enough; n++) {
      // Half of them on the channel with history.
      const channel = n % 2 === 0 ? Kept.name : channels[n % 3 === 0 ? 1 : 0]
      const begun = tick()
      const data = { sender, n }
      const result = yield* Effect.result(
        n % 2 === 0 ? client.broadcast(Kept, "count", data) : client.broadcast(channel, "count", data)
      )
      const outcome = Result.isSuccess(result) ? { answered: tick() } : { refused: isRefusal(result.failure) }
      broadcasts.push({ sender, n, channel, begun, ...outcome })
      yield* Effect.sleep(Result.isSuccess(result) ? pause : 50)
    }
  })
  const fibers = yield* Effect.forEach(
    urls,
    Effect.fnUntraced(function*(url) {
      const client = yield* clientOf(url)
      const name = url.split(":", 1)[0]
      return yield* Effect.forEach([1, 2], (which) => Effect.forkScoped(send(client, `${name} ${which}`)))
    })
  )
  return {
    broadcasts,
    end: Effect.suspend(() => {
      enough = true
      return Fiber.joinAll(fibers.flat())
    })
  }
})

// Of the others it is not known whether they were carried out.
const isRefusal = ({ _tag, message }: { readonly _tag: string; readonly message: string }): boolean =>
  _tag !== "ConnectionError" && _tag !== "RequestTimeoutError" && !message.includes("may have been done")
