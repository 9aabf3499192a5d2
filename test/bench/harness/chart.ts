/**
 * The ratios as a picture: a bar to the right is ahead of the peer, one to the left behind it, and a thin line goes from the
 * least to the most of the rounds. The scale is logarithmic: twice as much is as long as half as much.
 */
import { type Result, unpictured } from "./Bench.ts"

const left = 440
const right = 50
const width = 1000
const line = 20
/** The ends of the scale, in doublings; what is beyond 128 times is drawn as that. */
interface Octaves {
  readonly from: number
  readonly to: number
}

/** Draws all throughputs. */
export const draw = (results: ReadonlyArray<Result>, caption: string): string => {
  const rows = results.filter(({ better }) => better === "more").flatMap(rowsOf)
  const bars = rows.filter((row) => typeof row !== "string")
  const octaves = {
    from: Math.max(-7, Math.floor(Math.log2(Math.min(1, ...bars.map(({ min }) => min))))),
    to: Math.min(7, Math.ceil(Math.log2(Math.max(2, ...bars.map(({ max }) => max)))))
  }
  const height = line * (rows.length + 4)
  const bottom = line * (rows.length + 2)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" font-size="12">`,
    `<title>How much the library does, compared with its peers</title>`,
    `<style>${style}</style>`,
    `<rect class="ground" width="${width}" height="${height}"/>`,
    ...scale(octaves, bottom),
    ...rows.flatMap((row, index) => {
      const y = line * (index + 1.5)
      return typeof row === "string" ? [heading(row, y)] : bar(octaves, row, y)
    }),
    `<text class="note" x="10" y="${height - 8}">${escaped(caption)}</text>`,
    "</svg>",
    ""
  ].join("\n")
}

const style = [
  "text{font-family:system-ui,sans-serif;fill:#222}.note{fill:#666}.heading{font-weight:600}.ground{fill:#fff}",
  ".grid{stroke:#ddd}.one{stroke:#222}.ahead{fill:#3a7d44}.behind{fill:#c2703d}.spread{stroke:#222}",
  "@media(prefers-color-scheme:dark){text{fill:#ddd}.note{fill:#999}.ground{fill:#0d1117}",
  ".grid{stroke:#333}.one,.spread{stroke:#ddd}}"
].join("")

interface Row {
  readonly label: string
  readonly median: number
  readonly min: number
  readonly max: number
}

/** A heading, and a bar for each ratio. */
const rowsOf = ({ figures, scenario, title }: Result): ReadonlyArray<string | Row> => {
  const rows = figures.flatMap(({ name, ratios }) =>
    Object.entries(ratios).filter(([peer]) => !unpictured.has(peer)).map(([peer, { max, median, min }]) => ({
      label: `${name.replace("Kosmonaut, ", "")} / ${peer}`,
      median,
      min,
      max
    }))
  )
  return rows.length === 0 ? [] : [`${scenario}: ${title}`, ...rows]
}

const heading = (text: string, y: number): string => `<text class="heading" x="10" y="${y + 4}">${escaped(text)}</text>`

const placeIn = (octaves: Octaves) => (ratio: number): number => {
  const octave = Math.min(octaves.to, Math.max(octaves.from, Math.log2(ratio)))
  return Math.round(left + (octave - octaves.from) / (octaves.to - octaves.from) * (width - left - right))
}

const scale = (octaves: Octaves, bottom: number): ReadonlyArray<string> =>
  Array.from({ length: octaves.to - octaves.from + 1 }, (_, index) => index + octaves.from).flatMap((octave) => {
    const at = placeIn(octaves)(2 ** octave)
    return [
      `<line class="${octave === 0 ? "one" : "grid"}" x1="${at}" y1="${line}" x2="${at}" y2="${bottom - line / 2}"/>`,
      `<text x="${at}" y="${bottom + 4}" text-anchor="middle">${
        octave < 0 ? `1/${2 ** -octave}` : 2 ** octave
      } ×</text>`
    ]
  })

const bar = (octaves: Octaves, { label, max, median, min }: Row, y: number): ReadonlyArray<string> => {
  const x = placeIn(octaves)
  const [start, end] = [x(1), x(median)].toSorted((a, b) => a - b) as [number, number]
  return [
    `<text x="${left - 10}" y="${y + 4}" text-anchor="end">${escaped(label)}</text>`,
    `<rect class="${median < 1 ? "behind" : "ahead"}" x="${start}" y="${y - 6}" width="${
      Math.max(1, end - start)
    }" height="12"/>`,
    `<line class="spread" x1="${x(min)}" y1="${y}" x2="${x(max)}" y2="${y}"/>`,
    `<text x="${Math.max(x(max), x(1)) + 6}" y="${y + 4}">${median.toFixed(2)}</text>`
  ]
}

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
