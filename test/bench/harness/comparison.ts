/**
 * What has changed since a saved run. Where there are peers, their ratios are compared, since figures of two runs are of two
 * states of the machine; otherwise the figures themselves.
 */
import type { Result, Spread } from "./Bench.ts"
import type { Setting as Whole } from "./report.ts"

/** What is said of the two runs. */
type Setting = Pick<Whole, "date" | "loadBefore" | "loadAfter">

/** A figure, then and now. */
export interface Change {
  readonly what: string
  /** How much better it is than before: 2 is twice as much, or half as much where less is better. */
  readonly gain: number
  readonly before: Spread
  readonly now: Spread
  /** Whether all rounds of one run were better than all rounds of the other. */
  readonly isClear: boolean
}

/** Below this gain, if it is clear, a change is a regression; above its inverse it is an improvement. */
const notable = 0.9

/** Compares what both runs have measured. */
export const compare = (before: ReadonlyArray<Result>, now: ReadonlyArray<Result>): ReadonlyArray<Change> => {
  const known = new Map(before.flatMap(spreadsOf).map(({ spread, what }) => [what, spread]))
  return now.flatMap((result) =>
    spreadsOf(result).flatMap(({ spread, what }) => {
      const old = known.get(what)
      return old === undefined ? [] : [changeOf(what, old, spread, result.better)]
    })
  )
}

/** Whether it is worse by more than the rounds of the two runs differ among themselves. */
export const isRegression = ({ gain, isClear }: Change): boolean => isClear && gain < notable

const isImprovement = ({ gain, isClear }: Change): boolean => isClear && gain > 1 / notable

const changeOf = (what: string, before: Spread, now: Spread, better: Result["better"]): Change => {
  const times = now.median / before.median
  return {
    what,
    gain: better === "more" ? times : 1 / times,
    before,
    now,
    isClear: now.min > before.max || now.max < before.min
  }
}

const spreadsOf = ({ figures, metric, scenario, title }: Result) => {
  const hasPeers = figures.some(({ ratios }) => Object.keys(ratios).length > 0)
  return figures.flatMap((figures) => {
    const spreads = hasPeers ? Object.entries(figures.ratios) : [["", figures] as const]
    return spreads.map(([peer, spread]) => ({
      what: `${scenario}: ${title}, ${metric}: ${figures.name}${peer === "" ? "" : ` × ${peer}`}`,
      spread
    }))
  })
}

const textOf = ({ median, max, min }: Spread): string => `${digits(median)} (${digits(min)}–${digits(max)})`

const digits = (value: number): string => value >= 100 ? value.toFixed(0) : value.toPrecision(3)

/** The regressions and the improvements as lines, the worst first. */
export const text = (changes: ReadonlyArray<Change>, before: Setting, now: Setting): string => {
  const list = (title: string, changes: ReadonlyArray<Change>) => [
    `${title}: ${changes.length === 0 ? "none" : ""}`.trimEnd(),
    ...changes.toSorted((one, other) => one.gain - other.gain).flatMap(({ before, gain, now, what }) => [
      `  ${gain.toFixed(2)} ×  ${what}`,
      `          ${textOf(before)} → ${textOf(now)}`
    ])
  ]
  return [
    `Compared with the run of ${before.date}, ${changes.length} figures. What differs by less than the rounds do is not listed.`,
    `The load average was ${loadsOf(before)} then and ${loadsOf(now)} now: on a busy machine ratios differ, too.`,
    ...list("Worse", changes.filter(isRegression)),
    ...list("Better", changes.filter(isImprovement)),
    ""
  ].join("\n")
}

const loadsOf = ({ loadAfter, loadBefore }: Setting): string => `${loadBefore.toFixed(1)} to ${loadAfter.toFixed(1)}`
