/**
 * Rules of channels as text, for other nodes. The patterns are compiled where the text is read.
 */

import * as Result from "effect/Result"
import * as Permission from "../../domain/Permission.ts"
import * as Fields from "./fields.ts"
import { isForInboxes, type Rule, type Rules } from "./rules.ts"

/** Writes rules. The same text says the same of all channels. */
export const write = ({ digest, list, otherwise }: Rules): string =>
  Fields.number(digest) + writeRule(otherwise) +
  Fields.all(list, ({ rule }) => writeRule(rule))

/** Reads rules. One whose pattern does not compile here matches nothing; where it was written it did. */
export const read = (reader: Fields.Reader): Rules => ({
  digest: Fields.numberOf(reader),
  otherwise: readRule(reader),
  list: Fields.allOf(reader, (reader) => {
    const rule = readRule(reader)
    const { pattern = "" } = rule
    return {
      pattern: Result.getOrElse(Permission.compile(pattern), () => nothing),
      rule,
      isForInboxes: isForInboxes(pattern)
    }
  }),
  known: new Map(),
  learned: new Map()
})

const nothing: Permission.Pattern = { allows: () => false, bytes: 0 }

const writeRule = (rule: Rule): string =>
  Fields.text(rule.pattern) +
  Fields.flag(rule.openOnDemand) +
  Fields.flag(rule.browsersBroadcast) +
  Fields.flag(rule.presence) +
  Fields.flag(rule.latest) +
  Fields.number(rule.grace) +
  Fields.number(rule.maxSubscribers) +
  Fields.number(rule.history?.count) +
  (rule.history === undefined ? "" : Fields.number(rule.history.size) + Fields.number(rule.history.age))

const readRule = (reader: Fields.Reader): Rule => ({
  pattern: Fields.readText(reader),
  openOnDemand: Fields.flagOf(reader),
  browsersBroadcast: Fields.flagOf(reader),
  presence: Fields.flagOf(reader),
  latest: Fields.flagOf(reader),
  grace: Fields.numberOf(reader),
  maxSubscribers: Fields.numberOf(reader),
  history: readHistory(reader)
})

const readHistory = (reader: Fields.Reader): Rule["history"] => {
  const count = Fields.readNumber(reader)
  return count === undefined
    ? undefined
    : { count, size: Fields.numberOf(reader), age: Fields.numberOf(reader) }
}
