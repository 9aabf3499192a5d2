/**
 * The access tokens of a vhost and the rules of its channels, as they are registered.
 */

import * as Result from "effect/Result"
import type { Registered } from "../SharedVhosts.ts"
import * as VhostTokens from "../VhostTokens.ts"
import type * as VhostRules from "./vhostRules.ts"

/** The settings. */
export interface VhostSettings {
  readonly tokens: VhostTokens.VhostTokens
  readonly rules: () => VhostRules.VhostRules
  readonly registered: () => Registered
  /** They are other ones now. Returns the tokens that are removed by that. Rules that cannot be read are not taken over. */
  readonly apply: (registered: Registered) => ReadonlyArray<VhostTokens.VhostToken>
}

/** Makes those of a vhost. */
export const make = (
  first: Registered,
  firstRules: VhostRules.VhostRules,
  rulesOf: VhostRules.VhostRulesOf
): VhostSettings => {
  const tokens = VhostTokens.make(first.tokens)
  let [current, rules] = [first, firstRules]
  return {
    tokens,
    rules: () => rules,
    registered: () => current,
    apply: (next) => {
      if (next.rules !== current.rules) rules = Result.getOrElse(rulesOf(undefined, next.rules), () => rules)
      current = next
      return tokens.set(next.tokens)
    }
  }
}
