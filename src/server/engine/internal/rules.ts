/**
 * The rules of channels: the first one whose pattern matches the whole name of a channel is that of the channel.
 *
 * The rules of a vhost come before those of the broker. Names are matched when a channel is opened, or asked for in vain;
 * patterns are those of RE2, which takes linear time.
 */

import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Retry from "../../../protocol/Retry.ts"
import type { Resolved, ResolvedChannelRule } from "../../BrokerConfig.ts"
import { InvalidOptionError } from "../../BrokerError.ts"
import * as Permission from "../../domain/Permission.ts"
import type { ChannelLimits } from "./history.ts"
import { ownText } from "./ownText.ts"
import type { Steps } from "./steps.ts"

/** What browsers call the inbox of their user, and a rule those of all users. */
export const inboxName = ":user"

/** What a channel is like. */
export interface Rule {
  /** The pattern of the names that it is for, `undefined` if it is the one of all others. */
  readonly pattern: string | undefined
  /** Whether its first subscriber or retained broadcast opens it. */
  readonly openOnDemand: boolean
  /** What it retains; `undefined` if it has no history. */
  readonly history: ChannelLimits | undefined
  /** Whether its subscribers may broadcast. */
  readonly browsersBroadcast: boolean
  /** Whether a presence channel has members. */
  readonly presence: boolean
  /** How many milliseconds pass until a member whose connection was lost is gone. */
  readonly grace: number
  /** How many subscribers it may have. */
  readonly maxSubscribers: number
  /** Whether only the last broadcast of each event matters. */
  readonly latest: boolean
}

/** A rule of names that match its pattern. */
interface CompiledRule {
  readonly pattern: Pick<Permission.Pattern, "allows"> & {
    /** Compiles one that may not be compiled yet. */
    readonly compile?: () => unknown
  }
  readonly rule: Rule
  /** Whether its pattern names the inboxes of users: one that matches any name means channels. */
  readonly isForInboxes: boolean
}

/** A list of rules. */
export interface Rules {
  readonly list: ReadonlyArray<CompiledRule>
  /** The rule of all other names. */
  readonly otherwise: Rule
  /** The rules of the names that were looked up last. */
  readonly known: Map<string, Rule>
  /** The rules of names that were looked up by `prepare`, however many there are. */
  readonly learned: Map<string, Rule>
  /** The same for the same rules, also in another broker. */
  readonly digest: number
}

/** What rules do not say. */
export type Defaults = Pick<Resolved, "history" | "browsers">

/** The rule of a channel with this name, or of the inboxes of users: `:user`. */
export const ruleOf = ({ known, learned, list, otherwise }: Rules, name: string): Rule => {
  if (list.length === 0) return otherwise
  const before = learned.get(name) ?? known.get(name)
  if (before !== undefined) return before
  const rule = find(list, name) ?? otherwise
  if (known.size >= maxKnown) known.clear()
  if (name.length <= maxLength) known.set(ownText(name), rule)
  return rule
}

/**
 * Compiles the patterns that are not compiled yet, and looks up the rules of names. To compile or to match a pattern for the first time
 * takes up to tens of milliseconds: each is a step. The rules of the names are known until `learned` is cleared.
 */
export function* prepare(rules: Rules, names: Iterable<string>): Steps<void> {
  for (const { pattern } of rules.list) {
    if (pattern.compile === undefined) continue
    yield
    pattern.compile()
  }
  for (const name of names) yield* learn(rules, name)
}

function* learn({ learned, list, otherwise }: Rules, name: string): Steps<void> {
  for (const one of list) {
    yield
    if (isRuleOf(one, name)) return void learned.set(name, one.rule)
  }
  if (list.length > 0) learned.set(name, otherwise)
}

/** A pattern that was compiled elsewhere: here it is when it is needed. If that fails it matches nothing. */
export const lazily = (pattern: string): CompiledRule["pattern"] => {
  let compiled: CompiledRule["pattern"] | undefined
  const compile = () => compiled ??= Result.getOrElse(Permission.compile(pattern), () => nothing)
  return { allows: (name) => compile().allows(name), compile }
}

const nothing: CompiledRule["pattern"] = { allows: () => false }

/** Whether a pattern names the inboxes of users. */
export const isForInboxes = (pattern: string): boolean => pattern.includes(inboxName)

const find = (list: Rules["list"], name: string): Rule | undefined => list.find((one) => isRuleOf(one, name))?.rule

const isRuleOf = ({ isForInboxes, pattern }: CompiledRule, name: string): boolean =>
  (name !== inboxName || isForInboxes) && pattern.allows(name)

/** How many names are known, each of at most so many characters: backends broadcast to the same ones again. */
const maxKnown = 1000
const maxLength = 255

/** No rules: every channel is as in the original. */
export const none = ({ browsers }: Defaults): Rules => original(browsers.broadcast)

/** The same without a configuration. */
export const original = (browsersBroadcast: boolean): Rules => ({
  list: [],
  otherwise: {
    pattern: undefined,
    openOnDemand: false,
    history: undefined,
    browsersBroadcast,
    presence: true,
    grace: 3000,
    maxSubscribers: Infinity,
    latest: false
  },
  known: new Map(),
  learned: new Map(),
  digest: 0
})

/**
 * How large the patterns of a list may be together, in instructions. One name is matched with all of them in one step: with 255
 * characters that takes 0.1 seconds at most.
 */
const maxSize = 5000

/** Puts rules before others, and compiles the pattern of each in a step. Fails if one does not compile, or all are too large. */
export function* make(
  rules: ReadonlyArray<ResolvedChannelRule>,
  defaults: Defaults,
  others: Rules = none(defaults)
): Steps<Result.Result<Rules, InvalidOptionError>> {
  const list: Array<CompiledRule> = []
  let size = 0
  for (const [index, { pattern, ...rule }] of rules.entries()) {
    yield
    const compiled = Permission.compile(pattern)
    if (Result.isFailure(compiled)) {
      return Result.fail(refuse(index, pattern, compiled.failure.detail.replace("permission ", "")))
    }
    size += compiled.success.size
    if (size > maxSize) return Result.fail(refuse(index, pattern, tooLarge))
    list.push({
      pattern: compiled.success,
      rule: complete({ ...rule, pattern }, defaults),
      isForInboxes: isForInboxes(pattern)
    })
  }
  const digest = Retry.digest([
    JSON.stringify(rules),
    JSON.stringify(list.map(({ rule }) => rule)),
    String(others.digest)
  ])
  return Result.succeed({
    list: [...list, ...others.list],
    otherwise: others.otherwise,
    known: new Map(),
    learned: new Map(),
    digest
  })
}

const refuse = (index: number, pattern: string, why: string): InvalidOptionError =>
  new InvalidOptionError({
    option: `channelRules.${index}.pattern`,
    value: JSON.stringify(pattern),
    allowed: `a pattern in RE2 syntax; ${why}`
  })

const tooLarge = `with those before it the patterns have more than ${maxSize} instructions`

const complete = (
  { browsersBroadcast, grace, history, ...rule }: ResolvedChannelRule,
  { browsers, history: standard }: Defaults
): Rule => {
  const { age = standard.age, count = standard.count, size = standard.size } = history === true ? {} : history || {}
  return {
    ...rule,
    history: history === false ? undefined : { count, size, age: Duration.toMillis(age) },
    browsersBroadcast: browsersBroadcast ?? browsers.broadcast,
    grace: Duration.toMillis(grace)
  }
}
