/**
 * A backend's side of a network in memory.
 */

import * as Arr from "effect/Array"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as Frame from "../../protocol/Frame.ts"
import * as Identity from "../../protocol/Identity.ts"
import { ConnectionClosedError, ConnectionError, MalformedMessageError } from "../../protocol/KosmonautError.ts"
import {
  type Connection,
  defaultMaxConnections,
  type Message,
  type Options,
  Transport
} from "../../transport/Transport.ts"
import type { End } from "./connection.ts"

/** Opens a connection with this identity, which is closed with its scope. */
export type Dial = (
  identity: string,
  endpoint: Endpoint,
  openTimeout: Duration.Duration
) => Effect.Effect<End, ConnectionError, Scope.Scope>

/** Makes the transport. It opens nothing by itself. */
export const make = (dial: Dial, options: Options = {}): Transport["Service"] => {
  const maxMessageSize = options.maxMessageSize ?? Frame.defaultMaxMessageSize
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  return Transport.of({
    schemes: ["wr", "wrs", "wr+tcp", "wrs+tcp"],
    maxMessageSize,
    maxConnections: defaultMaxConnections,
    connect: Effect.fnUntraced(function*(endpoint, { kind }) {
      const id = SecureRandom.uuidV4Unsafe()
      const end = yield* dial(Identity.encode(Identity.make(kind, endpoint, id)), endpoint, openTimeout)
      return {
        id,
        pipelines: true,
        // There is no other broker on such a network.
        isKosmonaut: () => true,
        batches: () => true,
        // At once, so that a test's clock stands until it is handled.
        enough: 1,
        sendUnsafe: yield* makeSender(end, endpoint.address),
        pull: pullOf(end, endpoint.address, maxMessageSize)
      }
    })
  })
}

// Sends at once if there is room, and nothing waits for some.
const makeSender = Effect.fnUntraced(function*(end: End, address: string) {
  const scope = yield* Effect.scope
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const closed = new ConnectionError({ reason: new ConnectionClosedError({ address }) })
  const order = Semaphore.makeUnsafe(1)
  let waiting = 0
  const send: Connection["sendUnsafe"] = (messages, settled) => {
    // The caller may change them later.
    const copies = messages.map(({ envelope, frames }): Message => ({ envelope, frames }))
    let next = 0
    while (waiting === 0 && next < copies.length && end.sendUnsafe(copies[next]!)) next++
    if (next === copies.length) return settled()
    waiting++
    const sent = order.withPermits(1)(Effect.forEach(copies.slice(next), end.send)).pipe(
      Effect.map((sent) => settled(sent.every(Boolean) ? undefined : closed)),
      Effect.ensuring(Effect.sync(() => waiting--))
    )
    Fiber.runIn(run(sent), scope)
  }
  return send
})

// A message that is too large ends the connection, after all that came before it.
const pullOf = (end: End, address: string, maxMessageSize: number): Connection["pull"] => {
  const malformed = new ConnectionError({ reason: new MalformedMessageError({ address }) })
  let isMalformed = false
  return Effect.gen(function*() {
    if (isMalformed) return yield* malformed
    const batch = yield* Effect.mapError(
      end.pull,
      () => new ConnectionError({ reason: new ConnectionClosedError({ address }) })
    )
    const readable = Arr.takeWhile(batch, fits(maxMessageSize))
    if (readable.length === batch.length) return batch
    isMalformed = true
    end.closeUnsafe()
    return Arr.isReadonlyArrayNonEmpty(readable) ? readable : yield* malformed
  })
}

/** Whether a message can be read: it is text, within the limit. */
export const fits = (maxMessageSize: number) => ({ frames }: Message): boolean =>
  Result.isSuccess(Frame.check(frames, { maxMessageSize, lines: false }))
