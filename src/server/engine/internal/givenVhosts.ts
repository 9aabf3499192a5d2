/**
 * The vhosts that are given by options: which ones a broker begins with, and the checks of their paths and access tokens.
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { isAccessToken, isVhostPath } from "../../../protocol/Endpoint.ts"
import type { BrokerConfig, VhostOptions } from "../../BrokerConfig.ts"
import { InvalidVhostError } from "../../BrokerError.ts"
import type { Channels } from "../Channels.ts"
import type { Registered } from "../SharedVhosts.ts"
import * as VhostTokens from "../VhostTokens.ts"
import type { VhostRulesOf } from "./vhostRules.ts"

/** Those to begin with. The default vhost applies if there is no other one, or if it was restored: its token may have changed. */
export const of = (
  { defaultVhost, vhosts }: Pick<BrokerConfig["Service"], "defaultVhost" | "vhosts">,
  registered: ReadonlyMap<string, Registered>
) =>
  vhosts.length === 0 && defaultVhost !== undefined && (registered.size === 0 || registered.has(defaultVhost.path))
    ? [defaultVhost]
    : vhosts

/** Logs that a vhost of several nodes does not have the token of the options. Whether it was replaced or is a mistake nobody knows here. */
export const warnOfToken = ({ path, token }: VhostOptions, tokens: ReadonlyArray<Redacted.Redacted>) =>
  token === undefined || VhostTokens.has(tokens, VhostTokens.redacted(token))
    ? Effect.void
    : Effect.logWarning(
      `The access token of this node's options does not open the vhost ${path}, which the other nodes have with other ones`
    )

// The admin endpoint has other things there.
const reserved = ["api", "metrics", "health", "ready"]

/** Checks the path and the tokens of a vhost. */
export const check = (
  path: string,
  tokens: ReadonlyArray<Redacted.Redacted>
): Effect.Effect<void, InvalidVhostError> => {
  const detail = !isVhostPath(path)
    ? "a path is / and words of letters, digits, _ and -, up to 128"
    : reserved.includes(path.split("/")[1]!)
    ? `a path cannot begin with ${reserved.map((word) => `/${word}`).join(", ")}`
    : !tokens.every((token) => isAccessToken(Redacted.value(token)))
    ? VhostTokens.malformed
    : tokens.length > VhostTokens.maxTokens
    ? `a vhost has at most ${VhostTokens.maxTokens} access tokens`
    : undefined
  return detail === undefined ? Effect.void : Effect.fail(new InvalidVhostError({ path, detail }))
}

/** The tokens of a vhost with these options, or those that it has `initially`. */
export const tokensOf = (
  { otherTokens = [], token }: VhostOptions,
  initially: ReadonlyArray<Redacted.Redacted>
): ReadonlyArray<Redacted.Redacted> =>
  VhostTokens.unique([
    ...token === undefined ? initially : [VhostTokens.redacted(token)],
    ...otherTokens.map(VhostTokens.redacted)
  ])

/** The rules of the options, or else those that are stored. */
export const rules =
  (rulesOf: VhostRulesOf) => ({ channelRules, path }: Omit<VhostOptions, "token">, stored?: string) =>
    Effect.mapError(
      rulesOf(channelRules, stored),
      ({ message }) => new InvalidVhostError({ path, detail: message })
    )

/** Checks the rules of a vhost. */
export type CheckedRules = ReturnType<typeof rules>

/** Opens the channels of a vhost. */
export const openAll = ({ channels }: { readonly channels: Channels }, options: VhostOptions) =>
  Effect.forEach(options.channels ?? [], channels.open, { discard: true })
