/**
 * The limits of this process: file descriptors, of which each connection takes one, and memory. Read them once; on some
 * systems that takes milliseconds.
 */

import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as V8 from "node:v8"

/** The memory in bytes: that of the machine, the container or the heap, whichever is least. */
export const memory = (): number => {
  const container = process.constrainedMemory()
  const limits = [Os.totalmem(), V8.getHeapStatistics().heap_size_limit, container > 0 ? container : Infinity]
  return Math.min(...limits)
}

/** How many more file descriptors it may open; `Infinity` if that is unknown. */
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

// On other systems only Node.js' diagnostic report has it. Without its network part it is much faster.
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
