/**
 * What the processes of the headline operations do with their time, and what they allocate.
 */
import type { Figures } from "./Bench.ts"
import { find, type Place, type Results } from "./place.ts"
import { type Allocations, parts, type Profile } from "./profile.ts"
import { figure, table } from "./report.ts"

/** What the processes of a contestant did. */
export interface Profiled {
  readonly place: Place
  readonly processes: Readonly<Record<string, Profile>>
  /** What they allocated in another turn, if that was wanted. */
  readonly allocations: Readonly<Record<string, Allocations>>
}

const operations: ReadonlyArray<{ readonly work: string; readonly place: Place }> = [
  { work: "a broadcast, 1 in flight over ZeroMQ", place: ["broadcast", "1 fiber", "Kosmonaut, ZeroMQ"] },
  { work: "the same, 64 in flight", place: ["broadcast", "64 fibers", "Kosmonaut, ZeroMQ"] },
  { work: "the same, 256 in flight", place: ["broadcast", "256 fibers", "Kosmonaut, ZeroMQ"] },
  { work: "_ioredis_, 256 in flight", place: ["broadcast", "256 fibers", "ioredis"] },
  { work: "an event to 1 worker over ZeroMQ", place: ["events", "to 1 worker", "Kosmonaut, ZeroMQ"] },
  { work: "the same, stored", place: ["events", "to 1 worker", "Kosmonaut, ZeroMQ, stored"] },
  { work: "the same to 4 workers, not stored", place: ["events", "to 4 workers", "Kosmonaut, ZeroMQ"] },
  {
    work: "_zeromq.js with acknowledgements_, 1 worker",
    place: ["events", "to 1 worker", "zeromq.js with acknowledgements"]
  },
  ...[1, 64].map((width) => ({
    work: `a request to a worker over TCP, ${width} in flight`,
    place: ["requests", `${width} in flight`, "The script, worker over TCP"] as const
  })),
  {
    work: "a delivery, one broadcast at a time to 200 browsers",
    place: ["fanout", "to 200 browsers", "Kosmonaut, in the broker"]
  },
  { work: "_bare ws_, the same", place: ["fanout", "to 200 browsers", "bare ws"] },
  {
    work: "a delivery, 64 broadcasts in flight to 200 browsers",
    place: ["fanout", "64 broadcasts in flight to 200 browsers", "Kosmonaut, from a Client"]
  },
  { work: "a delivery with a position, to 10 browsers", place: ["history", "to 10 browsers", "history in memory"] }
]

/** Whether the table shows it. */
export const isShown = (place: Place): boolean => operations.some((one) => isSame(one.place, place))

const isSame = (one: Place, other: Place) => one.every((name, index) => name === other[index])

/** Leaves out browsers, which are the benchmark's. */
const isOurs = (name: string) => name !== "browsers" && name !== "caller" && name !== "redis"

/** A Markdown table. Shares are of the processor time of all threads. */
export const markdown = (results: Results, profiles: ReadonlyArray<Profiled>): string =>
  table([
    ["", "process", "µs", ...parts, "other threads", "allocated, bytes"],
    ...operations.flatMap(({ place, work }) => {
      const processes = profiles.find((one) => isSame(one.place, place))?.processes ?? {}
      const usage = find(results, place)?.usage ?? {}
      return Object.entries(processes).filter(([name]) => isOurs(name) && usage[name] !== undefined).map(
        ([name, profile], index) => [index === 0 ? work : "", name, ...cells(profile, usage[name]!)]
      )
    })
  ])

const cells = ({ parts: shares }: Profile, { allocated, cpu, main }: Figures["usage"][string]) => {
  const ofMain = Math.min(1, main / cpu)
  const percent = (share: number) => (share * 100).toFixed(0)
  return [
    figure(cpu),
    ...parts.map((part) => percent(shares[part] * ofMain)),
    percent(1 - ofMain),
    figure(allocated)
  ]
}

/** All functions that matter, as lines for a terminal. */
export const text = ({ allocations, place: [scenario, title, contestant], processes }: Profiled): string => {
  const lines = (process: string, did: string, { functions }: Pick<Profile, "functions">) => [
    `\n${scenario}: ${title}, ${contestant}: the process "${process}" ${did}`,
    ...functions.map(({ name, percent }) => `${percent.toFixed(1).padStart(6)} %  ${name}`)
  ]
  return Object.entries(processes).flatMap(([name, profile]) => {
    const allocated = allocations[name]
    return [
      ...lines(name, `was busy for ${profile.busyMilliseconds.toFixed(0)} ms`, profile),
      ...allocated === undefined ? [] : lines(name, `allocated ${figure(allocated.bytes)} bytes`, allocated)
    ]
  }).join("\n")
}
