/**
 * Preloaded into the broker's process: tells whoever started it how its heap and its event loop are. It keeps nothing
 * alive and needs no descriptor, as there may be none left.
 */
import { monitorEventLoopDelay } from "node:perf_hooks"
import { getHeapStatistics } from "node:v8"

/** What only the process itself knows. */
export interface Inside {
  /** Bytes of its objects, with what buffers hold outside the heap; live ones alone if it was asked to collect first. */
  readonly heap: number
  /** The longest time in milliseconds that the event loop was late since the last question. */
  readonly stall: number
  /** The longest processor time in milliseconds that its thread took without looking at timers. It is the same on a machine that is busy. */
  readonly turn: number
}

const resolution = 5
const delay = monitorEventLoopDelay({ resolution })
delay.enable()

let turn = 0
let before = process.threadCpuUsage()
setInterval(() => {
  const { system, user } = process.threadCpuUsage(before)
  before = process.threadCpuUsage()
  turn = Math.max(turn, (user + system) / 1000)
}, resolution).unref()

process.on("message", (question: "look" | "collect") => {
  if (question === "collect") global.gc?.()
  const { external_memory: external, used_heap_size: heap } = getHeapStatistics()
  const inside: Inside = { heap: heap + external, stall: Math.max(0, delay.max / 1e6 - resolution), turn }
  turn = 0
  delay.reset()
  process.send?.(inside)
})
process.channel?.unref()
