/**
 * The access tokens of a vhost and the rules of its channels, as they are registered.
 */

import type { Registered } from "../SharedVhosts.ts"
import * as VhostTokens from "../VhostTokens.ts"
import type * as VhostRules from "./vhostRules.ts"

/** The settings. */
export interface VhostSettings {
  readonly tokens: VhostTokens.VhostTokens
  readonly rules: () => VhostRules.VhostRules
  readonly registered: () => Registered
  /** They are other ones now, with these rules; without rules those of before stay. Returns the tokens that are removed by that. */
  readonly apply: (registered: Registered, rules?: VhostRules.VhostRules) => ReadonlyArray<VhostTokens.VhostToken>
}

/** Makes those of a vhost. */
export const make = (first: Registered, firstRules: VhostRules.VhostRules): VhostSettings => {
  const tokens = VhostTokens.make(first.tokens)
  let [current, rules] = [first, firstRules]
  return {
    tokens,
    rules: () => rules,
    registered: () => current,
    apply: (next, nextRules = rules) => {
      rules = nextRules
      current = next
      return tokens.set(next.tokens)
    }
  }
}
