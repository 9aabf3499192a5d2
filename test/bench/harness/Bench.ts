/**
 * Measures contestants side by side: in each round every one of them once, in an order that moves on from round to round,
 * so that what disturbs the machine disturbs all. Ratios are of figures of the same round.
 */
import type { AnyParty } from "./party.ts"
import * as Processor from "./processor.ts"
import * as Usage from "./usage.ts"

/** What one turn of a contestant gave: a figure for each metric, and of how many operations. */
export interface Outcome {
  readonly values: ReadonlyArray<number>
  readonly operations?: number
}

/** One that is measured. */
export interface Contestant {
  readonly name: string
  /** Whether it is a peer. Ratios are of what is no peer to each peer. */
  readonly peer?: boolean
  readonly run: (milliseconds: number) => Promise<Outcome>
  /** The processes whose processor time is told beside its figures. */
  readonly parties?: Readonly<Record<string, AnyParty>>
}

/** What is measured. */
export interface Metric {
  readonly name: string
  readonly unit: string
  readonly better: "more" | "less"
}

/** The middle of some figures, and the outermost. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** A contestant's figures. */
export interface Figures extends Spread {
  readonly name: string
  readonly samples: ReadonlyArray<number>
  /** What an operation costs each process: the medians. */
  readonly usage: Readonly<Record<string, Usage.Usage>>
  /** To each peer, where it is none. */
  readonly ratios: Readonly<Record<string, Spread>>
}

/** One comparison by one metric. */
export interface Result extends Metric {
  readonly scenario: string
  readonly title: string
  readonly metric: string
  readonly figures: ReadonlyArray<Figures>
}

/** How to measure. */
export interface Options {
  readonly quick: boolean
  readonly rounds: number
  /** Whether profiles are wanted of what the page shows, with what is allocated. */
  readonly profile: boolean
  /** Whether the figures are for the page. */
  readonly svg: boolean
}

/** Who hears what was measured. */
export interface Listener {
  readonly onResult: (result: Result) => void
  readonly onProfile: (profile: Processor.Profiled) => void
}

/** What a scenario measures with. */
export interface Bench extends Options {
  readonly scenario: string
  /** How long one turn lasts, in milliseconds. */
  readonly turn: number
  /** How many rounds what no goal is about has. */
  readonly few: number
  readonly compare: (
    title: string,
    metrics: ReadonlyArray<Metric>,
    contestants: ReadonlyArray<Contestant>,
    options?: {
      readonly rounds?: number
      readonly warmUps?: number
      /** Rounds that do not count, after the warm-up, and also if the processes have done such work. */
      readonly uncounted?: number
    }
  ) => Promise<void>
  /** A result that was made otherwise. */
  readonly add: (title: string, metric: Metric, samples: Readonly<Record<string, ReadonlyArray<number>>>) => void
}

/** The name of what does the least that is possible: the programs of `floors`. */
export const floor = "bytes over TCP"

/** The least that a request is if it is an Effect, and if it goes over ZeroMQ. */
export const fibersFloor = "fibers over TCP"
export const zeromqFloor = "fibers over ZeroMQ"

/** The least that a request to a worker over ZeroMQ is. */
export const zeromqMessages = "messages over ZeroMQ"

/** What has one worker, beside the same with more. */
export const toOneWorker = (name: string): string => `${name.replace(", ", " over ")} to 1 worker`

/** What the picture shows no ratio to. */
export const unpictured: ReadonlySet<string> = new Set([
  floor,
  fibersFloor,
  zeromqFloor,
  zeromqMessages,
  ...["Kosmonaut, ZeroMQ", "Kosmonaut, TCP", floor].map(toOneWorker)
])

/** How long a profile takes, in milliseconds. */
const profiled = 1000

/** A metric that more is better of. */
export const rate = (what: string): Metric => ({ name: what, unit: `${what}/s`, better: "more" })

/** The usual figure of a turn. */
export const perSecond = ({ operations, seconds }: { readonly operations: number; readonly seconds: number }) => ({
  values: [operations / seconds],
  operations
})

/** Median, least and most. */
export const spreadOf = (samples: ReadonlyArray<number>): Spread => {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return {
    median: sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2,
    min: sorted[0]!,
    max: sorted.at(-1)!
  }
}

/** Measures for a scenario, and hands on each result. */
export const make = (options: Options, scenario: string, { onProfile, onResult }: Listener): Bench => {
  const turn = options.quick ? 120 : 250
  const warm = new WeakMap<AnyParty, Set<string>>()
  return {
    ...options,
    scenario,
    turn,
    few: Math.ceil(options.rounds * 0.6),
    compare: async (
      title,
      metrics,
      contestants,
      { rounds = options.rounds, uncounted = 0, warmUps = mostWarmUps } = {}
    ) => {
      const runs = contestants.map((contestant) => ({ contestant, outcomes: new Array<Turn>() }))
      for (const contestant of contestants) {
        if (isWarm(warm, contestant, metrics[0]!)) continue
        progress(`${scenario}: ${title}, warming up ${contestant.name}`)
        await warmUpWith(contestant, metrics[0]!, { turn, most: warmUps })
      }
      const all = rounds + (options.quick ? 0 : uncounted)
      for (let round = 0; round < all; round++) {
        for (let i = 0; i < runs.length; i++) {
          const { contestant, outcomes } = runs[(i + round) % runs.length]!
          progress(`${scenario}: ${title}, round ${round + 1} of ${all}, ${contestant.name}`)
          const outcome = await turnOf(contestant, turn)
          if (round >= all - rounds) outcomes.push(outcome)
        }
      }
      metrics.forEach((metric, index) => {
        onResult({
          ...metric,
          scenario,
          title,
          metric: metric.name,
          figures: runs.map(({ contestant, outcomes }) => {
            const samples = outcomes.map(({ values }) => values[index]!)
            return {
              name: contestant.name,
              ...spreadOf(samples),
              samples,
              usage: usageOf(outcomes),
              ratios: contestant.peer === true ? {} : Object.fromEntries(
                runs.filter(({ contestant }) => contestant.peer === true).map(({ contestant, outcomes }) => [
                  contestant.name,
                  spreadOf(outcomes.map(({ values }, round) => samples[round]! / values[index]!))
                ])
              )
            }
          })
        })
      })
      for (const contestant of contestants) {
        const place = [scenario, title, contestant.name] as const
        if (!(options.profile || options.svg) || !Processor.isShown(place)) continue
        progress(`${scenario}: ${title}, profile of ${contestant.name}`)
        onProfile({ place, ...await profilesOf(contestant, options.profile) })
      }
    },
    add: (title, metric, samples) => {
      const [first] = Object.values(samples)
      onResult({
        ...metric,
        scenario,
        title,
        metric: metric.name,
        figures: Object.entries(samples).map(([name, own], index) => ({
          name,
          ...spreadOf(own),
          samples: own,
          usage: {},
          ratios: index === 0 ? {} : { smallest: spreadOf(own.map((value, round) => value / first![round]!)) }
        }))
      })
    }
  }
}

/** How many turns a warm-up has at most, and how much better than the best before one must be to count as better. */
const mostWarmUps = 9
const muchBetter = 1.05

// Until it is no better three times in a row: what the processes run is compiled meanwhile. That of larger programs takes longer, and
// in between they are slow for a second, when a part is compiled anew.
const warmUpWith = async (
  { run }: Contestant,
  { better }: Metric,
  { most, turn }: { readonly most: number; readonly turn: number }
): Promise<void> => {
  let best = 0
  for (let times = 0, worse = 0; times < most && worse < 3; times++) {
    const { values } = await run(turn)
    const now = better === "more" ? values[0]! : 1 / values[0]!
    if (now > best * muchBetter) worse = 0
    else worse++
    best = Math.max(best, now)
  }
}

// Whether its processes have done such work already; from now on they have.
const isWarm = (
  warm: WeakMap<AnyParty, Set<string>>,
  { name, parties = {} }: Contestant,
  metric: Metric
): boolean => {
  const work = `${name}: ${metric.name}`
  const all = Object.values(parties)
  const isKnown = all.length > 0 && all.every((party) => warm.get(party)?.has(work) === true)
  for (const party of all) warm.set(party, (warm.get(party) ?? new Set()).add(work))
  return isKnown
}

interface Turn extends Outcome {
  readonly usage: Readonly<Record<string, Usage.Usage>>
}

const turnOf = async (contestant: Contestant, milliseconds: number): Promise<Turn> => {
  const parties = Object.entries(contestant.parties ?? {})
  const read = () => Promise.all(parties.map(([, party]) => party.call("usage")))
  const before = await read()
  const outcome = await contestant.run(milliseconds)
  const after = await read()
  const usage = parties.map(([name], index) =>
    [name, Usage.each(before[index]!, after[index]!, outcome.operations ?? 1)] as const
  )
  return { ...outcome, usage: Object.fromEntries(usage) }
}

const usageOf = (turns: ReadonlyArray<Turn>): Record<string, Usage.Usage> =>
  Object.fromEntries(
    Object.keys(turns[0]!.usage).map((name) => [
      name,
      Usage.map((of) => spreadOf(turns.map(({ usage }) => usage[name]![of])).median)
    ])
  )

const profilesOf = async ({ parties = {}, run }: Contestant, withAllocations: boolean) => {
  const all = async <A>(ask: (party: AnyParty) => Promise<A>): Promise<Record<string, A>> =>
    Object.fromEntries(
      await Promise.all(Object.entries(parties).map(async ([name, party]) => [name, await ask(party)] as const))
    )
  await all((party) => party.call("startProfile"))
  await run(profiled)
  const processes = await all((party) => party.call("stopProfile"))
  if (!withAllocations) return { processes, allocations: {} }
  // In a turn of its own, since to watch it takes time.
  await all((party) => party.call("startAllocations"))
  await run(profiled)
  return { processes, allocations: await all((party) => party.call("stopAllocations")) }
}

/** Says where the benchmark is, on a terminal. */
export const progress = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`)
}
