/**
 * The rules of the channels of one vhost: its own, before those of the broker.
 */

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { InternalError } from "../../../protocol/KosmonautError.ts"
import type { ChannelRule, ResolvedChannelRule } from "../../BrokerConfig.ts"
import type { InvalidOptionError } from "../../BrokerError.ts"
import * as ChannelRules from "../../ChannelRules.ts"
import type { Channels } from "../Channels.ts"
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

/** The rules of a vhost, which can be set. */
export interface Settable {
  readonly channelRules: () => ReadonlyArray<ChannelRule>
  readonly setChannelRules: (
    rules: ReadonlyArray<ChannelRule>
  ) => Effect.Effect<void, InvalidOptionError | InternalError>
  /** What is stored of them. */
  readonly stored: () => { readonly rules?: string }
}

/** Makes the rules of a vhost that has these first. */
export const settable = (
  rulesOf: VhostRulesOf,
  first: VhostRules,
  { channels, onChange }: {
    readonly channels: Channels
    /** Called when they were set. */
    readonly onChange: () => void
  }
): Settable => {
  let current = first
  return {
    channelRules: () => current.own,
    stored: () => current.own.length === 0 ? {} : { rules: ChannelRules.toText(current.own) },
    setChannelRules: (rules) =>
      Effect.flatMap(
        Effect.suspend(() => Effect.fromResult(rulesOf(rules))),
        (next) =>
          channels.setRules(next.all, () => {
            current = next
            onChange()
          })
      )
  }
}
