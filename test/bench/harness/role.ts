/**
 * The child's side of a party: its functions, which the benchmark calls over the process's channel. It ends when the
 * benchmark does.
 */
import { flushCompileCache } from "node:module"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { setTimeout as pause } from "node:timers/promises"
import * as Profile from "./profile.ts"
import * as Usage from "./usage.ts"

/** What a party can be asked. */
export type Functions = Readonly<Record<string, (...args: Array<never>) => unknown>>

/** What every party can be asked. */
export type Common = typeof common

const resolution = 2
let delay: ReturnType<typeof monitorEventLoopDelay> | undefined

const common = {
  /** What it has cost so far. */
  usage: () => Usage.read(),
  /** What it has in memory once the garbage is gone, in bytes. */
  memory: async () => {
    for (let i = 0; i < 3; i++) {
      await pause(50)
      global.gc!()
    }
    const { arrayBuffers: _, external, heapUsed, rss } = process.memoryUsage()
    return { rss, heap: heapUsed + external }
  },
  /** The longest time in milliseconds that the event loop was late since this was asked before. */
  stall: () => {
    if (delay === undefined) {
      delay = monitorEventLoopDelay({ resolution })
      delay.enable()
    }
    const longest = Math.max(0, delay.max / 1e6 - resolution)
    delay.reset()
    return longest
  },
  startProfile: Profile.start,
  stopProfile: Profile.stop,
  startAllocations: Profile.startAllocations,
  stopAllocations: Profile.stopAllocations
}

/** Offers these functions. */
export const serve = (functions: Functions): void => {
  const all: Record<string, (...args: Array<never>) => unknown> = { ...functions, ...common }
  type Question = { readonly id?: number; readonly name: string; readonly args: Array<never> }
  process.on("message", ({ args, id, name }: Question) => {
    const answer = async () => all[name]!(...args)
    answer().then(
      (value) => id !== undefined && process.send!({ id, value }),
      (error) => process.send!({ id, error: String(error instanceof Error ? error.stack : error) })
    )
  })
  process.on("disconnect", () => process.exit(0))
  // It is killed in the end, and what was compiled would be lost.
  flushCompileCache()
  process.send!({ ready: true })
}

/**
 * Counts from when it is told to, and tells the benchmark, which tells whoever waits for that, whenever there are so many
 * more; what is left it tells some milliseconds after the last.
 */
export const makeCounter = () => {
  let untold = 0
  let seen = 0
  let limit: number | undefined
  let timer: NodeJS.Timeout | undefined
  const tell = () => {
    if (untold > 0) process.send!({ count: untold })
    untold = 0
  }
  return {
    tellEvery: (every: number): void => void (limit = every),
    add: (more: number): void => {
      // Each telling costs a system call and wakes the benchmark, which is not what is measured. Nor is a timer of a process that
      // counts nothing.
      timer ??= setInterval(() => {
        if (untold === seen) tell()
        seen = untold
      }, 4)
      if (limit !== undefined && (untold += more) >= limit) tell()
    }
  }
}
