/**
 * How much this process allocates on the heap of JavaScript: what is there, and all that was collected.
 */
import { GCProfiler, getHeapStatistics } from "node:v8"

let profiler: GCProfiler | undefined
let collected = 0

/** Bytes allocated since the process asked for the first time, and what was there then. Memory of buffers is not in it. */
export const read = (): number => {
  const next = new GCProfiler()
  next.start()
  // The next one has started already, so that no collection is missed.
  for (const { afterGC, beforeGC } of profiler?.stop()?.statistics ?? []) {
    collected += beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize
  }
  profiler = next
  return getHeapStatistics().used_heap_size + collected
}
