/**
 * What was measured, as text: a table for people, and the same as Markdown for the documentation.
 */
import type { Figures, Result, Spread } from "./Bench.ts"

/** Where and when it was measured. */
export interface Setting {
  readonly date: string
  readonly node: string
  readonly processor: string
  readonly cores: number
  readonly loadBefore: number
  readonly loadAfter: number
  readonly rounds: number
  readonly quick: boolean
  readonly seconds: number
  readonly versions: Readonly<Record<string, string>>
}

/** A figure in few characters. */
export const figure = (value: number): string =>
  value >= 1e6
    ? `${(value / 1e6).toFixed(2)} M`
    : value >= 1e4
    ? `${(value / 1e3).toFixed(0)} k`
    : value >= 1000
    ? `${(value / 1e3).toFixed(1)} k`
    : value >= 100
    ? value.toFixed(0)
    : value >= 10
    ? value.toFixed(1)
    : value.toFixed(2)

/** A ratio with its spread. */
export const ratioOf = (spread: Spread): string =>
  `${spread.median.toFixed(2)} (${spread.min.toFixed(2)}–${spread.max.toFixed(2)})`

const ratiosOf = ({ ratios }: Figures): string =>
  Object.entries(ratios).map(([name, spread]) => `${ratioOf(spread)} × ${name.split(",")[0]}`).join("; ")

const cpuOf = ({ usage }: Figures): string =>
  Object.entries(usage).map(([name, { cpu }]) => `${name} ${figure(cpu)}`).join(", ")

const head = ["", "median", "min", "max", "ratio", "processor, µs each"]

const rowOf = (figures: Figures): ReadonlyArray<string> => [
  figures.name,
  figure(figures.median),
  figure(figures.min),
  figure(figures.max),
  ratiosOf(figures),
  cpuOf(figures)
]

/** A result as lines for a terminal. */
export const text = (result: Result): string => {
  const title = `${result.scenario}: ${result.title}, ${unitOf(result)}`
  return [title, ...aligned(result.figures.map(rowOf)).map((row) => `  ${row.join("  ").trimEnd()}`), ""].join("\n")
}

const unitOf = ({ better, name, unit }: Result): string =>
  `${unit.includes(name) ? "" : `${name} in `}${unit}${better === "less" ? ", less is better" : ""}`

/** All results of a scenario as Markdown tables, in the form that the formatter gives them. */
export const markdown = (results: ReadonlyArray<Result>): string => {
  const rows = results.flatMap((result) =>
    result.figures.map((figures, index) => [
      index === 0 ? `${result.title}, ${unitOf(result)}` : "",
      ...rowOf(figures)
    ])
  )
  const hasCpu = rows.some((row) => row[6] !== "")
  return table([["", "", ...head.slice(1)], ...rows].map((row) => hasCpu ? row : row.slice(0, 6)))
}

/** Rows as a Markdown table; the first is its head. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const [head, ...others] = aligned(rows)
  const line = (row: ReadonlyArray<string>) => `| ${row.join(" | ")} |`
  return [line(head!), line(head!.map((cell) => "-".repeat(Math.max(3, cell.length)))), ...others.map(line)].join("\n")
}

const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<ReadonlyArray<string>> => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)))
}

/** Where and when, in a sentence. */
export const settingText = (setting: Setting): string =>
  `Measured on ${setting.date} with Node.js ${setting.node} on ${setting.cores} cores (${setting.processor}), ` +
  `${setting.rounds} rounds${setting.quick ? ", quick" : ""}, in ${
    (setting.seconds / 60).toFixed(1)
  } minutes; load average ` +
  `${setting.loadBefore.toFixed(1)} before, ${setting.loadAfter.toFixed(1)} after; ${
    Object.entries(setting.versions).map(([name, version]) => `${name} ${version}`).join(", ")
  }.`
