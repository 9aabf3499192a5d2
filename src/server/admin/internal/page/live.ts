/**
 * The live part: charts and numbers of the broker as a whole, made of what it answers once a second.
 */

import * as Chart from "./chart.ts"
import { make as element, setText } from "./elements.ts"
import * as Format from "./format.ts"
import * as Series from "./series.ts"

type Overview = Series.Overview

/** The live part of the page. */
export interface Live {
  /** Shows what the broker has answered. */
  readonly show: (overview: Overview) => void
  /** The broker has not answered: the charts go on, with a gap. */
  readonly miss: () => void
}

/** A line, and what it shows of an answer and the one before. */
interface Source extends Chart.Line {
  readonly valueOf: (overview: Overview, before: Overview | undefined) => number | undefined
}

const rateLine = (label: string, of: (overview: Overview) => number): Source => ({
  label,
  series: [],
  valueOf: (overview, before) => Series.rateOf(before, overview, of)
})

const charts: ReadonlyArray<Omit<Chart.Options, "lines"> & { readonly lines: ReadonlyArray<Source> }> = [
  {
    title: "Browsers",
    format: Format.compact,
    lines: [{ label: "connected", series: [], valueOf: ({ counts }) => counts.browsers }]
  },
  {
    title: "Deliveries",
    format: Format.rate,
    lines: [
      rateLine("deliveries", ({ totals }) => totals.deliveries),
      rateLine("broadcasts", ({ totals }) => totals.broadcasts)
    ]
  },
  {
    title: "Events",
    format: Format.rate,
    lines: [
      rateLine("triggered", ({ totals }) => totals.events),
      rateLine("acknowledged", ({ totals }) => totals.acknowledged)
    ]
  }
]

/** How many answers are kept to measure lags over: a minute. */
const minute = 60

/** Puts the charts and the numbers into the page. */
export const make = (places: { readonly charts: HTMLElement; readonly numbers: HTMLElement }): Live => {
  const drawn = charts.map(Chart.make)
  const shown = numbers.map(({ title }) => {
    const value = element("dd", {}, "–")
    const detail = element("dd", { class: "soft" })
    const tile = element("div", { class: "tile" }, element("dt", {}, title), value, detail)
    return { value, detail, tile }
  })
  places.charts.replaceChildren(...drawn.map(({ element }) => element))
  places.numbers.replaceChildren(...shown.map(({ tile }) => tile))
  let last: Array<Overview> = []
  const draw = (values: (source: Source) => number | undefined) => {
    const now = performance.now()
    for (const { lines } of charts) for (const line of lines) Series.add(line.series, now, values(line))
    for (const chart of drawn) chart.draw(now)
  }
  return {
    show: (overview) => {
      const before = last.at(-1)
      // Not across a start of the broker.
      if (before !== undefined && overview.uptime < before.uptime) last = []
      last.push(overview)
      if (last.length > minute) last.shift()
      draw(({ valueOf }) => valueOf(overview, before))
      for (const [index, { of }] of numbers.entries()) {
        const { detail = "", isBad = false, value } = of(overview, last[0]!)
        setText(shown[index]!.value, value)
        setText(shown[index]!.detail, detail)
        shown[index]!.tile.classList.toggle("bad", isBad)
      }
    },
    miss: () => draw(() => undefined)
  }
}

/** A number, what is said below it, and whether somebody should look at it. */
interface Shown {
  readonly value: string
  readonly detail?: string
  readonly isBad?: boolean
}

// What was measured in the last minute, or since this page was opened; if nothing was, all that was measured.
const lagOf = (lag: Series.Lag, before: Series.Lag, slow: number): Shown => {
  const lately = Series.between(before, lag)
  const isLately = Series.quantile(lately, 0.5) !== undefined
  const [median, most] = [0.5, 0.99].map((part) => Series.quantile(isLately ? lately : lag, part))
  if (median === undefined || most === undefined) return { value: "–", detail: "nothing measured yet" }
  return {
    value: Format.seconds(median),
    detail: `99 %: ${Format.seconds(most)}${isLately ? "" : ", earlier"}`,
    isBad: isLately && most > slow
  }
}

const numbers: ReadonlyArray<
  { readonly title: string; readonly of: (overview: Overview, aMinuteAgo: Overview) => Shown }
> = [
  {
    title: "Channels",
    of: ({ counts }) => ({
      value: Format.compact(counts.channels),
      detail: `${Format.compact(counts.subscriptions)} subscriptions`
    })
  },
  {
    title: "Workers",
    of: ({ counts }) => ({ value: Format.compact(counts.workers), isBad: counts.workers === 0 && counts.queued > 0 })
  },
  {
    title: "Queued",
    of: ({ counts, oldestSeconds }) => ({
      value: Format.compact(counts.queued),
      detail: counts.queued === 0 ? "" : `oldest: ${Format.seconds(oldestSeconds)}`,
      isBad: oldestSeconds > 60
    })
  },
  { title: "Unacknowledged", of: ({ counts }) => ({ value: Format.compact(counts.unacked) }) },
  {
    title: "Dead letters",
    of: ({ counts }) => ({ value: Format.compact(counts.deadLetters), isBad: counts.deadLetters > 0 })
  },
  {
    title: "Slow browsers",
    of: ({ blocked, refused }) => ({
      value: Format.compact(blocked.browsers),
      detail: blocked.browsers > 0
        ? `${Format.bytes(blocked.bytes)} queued`
        : refused.slow > 0
        ? `${Format.compact(refused.slow)} disconnected so far`
        : "",
      isBad: blocked.browsers > 0
    })
  },
  {
    title: "Refused so far",
    of: ({ refused: { browsers, events, messages } }) => ({
      value: Format.compact(browsers + messages + events),
      detail: [[browsers, "browsers"], [messages, "messages"], [events, "events"]]
        .flatMap(([number, what]) => number === 0 ? [] : [`${Format.compact(number as number)} ${what}`])
        .join(", ")
    })
  },
  { title: "Broadcast to socket", of: ({ lag }, { lag: before }) => lagOf(lag.broadcasts, before.broadcasts, 0.5) },
  { title: "Trigger to ack", of: ({ lag }, { lag: before }) => lagOf(lag.events, before.events, 10) },
  {
    title: "Event loop delay",
    of: ({ delaySeconds }) => ({
      value: Format.seconds(delaySeconds),
      detail: "longest of a minute",
      isBad: delaySeconds > 0.5
    })
  },
  { title: "Memory", of: ({ memory }) => ({ value: Format.bytes(memory) }) },
  { title: "Up for", of: ({ uptime, version }) => ({ value: Format.seconds(uptime), detail: `version ${version}` }) }
]
