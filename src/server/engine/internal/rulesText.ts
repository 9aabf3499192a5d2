/**
 * Rules of channels as text, for other nodes.
 */

import * as Fields from "./fields.ts"
import { isForInboxes, lazily, type Rule, type Rules } from "./rules.ts"

/** Writes rules. The same text says the same of all channels. */
export const write = ({ digest, list, otherwise }: Rules): string =>
  Fields.number(digest) + writeRule(otherwise) +
  Fields.all(list, ({ rule }) => writeRule(rule))

/** Reads rules. Their patterns are not compiled yet, see `prepare`. One that does not compile here matches nothing; where it was written it did. */
export const read = (reader: Fields.Reader): Rules => ({
  digest: Fields.numberOf(reader),
  otherwise: readRule(reader),
  list: Fields.allOf(reader, (reader) => {
    const rule = readRule(reader)
    const { pattern = "" } = rule
    return { pattern: lazily(pattern), rule, isForInboxes: isForInboxes(pattern) }
  }),
  known: new Map(),
  learned: new Map()
})

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
