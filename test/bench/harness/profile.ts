/**
 * Where a process spends its time, and what it allocates memory for: by function, and by the part of the program that it belongs to.
 */
import type { HeapProfiler, Profiler, Runtime } from "node:inspector"
import { Session } from "node:inspector/promises"

/** The parts of a process's work. What its handlers do is in that of fibers, which run them. */
export const parts = ["system", "JSON", "fibers", "messages", "engine", "metrics", "garbage"] as const

/** One of them. */
export type Part = typeof parts[number]

/** How much a function has of the whole, in per cent. */
interface Share {
  readonly percent: number
  readonly name: string
}

/** What a process did while it was watched. */
export interface Profile {
  readonly busyMilliseconds: number
  readonly functions: ReadonlyArray<Share>
  /** What each part has of the time that the main thread was busy, from 0 to 1. */
  readonly parts: Readonly<Record<Part, number>>
}

/** What it allocated. */
export interface Allocations {
  readonly bytes: number
  readonly functions: ReadonlyArray<Share>
}

const session = new Session()

/** Watches the processor. */
export const start = async (): Promise<void> => {
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.setSamplingInterval", { interval: 200 })
  await session.post("Profiler.start")
}

/** What was seen. */
export const stop = async (): Promise<Profile> => {
  const { profile } = await session.post("Profiler.stop")
  session.disconnect()
  return of(profile)
}

/** Watches what is allocated, and also what is collected since. */
export const startAllocations = async (): Promise<void> => {
  session.connect()
  const all = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true }
  await session.post("HeapProfiler.startSampling", { samplingInterval: 8192, ...all })
}

/** What was allocated. */
export const stopAllocations = async (): Promise<Allocations> => {
  const { profile } = await session.post("HeapProfiler.stopSampling")
  session.disconnect()
  const sizes = new Map<string, number>()
  const visit = ({ callFrame, children, selfSize }: HeapProfiler.SamplingHeapProfileNode): void => {
    if (!isWatching(callFrame)) add(sizes, nameOf(callFrame), selfSize)
    children.forEach(visit)
  }
  visit(profile.head)
  return { bytes: sum(sizes), functions: largest(sizes) }
}

/** What a profile of the inspector says. */
export const of = ({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Profile => {
  const frames = new Map(nodes.map((node) => [node.id, node.callFrame]))
  const [functions, byPart] = [new Map<string, number>(), new Map<Part, number>()]
  samples.forEach((id, index) => {
    const frame = frames.get(id)!
    if (frame.functionName === "(idle)" || isWatching(frame)) return
    add(functions, nameOf(frame), timeDeltas[index]!)
    add(byPart, partOf(frame), timeDeltas[index]!)
  })
  const busy = sum(functions)
  return {
    busyMilliseconds: busy / 1000,
    functions: largest(functions),
    parts: Object.fromEntries(parts.map((part) => [part, (byPart.get(part) ?? 0) / busy])) as Record<Part, number>
  }
}

const add = <Key>(sums: Map<Key, number>, key: Key, more: number) => sums.set(key, (sums.get(key) ?? 0) + more)

const sum = (sums: ReadonlyMap<unknown, number>) => [...sums.values()].reduce((all, one) => all + one, 0)

const largest = (sums: ReadonlyMap<string, number>): ReadonlyArray<Share> => {
  const all = sum(sums)
  return [...sums].sort(([, a], [, b]) => b - a).slice(0, 25).map(([name, one]) => ({ percent: one / all * 100, name }))
}

const isWatching = ({ url }: Runtime.CallFrame) => url === "node:inspector"

const nameOf = ({ functionName, lineNumber, url }: Runtime.CallFrame): string =>
  `${functionName || "(anonymous)"}${url === "" ? "" : ` ${url.split("/").slice(-2).join("/")}:${lineNumber + 1}`}`

const partOf = ({ functionName, url }: Runtime.CallFrame): Part =>
  functionName === "(garbage collector)"
    ? "garbage"
    : rules.find(([pattern]) => pattern.test(url))?.[1] ?? "system"

/** The first that matches. What has no file is native: system calls, and what Node.js and ZeroMQ do there. */
const rules: ReadonlyArray<readonly [url: RegExp, part: Part]> = [
  [/Json(Scanner)?\.ts$/, "JSON"],
  [/metric[^/]*\.[jt]s$/i, "metrics"],
  [/\/node_modules\/effect\//, "fibers"],
  [/\/test\/bench\/node_modules\//, "messages"],
  [/\/node_modules\//, "system"],
  [/\/test\/bench\//, "fibers"],
  [/\/src\/server\/(engine|store|cluster|domain)\//, "engine"],
  [/\/src\//, "messages"]
]
