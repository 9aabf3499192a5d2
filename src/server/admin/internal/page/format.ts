/**
 * Numbers, sizes and times as people read them.
 */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 })
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 })

/** A whole number: `12,345`. */
export const count = (value: number): string => whole.format(value)

/** A number of any size in few characters: `12.3K`. */
export const compact = (value: number): string => value < 1000 ? fine.format(value) : short.format(value)

/** So many in a second. */
export const rate = (value: number): string => `${value < 100 ? fine.format(value) : compact(value)}/s`

/** One of something, or several: `1 event`, `2 events`. */
export const counted = (value: number, one: string, several = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : several}`

const units: ReadonlyArray<readonly [seconds: number, name: string]> = [[86_400, "d"], [3600, "h"], [60, "min"]]

/** A duration, in its two largest units: `250 µs`, `1.5 s`, `2 h 5 min`. */
export const seconds = (value: number): string => {
  if (value <= 0) return "0 s"
  if (value < 0.001) return `${fine.format(value * 1e6)} µs`
  if (value < 1) return `${fine.format(value * 1000)} ms`
  if (value < 60) return `${fine.format(value < 10 ? value : Math.floor(value))} s`
  const [index, [size, name]] = [...units.entries()].find(([, [size]]) => value >= size)!
  const rest = Math.floor((value % size) / (units[index + 1]?.[0] ?? 1))
  return `${Math.floor(value / size)} ${name}${rest === 0 ? "" : ` ${rest} ${units[index + 1]?.[1] ?? "s"}`}`
}

/** A size: `1.5 MiB`. */
export const bytes = (value: number): string => {
  const exponent = Math.min(3, Math.floor(Math.log2(Math.max(1, value)) / 10))
  const scaled = value / 1024 ** exponent
  return `${scaled >= 100 ? whole.format(scaled) : fine.format(scaled)} ${["B", "KiB", "MiB", "GiB"][exponent]}`
}

/** A moment, in milliseconds since 1970, as a time of today or a date. */
export const moment = (millis: number): string => {
  const date = new Date(millis)
  const isToday = date.toDateString() === new Date().toDateString()
  return isToday
    ? date.toLocaleTimeString([], { timeStyle: "medium" })
    : date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })
}
