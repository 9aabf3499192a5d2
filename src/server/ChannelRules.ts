/**
 * The rules of channels, see `channelRules` of `BrokerConfig`: their checks, and how they are written as text.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaParser from "effect/SchemaParser"
import type { ChannelRule, ResolvedChannelRule } from "./BrokerConfig.ts"
import { InvalidOptionError } from "./BrokerError.ts"
import * as Rule from "./internal/channelRule.ts"
import * as Issue from "./internal/optionIssue.ts"

const decode = SchemaParser.decodeUnknownResult(Schema.Struct({ channelRules: Rule.list }), {
  onExcessProperty: "error"
})

/**
 * Checks rules, and adds the defaults. Whether a pattern compiles shows when the rules are used.
 *
 * @since 0.1.0
 */
export const make = (
  channelRules: ReadonlyArray<ChannelRule>
): Result.Result<ReadonlyArray<ResolvedChannelRule>, InvalidOptionError> =>
  Result.mapBoth(decode({ channelRules }), {
    onSuccess: ({ channelRules }) => channelRules,
    onFailure: (issue) => new InvalidOptionError(Issue.describe(issue, { channelRules }))
  })

/**
 * Rules as a text that `fromText` reads, without the defaults of the broker.
 *
 * @since 0.1.0
 */
export const toText = (rules: ReadonlyArray<ResolvedChannelRule>): string => JSON.stringify(rules.map(Rule.toJson))

/**
 * Reads rules: a JSON array, whose texts are as those of options.
 *
 * @since 0.1.0
 */
export const fromText = (text: string): Result.Result<ReadonlyArray<ResolvedChannelRule>, InvalidOptionError> => {
  const value = Result.getOrUndefined(Result.try(() => JSON.parse(text) as unknown))
  return make((Array.isArray(value) ? value.map(Rule.fromJson) : text) as ReadonlyArray<ChannelRule>)
}

/**
 * Reads one rule of a command line, `room-.* open-on-demand history-count=100`, or a JSON object. The result is for a JSON
 * array, or says what is wrong.
 *
 * @since 0.1.0
 */
export const fromWords: (text: string) => Result.Result<unknown, string> = Rule.fromText

/**
 * What may stand after the pattern in such a text.
 *
 * @since 0.1.0
 */
export const words: ReadonlyArray<string> = Rule.settingNames
