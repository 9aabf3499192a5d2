/**
 * A chart of the last two minutes: lines over time, what they are now, and by pointer or arrow keys what they were.
 */

import { make as element, makeSvg, setText } from "./elements.ts"
import { type Point, type Series, span } from "./series.ts"

/** A line of a chart. */
export interface Line {
  readonly label: string
  readonly series: Series
}

/** What a chart is made of. */
export interface Options {
  readonly title: string
  readonly format: (value: number) => string
  readonly lines: ReadonlyArray<Line>
}

/** A chart in the page. */
export interface Chart {
  readonly element: HTMLElement
  /** Draws it as it is at this time. */
  readonly draw: (now: number) => void
}

/** The size of the drawing, which is stretched to that of the chart. */
const width = 600
const height = 120

/** From how many milliseconds on two values are not joined: nobody has looked at the page, or it was asleep. */
const gap = 10_000

/** Makes a chart. */
export const make = ({ format, lines, title }: Options): Chart => {
  const paths = lines.map((_, index) => makeSvg("path", { class: `line line-${index}` }))
  const areas = lines.map((_, index) => makeSvg("path", { class: `area line-${index}` }))
  const cursor = makeSvg("line", { class: "cursor", y1: "0", y2: String(height), visibility: "hidden" })
  const drawing = makeDrawing(...areas, ...paths, cursor)
  const most = element("span", { class: "most" })
  const plot = element("div", { class: "plot", tabindex: "0", role: "img" }, drawing, most)
  const values = lines.map(() => element("strong", {}, "–"))
  const time = element("time", {})
  const legend = element(
    "p",
    { class: "legend" },
    ...lines.map(({ label }, index) =>
      element("span", { class: `value line-${index}` }, values[index]!, lines.length > 1 ? ` ${label}` : "")
    ),
    time
  )
  const figure = element("figure", { class: "card chart" }, element("h2", {}, title), legend, plot)
  let now = 0
  // Which moment is shown, in milliseconds before now.
  let shown: number | undefined
  const showValues = () => {
    const points = lines.map(({ series }) => pointAt(series, now - (shown ?? 0)))
    points.forEach((point, index) => setText(values[index]!, point?.value === undefined ? "–" : format(point.value)))
    setText(time, shown === undefined ? "" : `${Math.round(shown / 1000)} s ago`)
    cursor.setAttribute("visibility", shown === undefined ? "hidden" : "visible")
    const x = String(width * (1 - (shown ?? 0) / span))
    cursor.setAttribute("x1", x)
    cursor.setAttribute("x2", x)
    const texts = points.map((point, index) => `${format(point?.value ?? 0)} ${lines[index]!.label}`)
    plot.setAttribute(
      "aria-label",
      `${title}: ${texts.join(", ")}${shown === undefined ? "" : `, ${time.textContent}`}`
    )
  }
  listen(plot, (at) => {
    shown = at(shown)
    showValues()
  })
  return {
    element: figure,
    draw: (at) => {
      now = at
      const top = ceiling(Math.max(0, ...lines.flatMap(({ series }) => series.map(({ value = 0 }) => value))))
      setText(most, format(top))
      for (const [index, { series }] of lines.entries()) {
        const parts = partsOf(series).map((part) => part.map((point) => place(point, now, top)))
        paths[index]!.setAttribute("d", parts.map((part) => `M${part.join("L")}`).join(""))
        areas[index]!.setAttribute("d", parts.map(closed).join(""))
      }
      showValues()
    }
  }
}

// Stretched to the size of the chart, over lines at the top and in the middle.
const makeDrawing = (...parts: ReadonlyArray<SVGElement>): SVGElement => {
  const grid = [0.5, height / 2].map((y) =>
    makeSvg("line", { class: "grid", x1: "0", x2: String(width), y1: String(y), y2: String(y) })
  )
  const attributes = { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }
  return makeSvg("svg", attributes, ...grid, ...parts)
}

// Calls with how the moment that is shown changes.
const listen = (plot: HTMLElement, change: (at: (shown: number | undefined) => number | undefined) => void): void => {
  plot.addEventListener("pointermove", ({ clientX }) => {
    const { left, width } = plot.getBoundingClientRect()
    change(() => span * (1 - Math.min(1, Math.max(0, (clientX - left) / width))))
  })
  plot.addEventListener("pointerleave", () => change(() => undefined))
  plot.addEventListener("blur", () => change(() => undefined))
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: 1000, ArrowRight: -1000 }[event.key]
    if (step === undefined && event.key !== "Escape") return
    event.preventDefault()
    change((shown = 0) => step === undefined ? undefined : Math.min(span, Math.max(0, shown + step)))
  })
}

const pointAt = (series: Series, at: number): Point | undefined => {
  let nearest: Point | undefined
  for (const point of series) {
    if (Math.abs(point.at - at) < Math.abs((nearest?.at ?? -Infinity) - at)) nearest = point
  }
  return nearest !== undefined && Math.abs(nearest.at - at) < gap ? nearest : undefined
}

interface Known extends Point {
  readonly value: number
}

// The parts between gaps.
const partsOf = (series: Series): ReadonlyArray<ReadonlyArray<Known>> => {
  const parts: Array<Array<Known>> = []
  let last: Known | undefined
  for (const { at, value } of series) {
    if (value === undefined) {
      last = undefined
      continue
    }
    const point = { at, value }
    if (last === undefined || at - last.at > gap) parts.push([])
    parts.at(-1)!.push(last = point)
  }
  return parts
}

const place = ({ at, value }: Known, now: number, top: number): string => {
  const x = width * (1 - (now - at) / span)
  const y = height - (height - 4) * value / top - 1
  return `${x.toFixed(1)} ${y.toFixed(1)}`
}

const closed = (part: ReadonlyArray<string>): string => {
  const [first] = part[0]!.split(" ")
  const [last] = part.at(-1)!.split(" ")
  return `M${first} ${height}L${part.join("L")}L${last} ${height}Z`
}

/** The least of 1, 2, 3 and 5 times a power of ten that is not less. */
const ceiling = (value: number): number => {
  if (value <= 1) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 3, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value)!
}
