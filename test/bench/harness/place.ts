/**
 * Where a figure is in the results of a run.
 */
import type { Figures, Result } from "./Bench.ts"

/** The results of a run. */
export type Results = ReadonlyArray<Result>

/** The scenario, the title, the contestant, and the end of the metric's name if there are several. */
export type Place = readonly [scenario: string, title: string, name: string, metric?: string | undefined]

/** The figures at a place; `undefined` if they were not measured. */
export const find = (results: Results, [scenario, title, name, metric = ""]: Place): Figures | undefined => {
  return results.find((one) => one.scenario === scenario && one.title === title && one.metric.endsWith(metric))
    ?.figures.find((one) => one.name === name)
}
