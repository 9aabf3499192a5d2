/**
 * Writes what was measured into `docs/performance.md`, between marks, and draws `docs/performance.svg`.
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import type { Result } from "./Bench.ts"
import * as Chart from "./chart.ts"
import * as Goals from "./goals.ts"
import * as Limits from "./limits.ts"
import * as Processor from "./processor.ts"
import * as Report from "./report.ts"
import * as Sizes from "./sizes.ts"

const file = (name: string) => new URL(`../../../${name}`, import.meta.url)

/** Writes all tables of a run and the picture. */
export const write = (
  results: ReadonlyArray<Result>,
  profiles: ReadonlyArray<Processor.Profiled>,
  setting: Report.Setting
): void => {
  const page = file("docs/performance.md")
  const contents: Record<string, () => string> = {
    setting: () => Report.settingText(setting),
    goals: () => Goals.markdown(results),
    limits: () => Limits.markdown(results),
    processor: () => Processor.markdown(results, profiles),
    sizes: Sizes.markdown
  }
  const text = readFileSync(page, "utf8").replace(/<!-- (\w+) -->\n[^]*?<!-- end -->/g, (_, name: string) => {
    const content = contents[name]?.() ?? Report.markdown(results.filter(({ scenario }) => scenario === name))
    return `<!-- ${name} -->\n\n${content}\n\n<!-- end -->`
  })
  writeFileSync(page, text)
  const caption = `${setting.date}, Node.js ${setting.node}, ${setting.cores} shared cores, ${setting.rounds} rounds`
  writeFileSync(file("docs/performance.svg"), Chart.draw(results, caption))
  execFileSync("npx", ["dprint", "fmt", "docs/performance.md"], { cwd: file(""), stdio: ["ignore", 2, 2] })
}
