/**
 * A metric with one series for each combination of its attributes' values, each made once and then found again, since
 * making one costs more than updating it. Each is a metric of its own, whose attributes are known before it is updated. The
 * values must be few: what users name does not belong in them.
 *
 * @since 0.1.0
 */

import type * as Metric from "effect/Metric"

/**
 * Gives the series of these values.
 *
 * @since 0.1.0
 */
export type MetricFamily<Keys extends ReadonlyArray<string>, Input, State> = (
  ...values: { readonly [Index in keyof Keys]: string }
) => Metric.Metric<Input, State>

/**
 * The series by the attributes `keys` of what `of` makes with attributes.
 *
 * @since 0.1.0
 */
export const make = <Input, State, const Keys extends ReadonlyArray<string>>(
  of: (attributes: Readonly<Record<string, string>>) => Metric.Metric<Input, State>,
  ...keys: Keys
): MetricFamily<Keys, Input, State> => {
  // By one value after the other, so that no name is put together to find a series.
  const series: Node<Input, State> = new Map()
  return (...values) => {
    let node: Node<Input, State> | Metric.Metric<Input, State> | undefined = series
    for (const value of values) node = node instanceof Map ? node.get(value) : undefined
    return node === undefined || node instanceof Map ? add(values) : node
  }

  function add(values: ReadonlyArray<string>): Metric.Metric<Input, State> {
    const made = of(Object.fromEntries(keys.map((key, index) => [key, values[index]!])))
    let node = series
    for (const value of values.slice(0, -1)) {
      const next = node.get(value)
      const map: Node<Input, State> = next instanceof Map ? next : new Map()
      node.set(value, map)
      node = map
    }
    node.set(values.at(-1)!, made)
    return made
  }
}

type Node<Input, State> = Map<string, Node<Input, State> | Metric.Metric<Input, State>>
