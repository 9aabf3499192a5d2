/**
 * The rules of the channels of one vhost: its own, before those of the broker.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { ChannelRule, ResolvedChannelRule } from "../../BrokerConfig.ts"
import type { InvalidOptionError } from "../../BrokerError.ts"
import * as ChannelRules from "../../ChannelRules.ts"
import * as Rules from "./rules.ts"
import * as Steps from "./steps.ts"

/** Rules of a vhost that are checked. */
export interface VhostRules {
  readonly own: ReadonlyArray<ResolvedChannelRule>
  /** Its own and those of the broker. */
  readonly all: Rules.Rules
}

/** Checks the rules of a vhost that are given, or else those that are stored as text, in turns of the event loop. */
export type VhostRulesOf = (
  given: ReadonlyArray<ChannelRule> | undefined,
  stored?: string
) => Effect.Effect<VhostRules, InvalidOptionError>

/** For the vhosts of a broker with the rules of its options, which are checked, too. */
export const make = (
  options: Rules.Defaults & { readonly channelRules: ReadonlyArray<ResolvedChannelRule> },
  clock: Clock.Clock
): Effect.Effect<VhostRulesOf, InvalidOptionError> => {
  const compile = (own: ReadonlyArray<ResolvedChannelRule>, others?: Rules.Rules) =>
    Effect.flatMap(Steps.run(Rules.make(own, options, others), clock), Effect.fromResult)
  return Effect.map(compile(options.channelRules), (broker) => (given, stored) =>
    Effect.flatMap(
      Effect.fromResult(
        given !== undefined
          ? ChannelRules.make(given)
          : stored === undefined
          ? Result.succeed([])
          : ChannelRules.fromText(stored)
      ),
      (own) => Effect.map(compile(own, broker), (all) => ({ own, all }))
    ))
}

/** How its own rules are stored: as text, `undefined` without any. */
export const textOf = ({ own }: VhostRules): string | undefined =>
  own.length === 0 ? undefined : ChannelRules.toText(own)
