/**
 * Verifies stateless tokens with the keys of the options `jwt.…`: secrets for HS256, public keys for RS256 and ES256, and those
 * of an identity provider (JWKS).
 *
 * A key verifies one algorithm, whatever a token says of itself; `none` is refused. At most 10 keys are tried for a token.
 * Files are read at the start, where a mistake is an `InvalidOptionError`. No key and no token is in an error or a log.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Fs from "node:fs/promises"
import { causeText } from "../../protocol/ErrorText.ts"
import { UnauthorizedError } from "../../protocol/KosmonautError.ts"
import { BrokerConfig, type Resolved } from "../BrokerConfig.ts"
import { InvalidOptionError } from "../BrokerError.ts"
import { Verifier } from "../engine/StatelessTokens.ts"
import * as Jose from "./internal/jwt/joseModule.ts"
import * as Key from "./internal/jwt/key.ts"
import type { KeySet } from "./internal/jwt/keySet.ts"

type Options = Resolved["jwt"]

/** How many keys are tried for one token. */
const maxTries = 10

const make = Effect.gen(function*() {
  const { jwt: options } = yield* BrokerConfig
  const keys = [...yield* secretsOf(options), ...yield* Effect.forEach(options.publicKeys, readPublicKey)]
  const url = yield* Effect.fromResult(urlOf(options.jwksUrl))
  if (keys.length === 0 && url === undefined) return Verifier.defaultValue()
  if (keys.length > maxTries) {
    return yield* invalid("publicKeys", `${keys.length} keys with the secrets`, `at most ${maxTries} keys`)
  }
  const jose = yield* Effect.mapError(Jose.load, ({ cause }) =>
    invalid(
      url === undefined ? "publicKeys" : "jwksUrl",
      "there",
      `left out without the package jose: npm install jose${causeText(cause)}`
    ))
  const { jwksMaxAge: maxAge, jwksMinInterval: minInterval } = options
  const keySet = url === undefined
    ? undefined
    // Loaded only where there is a provider: it needs the HTTP client of Effect.
    : yield* (yield* Effect.promise(() => import("./internal/jwt/keySet.ts"))).make({ url, maxAge, minInterval })
  return verifierOf(jose, keys, keySet, options)
})

const verifierOf = (
  jose: Jose.Jose,
  keys: ReadonlyArray<Key.Key>,
  keySet: KeySet | undefined,
  { anyVhost, audience, clockTolerance, issuer }: Options
): Verifier => {
  const tolerance = Duration.toMillis(clockTolerance)
  const checks = { audience, issuer, clockTolerance: tolerance / 1000 }
  const verifyWith = Effect.fnUntraced(function*(jwt: string, candidates: ReadonlyArray<Key.Key>) {
    const now = yield* Clock.currentTimeMillis
    for (const key of candidates.slice(0, maxTries)) {
      const verified = yield* Effect.result(jose.verify(jwt, key, checks, now))
      if (Result.isSuccess(verified)) return { claims: claimsOf(jwt), endsAt: verified.success * 1000 + tolerance }
      if (!verified.failure.mayBeOfAnotherKey) return yield* unauthorized(verified.failure.reason)
    }
    return undefined
  })
  return {
    anyVhost,
    verify: Effect.fnUntraced(function*(jwt) {
      const header = jose.header(jwt)
      if (header === undefined) return yield* unauthorized("it is no signed token (JWT)")
      const own = yield* verifyWith(jwt, keys.filter(({ alg }) => alg === header.alg))
      // A secret is never the provider's.
      if (own !== undefined || keySet === undefined || header.alg === "HS256") {
        return own ?? (yield* unauthorized(Jose.unsigned))
      }
      return (yield* verifyWith(jwt, yield* keySet.keysFor(header))) ?? (yield* unauthorized(Jose.unsigned))
    })
  }
}

// As they were signed, since numbers in them may be larger than JavaScript's.
const claimsOf = (jwt: string): string => Buffer.from(jwt.split(".")[1]!, "base64url").toString()

const unauthorized = (reason: string) =>
  new UnauthorizedError({ detail: `the signed token is not accepted: ${reason}` })

const secretsOf = Effect.fnUntraced(function*({ secret, secretFile }: Options) {
  const lines = secretFile === undefined ? [] : (yield* readFile("secretFile", secretFile)).split(/\r?\n/)
  const given = lines.map((line) => line.trim()).filter((line) => line !== "")
  if (secretFile !== undefined && given.length === 0) {
    return yield* invalid("secretFile", JSON.stringify(secretFile), "a file with a secret on each line")
  }
  return [
    ...yield* Effect.forEach(given, (line) => secretKey("secretFile", line)),
    ...secret === undefined ? [] : [yield* secretKey("secret", Redacted.value(secret))]
  ]
})

const secretKey = (option: keyof Options, secret: string): Effect.Effect<Key.Key, InvalidOptionError> => {
  const key = Key.fromSecret(secret)
  return key === undefined
    ? Effect.fail(invalid(option, "what it is", `a secret of at least ${Key.minSecret} bytes`))
    : Effect.succeed(key)
}

const readPublicKey = Effect.fnUntraced(function*(file: string) {
  const key = Key.fromPem(yield* readFile("publicKeys", file))
  return key ?? (yield* invalid(
    "publicKeys",
    JSON.stringify(file),
    "PEM files of public keys, RSA with at least 2048 bits or P-256"
  ))
})

const readFile = (option: keyof Options, file: string): Effect.Effect<string, InvalidOptionError> =>
  Effect.tryPromise({
    try: () => Fs.readFile(file, "utf8"),
    catch: (cause) =>
      invalid(option, JSON.stringify(file), `a file that can be read (${(cause as NodeJS.ErrnoException).code})`)
  })

// Whoever can change the keys on their way can sign tokens.
const urlOf = (text: string | undefined): Result.Result<string | undefined, InvalidOptionError> => {
  if (text === undefined) return Result.succeed(undefined)
  const url = Result.getOrUndefined(Result.try(() => new URL(text)))
  const isLocal = url?.protocol === "http:" && /^(localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname)
  return url?.protocol === "https:" || isLocal
    ? Result.succeed(text)
    : Result.fail(invalid("jwksUrl", JSON.stringify(text.slice(0, 100)), "an https: URL, or http: on this machine"))
}

const invalid = (option: keyof Options, value: string, allowed: string): InvalidOptionError =>
  new InvalidOptionError({ option: `jwt.${option}`, value, allowed })

/**
 * The verifier as a layer.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, InvalidOptionError, BrokerConfig> = Layer.effect(Verifier, make)
