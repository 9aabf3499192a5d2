/**
 * A backend's side of a network in memory.
 */

import * as Arr from "effect/Array"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as Frame from "../../protocol/Frame.ts"
import type * as Identity from "../../protocol/Identity.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  MalformedMessageError,
  RequestTimeoutError
} from "../../protocol/KosmonautError.ts"
import { type Options, type Requester, type Sent, type Session, Transport } from "../../transport/Transport.ts"
import type { End } from "./connection.ts"

/** Opens a connection, which is closed with its scope. */
export type Dial = (
  kind: Identity.Kind,
  endpoint: Endpoint,
  openTimeout: Duration.Duration,
  name: Sent
) => Effect.Effect<End, ConnectionError, Scope.Scope>

/** Makes the transport. It opens nothing by itself. */
export const make = (dial: Dial, options: Options = {}): Transport["Service"] => {
  const maxMessageSize = options.maxMessageSize ?? Frame.defaultMaxMessageSize
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  const open = (kind: Identity.Kind, endpoint: Endpoint, name: Sent = { connection: undefined, message: "" }) =>
    Effect.map(dial(kind, endpoint, openTimeout, name), (end) => sessionOf(end, endpoint.address, maxMessageSize))
  return Transport.of({
    schemes: ["wr", "wrs", "wr+tcp", "wrs+tcp"],
    session: (endpoint) => open("dlr", endpoint),
    requester: (endpoint, { requestTimeout }) =>
      makeRequester({
        open: (name) => open("req", endpoint, name),
        address: endpoint.address,
        requestTimeout,
        bound: { maxMessageSize: maxMessageSize - Frame.envelopeSize, lines: endpoint.scheme.endsWith("+tcp") }
      })
  })
}

const sessionOf = (end: End, address: string, maxMessageSize: number): Session => {
  const closed = new ConnectionError({ reason: new ConnectionClosedError({ address }) })
  const tooLarge = new ConnectionError({ reason: new MalformedMessageError({ address }) })
  let malformed = false
  return {
    send: (frames) => Effect.flatMap(end.send(frames), (sent) => sent ? Effect.void : Effect.fail(closed)),
    pull: Effect.gen(function*() {
      if (malformed) return yield* tooLarge
      const batch = yield* Effect.mapError(end.pull, () => closed)
      const readable = Arr.takeWhile(batch, fits(maxMessageSize))
      if (readable.length === batch.length) return batch
      // What is too large ends the connection, after all that came before it.
      malformed = true
      end.closeUnsafe()
      return Arr.isReadonlyArrayNonEmpty(readable) ? readable : yield* tooLarge
    })
  }
}

/** Whether a message can be read: it is text, within the bound. */
export const fits = (maxMessageSize: number) => (frames: Frame.Frames): boolean =>
  Result.isSuccess(Frame.check(frames, { maxMessageSize, lines: false }))

// A connection for each request, as over classic TCP, but the broker knows them by one name.
const makeRequester = Effect.fnUntraced(function*(options: {
  readonly open: (name: Sent) => Effect.Effect<Session, ConnectionError, Scope.Scope>
  readonly address: string
  readonly requestTimeout: Duration.Duration
  readonly bound: { readonly maxMessageSize: number; readonly lines: boolean }
}): Effect.fn.Return<Requester, never, Scope.Scope> {
  const { address, bound, open, requestTimeout: after } = options
  const ended = yield* Deferred.make<never, ConnectionError>()
  yield* Effect.addFinalizer(() =>
    Deferred.fail(
      ended,
      new ConnectionError({ reason: new ConnectionClosedError({ address, cause: new Error("the client was closed") }) })
    )
  )
  // Who has lost one connection is somebody else on the next, as over every transport.
  let connection = SecureRandom.uuidV4Unsafe()
  let last = 0
  const rename = Effect.sync(() => {
    connection = SecureRandom.uuidV4Unsafe()
  })
  const exchange = Effect.fnUntraced(function*(frames: Frame.Frames, sent: Sent | undefined) {
    const name: Sent = { connection, message: (++last).toString(36) }
    const { pull, send } = yield* open(name)
    Object.assign(sent ?? {}, name)
    const answers = yield* Effect.andThen(send(frames), pull).pipe(Effect.timeoutOrElse({
      duration: after,
      orElse: () => Effect.fail(new RequestTimeoutError({ command: frames[0]!, after, wasSent: "maybe" }))
    }))
    return answers[0]
  }, Effect.scoped)
  return {
    // There is no other broker on such a network.
    supportsExtensions: () => true,
    request: Effect.fnUntraced(function*(frames, sent) {
      yield* Effect.fromResult(Frame.check(frames, bound))
      return yield* Effect.raceFirst(Deferred.await(ended), exchange(frames, sent)).pipe(
        Effect.tapErrorTag("ConnectionError", () => rename)
      )
    })
  }
})
