/**
 * A strict reader of Prometheus' text format 0.0.4: it fails at the first line that the format does not allow.
 */

/** The samples of one name. */
export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  /** The values by their labels, as they are written. */
  readonly samples: ReadonlyMap<string, number>
}

const name = "[a-zA-Z_:][a-zA-Z0-9_:]*"
const label = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"`
const helpLine = new RegExp(`^# HELP (${name}) ((?:[^\\\\]|\\\\[\\\\n])+)$`)
const typeLine = new RegExp(`^# TYPE (${name}) (counter|gauge|histogram|summary|untyped)$`)
const sampleLine = new RegExp(
  `^(${name})(?:\\{(${label}(?:,${label})*)\\})? ([+-]?(?:[0-9.]+(?:e[+-]?[0-9]+)?|Inf)|NaN)$`
)

/** Reads a text, family by family: the help, the type, and all samples together. */
export const parse = (text: string): ReadonlyMap<string, Family> => {
  if (!text.endsWith("\n")) throw new Error("The last line has no end")
  const families = new Map<string, Family & { readonly samples: Map<string, number> }>()
  const lines = text.slice(0, -1).split("\n")
  for (let index = 0; index < lines.length;) {
    const fail = (problem: string): never => {
      throw new Error(`Line ${index + 1}: ${problem}: ${lines[index]}`)
    }
    const [, of, help] = helpLine.exec(lines[index]!) ?? fail("no HELP")
    index++
    const [, typed, type] = typeLine.exec(lines[index] ?? "") ?? fail("no TYPE")
    if (typed !== of) fail(`the type is not that of ${of}`)
    if (families.has(of!)) fail("the family was there before")
    const samples = new Map<string, number>()
    for (index++; index < lines.length && !lines[index]!.startsWith("#"); index++) {
      const [, sample, labels = "", value] = sampleLine.exec(lines[index]!) ?? fail("no sample")
      const series = sample!.slice(of!.length)
      const isPart = type === "histogram" ? ["_bucket", "_sum", "_count"].includes(series) : series === ""
      if (!sample!.startsWith(of!) || !isPart) fail(`no sample of ${of}`)
      const names = [...labels.matchAll(/([a-zA-Z0-9_]+)="/g)].map(([, name]) => name)
      if (new Set(names).size < names.length) fail("a label occurs twice")
      if (samples.has(series + labels)) fail("the sample was there before")
      const number = Number(value!.replace("Inf", "Infinity"))
      if (type === "counter" && !(number >= 0)) fail("a counter counts from 0")
      samples.set(series + labels, number)
    }
    if (samples.size === 0) fail("no sample")
    families.set(of!, { name: of!, type: type!, help: help!, samples })
  }
  return families
}
