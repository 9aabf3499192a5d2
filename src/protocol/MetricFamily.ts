/**
 * A metric with one series for each combination of its attributes' values, each made once and then found again, since
 * making one costs more than updating it. The values must be few: what users name does not belong in them.
 *
 * @since 0.1.0
 */

import * as Metric from "effect/Metric"

/**
 * Gives the series of these values.
 *
 * @since 0.1.0
 */
export type MetricFamily<Keys extends ReadonlyArray<string>, Input, State> = (
  ...values: { readonly [Index in keyof Keys]: string }
) => Metric.Metric<Input, State>

/**
 * The series of `metric` by the attributes `keys`.
 *
 * @since 0.1.0
 */
export const make = <Input, State, const Keys extends ReadonlyArray<string>>(
  metric: Metric.Metric<Input, State>,
  ...keys: Keys
): MetricFamily<Keys, Input, State> => {
  const series = new Map<string, Metric.Metric<Input, State>>()
  return (...values) => {
    const name = values.join(" ")
    const known = series.get(name)
    if (known !== undefined) return known
    const made = Metric.withAttributes(metric, keys.map((key, index): [string, string] => [key, values[index]!]))
    series.set(name, made)
    return made
  }
}
