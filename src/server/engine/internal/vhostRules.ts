/**
 * The rules of the channels of one vhost: its own, before those of the broker.
 */

import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { ChannelRule, ResolvedChannelRule } from "../../BrokerConfig.ts"
import type { InvalidOptionError } from "../../BrokerError.ts"
import * as ChannelRules from "../../ChannelRules.ts"
import type { Channels } from "../Channels.ts"
import type { Journal, Recorded } from "../Journal.ts"
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

/** The entry of a vhost in the store. */
export const entryOf = (
  token: Redacted.Redacted,
  { own }: VhostRules
): Extract<Recorded, { _tag: "Vhost" }> =>
  own.length === 0 ? { _tag: "Vhost", token } : { _tag: "Vhost", token, rules: ChannelRules.toText(own) }

/** The rules of a vhost, which can be set. */
export interface Settable {
  readonly channelRules: () => ReadonlyArray<ChannelRule>
  readonly setChannelRules: (rules: ReadonlyArray<ChannelRule>) => Effect.Effect<void, InvalidOptionError>
}

/** Makes the rules of a vhost that has these first. */
export const settable = (
  rulesOf: VhostRulesOf,
  first: VhostRules,
  { channels, journal, token }: {
    readonly channels: Channels
    readonly journal: Journal
    readonly token: Redacted.Redacted
  }
): Settable => {
  let current = first
  return {
    channelRules: () => current.own,
    setChannelRules: (rules) =>
      Effect.flatMap(Effect.suspend(() => Effect.fromResult(rulesOf(rules))), (next) => {
        current = next
        journal.updated(entryOf(token, next))
        return channels.setRules(next.all)
      })
  }
}
