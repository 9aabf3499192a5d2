/**
 * Stateless tokens: a browser authenticates with what a backend or an identity provider has signed (JWT), and nobody has
 * requested of the broker. The broker stores nothing of them, so that browsers that reconnect together ask no backend.
 *
 * Here is what their claims mean; whether they were signed is the `Verifier`'s. A claim that is wrong fails with 402 and says
 * which. A token can be used any number of times until it expires, and the authentication ends then, too.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Grant from "../../protocol/Grant.ts"
import * as Json from "../../protocol/Json.ts"
import * as JsonText from "../../protocol/JsonText.ts"
import { BadRequestError, type InternalError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import * as Permission from "../domain/Permission.ts"
import { ownText } from "./internal/ownText.ts"
import type * as Patterns from "./internal/patterns.ts"
import * as StoredGrant from "./internal/storedGrant.ts"
import * as Timeline from "./internal/timeline.ts"

/**
 * Why a stateless token grants nothing: 400 if the broker has no keys, 402 if it was not signed or its claims are wrong, 597
 * if the keys are not there now.
 *
 * @since 0.1.0
 */
export type VerifyError = BadRequestError | UnauthorizedError | InternalError

/**
 * The claims of a token that was signed by a known key and is valid now.
 *
 * @since 0.1.0
 */
export interface Verified {
  /** A JSON object, as it was signed. */
  readonly claims: string
  /** When it ends, in milliseconds since 1970. */
  readonly endsAt: number
}

/**
 * Knows the keys.
 *
 * @since 0.1.0
 */
export interface Verifier {
  /** Whether a token without the claim `vhost` is for all vhosts. Otherwise it is for none. */
  readonly anyVhost: boolean
  readonly verify: (jwt: string) => Effect.Effect<Verified, VerifyError>
}

/**
 * The verifier of a broker, default one without keys.
 *
 * @since 0.1.0
 */
export const Verifier: Context.Reference<Verifier> = Context.Reference(
  "kosmonaut/server/engine/StatelessTokens/Verifier",
  {
    defaultValue: () => none
  }
)

/**
 * The stateless tokens of one vhost.
 *
 * @since 0.1.0
 */
export interface StatelessTokens {
  /** What a token grants. */
  readonly verify: (jwt: string) => Effect.Effect<Permission.Permission, VerifyError>
}

/**
 * Makes those of the vhost with this path.
 *
 * @since 0.1.0
 */
export const make = ({ clock, path, patterns, verifier = none }: {
  readonly clock: Clock.Clock
  readonly patterns: Patterns.Patterns
  readonly path?: string | undefined
  readonly verifier?: Verifier | undefined
}): StatelessTokens => ({
  verify: Effect.fnUntraced(function*(jwt) {
    const { claims, endsAt } = yield* verifier.verify(jwt)
    const grant = yield* Effect.mapError(
      Effect.fromResult(grantOf(claims, endsAt - clock.currentTimeMillisUnsafe(), path, verifier.anyVhost)),
      unauthorized
    )
    const granted = StoredGrant.grantedOf(grant, Timeline.nowOf(clock))
    return yield* Effect.mapError(
      Effect.fromResult(Permission.make(ownText(grant.uid), ownText(grant.pattern), patterns, granted)),
      ({ detail }) => unauthorized(detail)
    )
  })
})

// Claims that are not known are those of others: identity providers have many.
const grantOf = (
  text: string,
  expiresIn: number,
  path: string | undefined,
  anyVhost: boolean
): Result.Result<Grant.Grant, string> => {
  const { channels, info, pattern, sub, vhost } = Json.parseObjectOrEmpty(text)
  if (typeof sub !== "string") return Result.fail("the claim sub is no text")
  if (vhost === undefined && !anyVhost) return Result.fail("it has no claim vhost, see the option jwt.anyVhost")
  if (vhost !== undefined && vhost !== path && !(isTexts(vhost) && vhost.some((one) => one === path))) {
    return Result.fail("the token is for another vhost")
  }
  if (pattern !== undefined && typeof pattern !== "string") return Result.fail("the claim pattern is no text")
  if (channels !== undefined && !isTexts(channels)) return Result.fail("the claim channels is no list of texts")
  if (info !== undefined && !Json.isObject(info)) return Result.fail("the claim info is no object")
  if (expiresIn > Grant.maxExpiresIn) return Result.fail("the claim exp is more than 30 days ahead")
  const grant: Grant.Grant = {
    uid: sub,
    pattern: pattern ?? nothing,
    channels: channels?.map(ownText),
    info: info && JsonText.copy(JsonText.payloadObject(`{"claims":${text}}`, "info")!),
    expiresIn: Math.max(1, expiresIn)
  }
  const problem = Grant.problemOf(grant)
  return problem === undefined ? Result.succeed(grant) : Result.fail(problem)
}

/** No name of a channel matches it: none begins so. */
const nothing = "-"

const isTexts = (value: unknown): value is ReadonlyArray<string> =>
  Array.isArray(value) && value.every((one) => typeof one === "string")

const unauthorized = (reason: string) =>
  new UnauthorizedError({ detail: `the signed token is not accepted: ${reason}` })

const none: Verifier = {
  anyVhost: false,
  verify: () => Effect.fail(new BadRequestError({ detail: "this broker has no keys for signed tokens" }))
}
