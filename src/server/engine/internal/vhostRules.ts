/**
 * The rules of the channels of one vhost: its own, before those of the broker.
 */

import * as Result from "effect/Result"
import type { ChannelRule, ResolvedChannelRule } from "../../BrokerConfig.ts"
import type { InvalidOptionError } from "../../BrokerError.ts"
import * as ChannelRules from "../../ChannelRules.ts"
import * as Rules from "./rules.ts"

/** Rules of a vhost that are checked. */
export interface VhostRules {
  readonly own: ReadonlyArray<ResolvedChannelRule>
  /** Its own and those of the broker. */
  readonly all: Rules.Rules
}

/** Checks the rules of a vhost that are given, or else those that are stored as text. */
export type VhostRulesOf = (
  given: ReadonlyArray<ChannelRule> | undefined,
  stored?: string
) => Result.Result<VhostRules, InvalidOptionError>

/** For the vhosts of a broker with these rules. */
export const make = (broker: Rules.Rules, defaults: Rules.Defaults): VhostRulesOf => (given, stored) =>
  Result.flatMap(
    given !== undefined
      ? ChannelRules.make(given)
      : stored === undefined
      ? Result.succeed([])
      : ChannelRules.fromText(stored),
    (own) => Result.map(Rules.make(own, defaults, broker), (all) => ({ own, all }))
  )

/** How its own rules are stored: as text, `undefined` without any. */
export const textOf = ({ own }: VhostRules): string | undefined =>
  own.length === 0 ? undefined : ChannelRules.toText(own)
