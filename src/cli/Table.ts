/**
 * Tables for people: columns that are as wide as what is in them, with a heading.
 *
 * @since 0.1.0
 */

/**
 * Writes the rows of a table below each other. The first call has the heading; later ones keep its widths.
 *
 * @since 0.1.0
 */
export const make = (headings: ReadonlyArray<string>) => {
  let widths: ReadonlyArray<number> | undefined
  return (rows: ReadonlyArray<ReadonlyArray<string | number>>): string => {
    const isFirst = widths === undefined
    const texts = rows.map((row) => row.map(String))
    const lines = isFirst ? [headings, ...texts] : texts
    widths ??= headings.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
    const line = (cells: ReadonlyArray<string>) =>
      cells.map((cell, column) => cell.padEnd(widths![column]!)).join("  ").trimEnd()
    return lines.map((cells) => `${line(cells)}\n`).join("")
  }
}
