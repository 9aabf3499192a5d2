/**
 * What the system lets this process have: file descriptors, of which each connection takes one, and memory. To be looked
 * up once, it takes some milliseconds on some systems.
 */

import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as V8 from "node:v8"

/** How many bytes of memory it may have: those of the machine, the container or the heap, whichever are fewest. */
export const memory = (): number => {
  const container = process.constrainedMemory()
  const limits = [Os.totalmem(), V8.getHeapStatistics().heap_size_limit, container > 0 ? container : Infinity]
  return Math.min(...limits)
}

/** How many file descriptors it may open beside those that it has open now; `Infinity` where that is not known. */
export const descriptors = (): number => {
  const limit = limitOfLinux() ?? limitOfReport() ?? Infinity
  const open = Result.getOrElse(Result.try(() => Fs.readdirSync("/proc/self/fd").length), () => 0)
  return Math.max(0, limit - open)
}

const limitOfLinux = (): number | undefined => {
  const limits = Result.getOrElse(Result.try(() => Fs.readFileSync("/proc/self/limits", "utf8")), () => "")
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits) ?? []
  return soft === undefined ? undefined : soft === "unlimited" ? Infinity : Number(soft)
}

// Elsewhere only Node.js' diagnostic report says it. It need not look up the names of all peers for that.
const limitOfReport = (): number | undefined => {
  const settings: typeof process.report & { excludeNetwork?: boolean } = process.report
  const { excludeNetwork = false } = settings
  settings.excludeNetwork = true
  const report: unknown = process.report.getReport()
  settings.excludeNetwork = excludeNetwork
  const { userLimits } = report as { readonly userLimits?: { readonly open_files?: { readonly soft?: unknown } } }
  const soft = userLimits?.open_files?.soft
  return typeof soft === "number" ? soft : undefined
}
