/**
 * What the library is wanted to do, beside what it did in a run.
 */
import { floor, type Spread, spreadOf, toOneWorker } from "./Bench.ts"
import { find, type Place, type Results } from "./place.ts"
import { figure, ratioOf, table } from "./report.ts"

/** Figures that a goal is about. They are `undefined` if they were not measured. */
interface Part {
  readonly of: string
  readonly value: (results: Results) => Spread | undefined
  readonly text: (spread: Spread) => string
  readonly isMet: (spread: Spread) => boolean
}

interface Goal {
  readonly work: string
  readonly wanted: string
  readonly parts: ReadonlyArray<Part>
}

const both = (one: Place, other: Place, combine: (one: number, other: number) => number) => (results: Results) => {
  const [own, others] = [find(results, one)?.samples, find(results, other)?.samples]
  if (own === undefined || others === undefined) return undefined
  return spreadOf(own.slice(0, others.length).map((sample, round) => combine(sample, others[round]!)))
}

const divide = (one: number, other: number) => one / other

/** At least so many times a peer, in the same rounds. */
const atLeast = (least: number, of: string, [scenario, title, name, metric]: Place, peer: string): Part => ({
  of,
  value: both([scenario, title, name, metric], [scenario, title, peer, metric], divide),
  text: ratioOf,
  isMet: ({ median }) => median >= least
})

const atMost = (most: number, of: string, value: Part["value"], text: Part["text"] = ratioOf): Part => ({
  of,
  value,
  text,
  isMet: ({ median }) => median <= most
})

const withUnit = (unit: string): Part["text"] => ({ max, median, min }) =>
  `${figure(median)} (${figure(min)}–${figure(max)}) ${unit}`

const broadcasts = (peer: string, least: number) =>
  [64, 256].flatMap((fibers) =>
    ["ZeroMQ", "TCP"].map((name) =>
      atLeast(least, `${fibers} over ${name}`, ["broadcast", `${fibers} fibers`, `Kosmonaut, ${name}`], peer)
    )
  )

/** The processor time of a process for an operation, as many times that of another place. */
const cost = (most: number, of: string, process: string, one: Place, other: Place): Part =>
  atMost(most, of, (results) => {
    const [own, others] = [one, other].map((place) => find(results, place)?.usage[process]?.cpu)
    return single(own === undefined || others === undefined ? undefined : own / others)
  }, ({ median }) => `${median.toFixed(2)} ×`)

const growth = (results: Results): Spread | undefined => {
  const ratios = results.filter(({ scenario }) => scenario === "growth").flatMap(({ figures }) =>
    Object.values(figures.at(-1)!.ratios)
  )
  return ratios.length === 0 ? undefined : spreadOf(ratios.map(({ median }) => median))
}

const single = (value: number | undefined) => value === undefined ? undefined : spreadOf([value])

const heap = "heap"
const sizes = (count: string) => ["memory", "of one server", "Kosmonaut", `${count}: ${heap}`] as const

const nodes = ["1 node", "3 nodes"]
const manyInFlight = "1024 broadcasts in flight, to 10 browsers of each node"
const toAnother = "events of 1024 browsers of one node to a worker of the last"

const goals: ReadonlyArray<Goal> = [
  { work: "broadcasts by 64 and 256 fibers", wanted: "1 × ioredis", parts: broadcasts("ioredis", 1) },
  { work: "the same", wanted: "0.5 × bytes over TCP", parts: broadcasts(floor, 0.5) },
  {
    work: "broadcasts by 1 fiber, over ZeroMQ",
    wanted: "1 × zeromq.js",
    parts: [atLeast(1, "", ["broadcast", "1 fiber", "Kosmonaut, ZeroMQ"], "zeromq.js")]
  },
  {
    work: "events to 1 worker",
    wanted: "1.5 × zeromq.js with acknowledgements",
    parts: ["ZeroMQ", "TCP"].map((name) =>
      atLeast(1.5, name, ["events", "to 1 worker", `Kosmonaut, ${name}`], "zeromq.js with acknowledgements")
    )
  },
  {
    work: "the same with storage",
    wanted: "0.8 × without",
    parts: [atLeast(0.8, "", ["events", "to 1 worker", "Kosmonaut, ZeroMQ, stored"], "Kosmonaut, ZeroMQ")]
  },
  {
    work: "events to 4 workers",
    wanted: "1 × to 1 worker",
    parts: ["ZeroMQ", "TCP"].map((name) => ({
      ...atLeast(1, name, ["events", "to 4 workers", name], ""),
      value: both(
        ["events", "to 4 workers", `Kosmonaut, ${name}`],
        ["events", "to 4 workers", toOneWorker(`Kosmonaut, ${name}`)],
        divide
      )
    }))
  },
  {
    work: "processor time of the broker for an event to 4 workers",
    wanted: "at most 1.2 × to 1 worker",
    parts: ["ZeroMQ", "TCP"].map((name) =>
      cost(1.2, name, "broker", ["events", "to 4 workers", `Kosmonaut, ${name}`], [
        "events",
        "to 4 workers",
        toOneWorker(`Kosmonaut, ${name}`)
      ])
    )
  },
  {
    work: "fan-out from a Client to 10, 200 and 2000 browsers",
    wanted: "0.8, 0.95 and 0.95 × bare ws",
    parts: [[0.8, 10], [0.95, 200], [0.95, 2000]].map(([least, browsers]) =>
      atLeast(least!, String(browsers), ["fanout", `to ${browsers} browsers`, "Kosmonaut, from a Client"], "bare ws")
    )
  },
  {
    work: "fan-out, one broadcast at a time in the broker, to 200 browsers",
    wanted: "0.95 × bare ws",
    parts: [atLeast(0.95, "", ["fanout", "to 200 browsers", "Kosmonaut, in the broker"], "bare ws")]
  },
  {
    work: "fan-out, 64 broadcasts in flight to 200 and 2000 browsers",
    wanted: "4 × bare ws",
    parts: [200, 2000].map((browsers) =>
      atLeast(4, String(browsers), [
        "fanout",
        `64 broadcasts in flight to ${browsers} browsers`,
        "Kosmonaut, from a Client",
        "deliveries"
      ], "bare ws, one write per message")
    )
  },
  {
    work: "longest stall of the event loop meanwhile",
    wanted: "at most 50 ms",
    parts: [200, 2000].map((browsers) =>
      atMost(
        50,
        String(browsers),
        (results) =>
          find(results, [
            "fanout",
            `64 broadcasts in flight to ${browsers} browsers`,
            "Kosmonaut, from a Client",
            "longest stall"
          ]),
        withUnit("ms")
      )
    )
  },
  {
    work: "heap of an idle connection",
    wanted: "at most 3 KB more than bare ws",
    parts: [atMost(
      3,
      "",
      both(
        sizes("a connection, of 2000"),
        ["memory", "of one server", "bare ws", `a connection, of 2000: ${heap}`],
        (one, other) => one - other
      ),
      withUnit("KB")
    )]
  },
  {
    work: "heap of a subscription",
    wanted: "at most 0.12 KB",
    parts: [atMost(0.12, "", (results) => find(results, sizes("a subscription, of 20000")), withUnit("KB"))]
  },
  {
    work: "p99 at half load",
    wanted: "at most 1.5 × zeromq.js",
    parts: ["ZeroMQ", "TCP"].map((name) =>
      atMost(
        1.5,
        name,
        both(
          ["latency", "each at half of what it can", `Kosmonaut, ${name}`, "p99"],
          ["latency", "each at half of what it can", "zeromq.js", "p99"],
          divide
        )
      )
    )
  },
  ...([["kosmonaut --help", "3"], ["kosmonaut serve", "5"]] as const).map(([name, most]) => ({
    work: `start-up: \`${name}\``,
    wanted: `at most ${most} × \`node -e 0\``,
    parts: [atMost(
      Number(most),
      "",
      both(["startup", "of the command line", name], ["startup", "of the command line", "Node.js alone"], divide)
    )]
  })),
  ...[1, 64].flatMap((width) =>
    [["the script", "The script"], ["`kosmonaut/browser`", "kosmonaut/browser"]].map(([caller, contestant]) => ({
      work: `requests to a worker by ${caller}, ${width} in flight`,
      wanted: "1 × Socket.IO with a worker",
      parts: ["ZeroMQ", "TCP"].map((name) =>
        atLeast(
          1,
          name,
          ["requests", `${width} in flight`, `${contestant}, worker over ${name}`],
          "Socket.IO with a worker"
        )
      )
    }))
  ),
  {
    work: "processor time of the broker for a broadcast with a position, to 10 browsers",
    wanted: "at most 1.05 × without",
    parts: [cost(1.05, "", "broker", ["history", "to 10 browsers", "history in memory"], [
      "history",
      "to 10 browsers",
      "without history"
    ])]
  },
  {
    work: "processor time of the node that accepts, for one of 1024 broadcasts in flight",
    wanted: "at most 2 × a broker that is alone",
    parts: nodes.map((name) =>
      cost(2, name, "node", ["cluster", manyInFlight, name], ["cluster", manyInFlight, "alone"])
    )
  },
  {
    work: "events to a worker of another node",
    wanted: "0.5 × a broker that is alone",
    parts: nodes.map((name) => atLeast(0.5, name, ["cluster", toAnother, name], "alone"))
  },
  {
    work: "processor time of Redis for such an event",
    wanted: "at most 8 µs",
    parts: nodes.map((name) =>
      atMost(
        8,
        name,
        (results) => single(find(results, ["cluster", toAnother, name])?.usage["redis"]?.cpu),
        ({ median }) => `${median.toFixed(1)} µs`
      )
    )
  },
  {
    work: "an operation with 100 times as much of something else",
    wanted: "at most 1.2 × each",
    parts: [{
      of: "",
      value: growth,
      text: ({ max, median, min }) => `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`,
      isMet: ({ max }) => max <= 1.2
    }]
  }
]

/** The goals and what was measured, as a Markdown table; what is missed is bold. */
export const markdown = (results: Results): string =>
  table([
    ["work", "wanted", "measured"],
    ...goals.map(({ parts, wanted, work }) => [work, wanted, parts.map((part) => measured(part, results)).join("; ")])
  ])

const measured = ({ isMet, of, text, value }: Part, results: Results): string => {
  const spread = value(results)
  const name = of === "" ? "" : `${of}: `
  if (spread === undefined) return `${name}not measured`
  return isMet(spread) ? `${name}${text(spread)}` : `${name}**${text(spread)}**`
}
