/**
 * What a process has cost so far.
 */
import { readFileSync } from "node:fs"

/** Processor time of all threads, and what it has read and written with `read`, `write` and `writev`: all but what ZeroMQ does. */
export interface Usage {
  /** In microseconds. */
  readonly cpu: number
  readonly reads: number
  readonly writes: number
  /** How many bytes went in or out. */
  readonly bytes: number
}

/** Of this process, or with the processor time of another. System calls are known on Linux alone. */
export const read = (pid: number | "self" = "self", cpu: number = own()): Usage => {
  const text = contentOf(`/proc/${pid}/io`)
  const figure = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(text)?.[1] ?? 0)
  return { cpu, reads: figure("syscr"), writes: figure("syscw"), bytes: figure("rchar") + figure("wchar") }
}

const own = () => {
  const { system, user } = process.cpuUsage()
  return user + system
}

const contentOf = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

/** What it cost from one moment to another, for each of so many operations. */
export const each = (before: Usage, after: Usage, operations: number): Usage => ({
  cpu: (after.cpu - before.cpu) / operations,
  reads: (after.reads - before.reads) / operations,
  writes: (after.writes - before.writes) / operations,
  bytes: (after.bytes - before.bytes) / operations
})
