/**
 * What the headline operations take from the system, beside the least that is possible.
 */
import { floor } from "./Bench.ts"
import { find, type Place, type Results } from "./place.ts"
import { figure, table } from "./report.ts"
import type { Usage } from "./usage.ts"

/** The headline operations, and what does the same with the least. */
const operations: ReadonlyArray<{ readonly work: string; readonly own: Place; readonly least: string }> = [
  ...[64, 256].map((fibers) => ({
    work: `a broadcast, ${fibers} in flight over TCP`,
    own: ["broadcast", `${fibers} fibers`, "Kosmonaut, TCP"] as const,
    least: floor
  })),
  ...["to 1 worker", "to 4 workers"].map((title) => ({
    work: `an event ${title} over TCP`,
    own: ["events", title, "Kosmonaut, TCP"] as const,
    least: floor
  })),
  {
    work: "a delivery, one broadcast at a time to 200 browsers",
    own: ["fanout", "to 200 browsers", "Kosmonaut, in the broker"],
    least: "bare ws"
  },
  {
    work: "a delivery, 64 broadcasts in flight to 200 browsers",
    own: ["fanout", "64 broadcasts in flight to 200 browsers", "Kosmonaut, from a Client"],
    least: "bare ws, one write per message"
  },
  ...[1, 64].map((width) => ({
    work: `a request to a worker over TCP, ${width} in flight`,
    own: ["requests", `${width} in flight`, "The script, worker over TCP"] as const,
    least: "Socket.IO with a worker"
  }))
]

/** What each process takes for an operation, beside the least, as a Markdown table. */
export const markdown = (results: Results): string =>
  table([
    ["", "process", "µs", "reads + writes", "bytes", "the least, µs", "reads + writes", "bytes"],
    ...operations.flatMap(({ least, own: [scenario, title, name], work }) => {
      const [own, floor] = [name, least].map((name) => find(results, [scenario, title, name])?.usage ?? {})
      return Object.entries(own!).map(([process, usage], index) => [
        index === 0 ? work : "",
        process,
        ...cells(usage),
        ...(floor![process] === undefined ? ["", "", ""] : cells(floor![process]))
      ])
    })
  ])

const cells = ({ bytes, cpu, reads, writes }: Usage) => [
  figure(cpu),
  `${reads.toFixed(2)} + ${writes.toFixed(2)}`,
  bytes.toFixed(0)
]
