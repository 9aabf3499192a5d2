/**
 * What a process has cost so far.
 */
import { readFileSync } from "node:fs"
import * as Allocation from "./allocation.ts"

/** Processor time of all threads, and what it has read and written with `read`, `write` and `writev`: all but what ZeroMQ does. */
export interface Usage {
  /** In microseconds. */
  readonly cpu: number
  readonly reads: number
  readonly writes: number
  /** How many bytes went in or out. */
  readonly bytes: number
  /** Processor time of the main thread alone, in microseconds. Of another program it is all. */
  readonly main: number
  /** How many bytes were allocated on the heap of JavaScript. */
  readonly allocated: number
}

/** Of this process. System calls are known on Linux alone. */
export const read = (): Usage => ({
  ...systemOf("self"),
  cpu: sum(process.cpuUsage()),
  main: sum(process.threadCpuUsage()),
  allocated: Allocation.read()
})

/** Of another program, whose processor time is known. */
export const readOther = (pid: number, cpu: number): Usage => ({ ...systemOf(pid), cpu, main: cpu, allocated: 0 })

const systemOf = (pid: number | "self") => {
  const text = contentOf(`/proc/${pid}/io`)
  const figure = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(text)?.[1] ?? 0)
  return { reads: figure("syscr"), writes: figure("syscw"), bytes: figure("rchar") + figure("wchar") }
}

const sum = ({ system, user }: NodeJS.CpuUsage): number => user + system

const contentOf = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

/** What it cost from one moment to another, for each of so many operations. */
export const each = (before: Usage, after: Usage, operations: number): Usage =>
  map((name) => (after[name] - before[name]) / operations)

/** A usage, figure by figure. */
export const map = (figure: (name: keyof Usage) => number): Usage => ({
  cpu: figure("cpu"),
  reads: figure("reads"),
  writes: figure("writes"),
  bytes: figure("bytes"),
  main: figure("main"),
  allocated: figure("allocated")
})
