/**
 * The public keys of an identity provider (JWKS), fetched from its URL and cached.
 *
 * They are fetched at the start, when they are older than `maxAge`, and when a token names a key that is not among them; but
 * at most once in `minInterval`, whatever strangers send and whether that succeeds. All who need them wait for one request,
 * which has 5 seconds and at most 256 KiB. If it fails, a warning is logged, and the keys before stay.
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Json from "../../../../protocol/Json.ts"
import { InternalError } from "../../../../protocol/KosmonautError.ts"
import type { Header } from "./joseModule.ts"
import * as Key from "./key.ts"

/** The keys of an identity provider. */
export interface KeySet {
  /** The keys that may have signed a token with this header. Fails with 597 if none were ever fetched. */
  readonly keysFor: (header: Header) => Effect.Effect<ReadonlyArray<Key.Key>, InternalError>
}

/** The options of a key set. */
export interface Options {
  readonly url: string
  readonly maxAge: Duration.Duration
  readonly minInterval: Duration.Duration
}

/** Makes it, and begins to fetch. */
export const make = Effect.fnUntraced(function*(
  { maxAge, minInterval, url }: Options
): Effect.fn.Return<KeySet, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  let keys: ReadonlyArray<Key.Key> | undefined
  let fetchedAt = -Infinity
  let triedAt = -Infinity
  let fetching: Fiber.Fiber<void> | undefined

  const fetchOnce = fetch(url).pipe(
    Effect.matchEffect({
      onSuccess: (fetched) =>
        Effect.sync(() => {
          keys = fetched
          fetchedAt = now()
        }),
      onFailure: (reason) =>
        Effect.logWarning(
          `The keys of signed tokens could not be fetched: ${reason}. ${
            keys === undefined ? "Such tokens are rejected" : "Those that were fetched before stay"
          }`
        )
    }),
    Effect.ensuring(Effect.sync(() => void (fetching = undefined)))
  )
  // In a fiber of its own, which does not end with the browser that needs it first.
  const fetched = Effect.suspend(() => {
    if (fetching === undefined) {
      if (now() - triedAt < Duration.toMillis(minInterval)) return Effect.void
      triedAt = now()
      fetching = runFork(Effect.andThen(Effect.yieldNow, fetchOnce))
    }
    return Effect.asVoid(Fiber.await(fetching))
  })
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => fetching === undefined ? Effect.void : Fiber.interrupt(fetching))
  )
  yield* Effect.forkIn(fetched, scope)

  return {
    keysFor: Effect.fnUntraced(function*(header) {
      if (now() - fetchedAt >= Duration.toMillis(maxAge)) yield* fetched
      if (keys !== undefined && header.kid !== undefined && matching(keys, header).length === 0) yield* fetched
      return keys === undefined ? yield* unavailable : matching(keys, header)
    })
  }
})

// Without a name any key of the algorithm may have signed it.
const matching = (keys: ReadonlyArray<Key.Key>, { alg, kid }: Header): ReadonlyArray<Key.Key> =>
  keys.filter((key) => key.alg === alg && (kid === undefined || key.kid === kid))

const unavailable = new InternalError({ detail: "the keys of signed tokens are not there yet; try again later" })

/** How long a request may take, and how many bytes its response may have. */
const timeout = "5 seconds"
const maxSize = 262_144

const fetch = (url: string): Effect.Effect<ReadonlyArray<Key.Key>, string> =>
  HttpClient.get(url, { accept: "application/json" }).pipe(
    Effect.flatMap(HttpClientResponse.filterStatusOk),
    Effect.flatMap(({ stream }) => text(stream)),
    Effect.timeout(timeout),
    Effect.mapError(({ message }) => message),
    Effect.flatMap((text) => Effect.fromResult(parse(text))),
    Effect.withTracerEnabled(false),
    Effect.provide(FetchHttpClient.layer),
    // Only the URL that was configured is trusted.
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "error" })
  )

const text = <E>(stream: Stream.Stream<Uint8Array, E>) =>
  Effect.map(
    Stream.runFoldEffect(
      stream,
      () => ({ size: 0, chunks: [] as Array<Uint8Array> }),
      ({ chunks, size }, chunk) =>
        size + chunk.length > maxSize
          ? Effect.fail({ message: `the response has more than ${maxSize} bytes` })
          : Effect.sync(() => {
            chunks.push(chunk)
            return { size: size + chunk.length, chunks }
          })
    ),
    ({ chunks }) => Buffer.concat(chunks).toString()
  )

const parse = (text: string): Result.Result<ReadonlyArray<Key.Key>, string> => {
  const keys = Key.fromKeySet(Result.getOrUndefined(Json.parse(text)))
  return keys === undefined
    ? Result.fail("the response is no key set (JWKS)")
    : keys.length === 0
    ? Result.fail("the key set has no key for RS256 or ES256")
    : Result.succeed(keys)
}
