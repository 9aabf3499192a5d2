/**
 * `npm run bench`: measures the library side by side with what it could be replaced by, each in processes of its own.
 */
import { readFileSync, writeFileSync } from "node:fs"
import * as Os from "node:os"
import { parseArgs } from "node:util"
import * as Bench from "./harness/Bench.ts"
import * as Comparison from "./harness/comparison.ts"
import * as Document from "./harness/document.ts"
import * as Peers from "./harness/peers.ts"
import * as Processor from "./harness/processor.ts"
import * as Redis from "./harness/redis.ts"
import * as Report from "./harness/report.ts"
import * as Broadcast from "./scenarios/broadcast.ts"
import * as Cluster from "./scenarios/cluster.ts"
import * as Encryption from "./scenarios/encryption.ts"
import * as Events from "./scenarios/events.ts"
import * as FanOut from "./scenarios/fanout.ts"
import * as Growth from "./scenarios/growth.ts"
import * as History from "./scenarios/history.ts"
import * as Latency from "./scenarios/latency.ts"
import * as Memory from "./scenarios/memory.ts"
import * as Requests from "./scenarios/requests.ts"
import * as Startup from "./scenarios/startup.ts"

const scenarios: Record<string, (bench: Bench.Bench) => Promise<void>> = {
  broadcast: Broadcast.run,
  latency: Latency.run,
  events: Events.run,
  requests: Requests.run,
  fanout: FanOut.run,
  encryption: Encryption.run,
  history: History.run,
  memory: Memory.run,
  startup: Startup.run,
  growth: Growth.run,
  cluster: Cluster.run
}

const usage = `npm run bench -- [options]

  --only <name>     one of ${Object.keys(scenarios).join(", ")}; may be repeated, default all
  --quick           short turns and few rounds: whether it works, and no figures to tell anybody
  --rounds <n>      how many rounds, default 5, or 2 with --quick
  --compare <file>  afterwards, what is worse or better than in a saved run, as the last one in test/bench/results.json;
                    the exit status is 1 if something is worse
  --profile         what the processes of the headline rows do with their time, and what they allocate
  --svg             draws docs/performance.svg and writes the tables of docs/performance.md
`

const read = () => {
  const { values } = parseArgs({
    options: {
      compare: { type: "string" },
      help: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] },
      profile: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      svg: { type: "boolean", default: false }
    }
  })
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5))
  const unknown = values.only.find((name) => !Object.hasOwn(scenarios, name))
  if (unknown !== undefined) throw new Error(`There is no ${unknown}`)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error("--rounds is a whole number from 1")
  if (values.svg && values.only.length > 0) throw new Error("--svg needs all figures from one run, without --only")
  return { ...values, rounds, saved: values.compare === undefined ? undefined : saved(values.compare) }
}

/** What a run saves. */
interface Run {
  readonly setting: Report.Setting
  readonly results: ReadonlyArray<Bench.Result>
  readonly profiles: ReadonlyArray<Processor.Profiled>
}

/** Read before it is measured: it may be the file that is written then. */
const saved = (name: string) => JSON.parse(readFileSync(name, "utf8")) as Run

const file = (name: string) => new URL(name, import.meta.url)

const measure = async (options: ReturnType<typeof read>) => {
  const [results, profiles]: [Array<Bench.Result>, Array<Processor.Profiled>] = [[], []]
  const listener: Bench.Listener = {
    onResult: (result) => {
      results.push(result)
      Bench.progress("")
      console.log(Report.text(result))
    },
    onProfile: (profiled) => {
      profiles.push(profiled)
      Bench.progress("")
      if (options.profile) console.log(Processor.text(profiled))
    }
  }
  for (const [name, run] of Object.entries(scenarios)) {
    if (options.only.length > 0 && !options.only.includes(name)) continue
    await run(Bench.make(options, name, listener))
  }
  if (options.profile) console.log(Processor.markdown(results, profiles))
  return { results, profiles }
}

const versions = () => {
  const { version: zeromq } = JSON.parse(readFileSync(file("../../node_modules/zeromq/package.json"), "utf8")) as {
    readonly version: string
  }
  return { "zeromq.js": zeromq, ...Peers.versions(), "redis-server": Redis.version() ?? "is not here" }
}

const main = async (): Promise<void> => {
  const options = read()
  if (options.help) return console.log(usage)
  // It is compared with the broker itself.
  if (options.only.join() !== "cluster") Peers.install()
  const started = performance.now()
  const loadBefore = Os.loadavg()[0]!
  const { profiles, results } = await measure(options)
  const setting: Report.Setting = {
    date: new Date().toISOString().slice(0, 10),
    node: process.version.slice(1),
    processor: Os.cpus()[0]?.model ?? "unknown",
    cores: Os.cpus().length,
    loadBefore,
    loadAfter: Os.loadavg()[0]!,
    rounds: options.rounds,
    quick: options.quick,
    seconds: (performance.now() - started) / 1000,
    versions: versions()
  }
  console.log(Report.settingText(setting))
  writeFileSync(file("results.json"), `${JSON.stringify({ setting, results, profiles } satisfies Run, null, 2)}\n`)
  if (options.svg) Document.write(results, profiles, setting)
  if (options.saved === undefined) return
  const changes = Comparison.compare(options.saved.results, results)
  console.log(Comparison.text(changes, options.saved.setting, setting))
  if (changes.some(Comparison.isRegression)) process.exitCode = 1
}

main().then(
  () => process.exit(),
  (error) => {
    console.error(`\n${error instanceof Error ? error.stack : error}\n\n${usage}`)
    process.exit(1)
  }
)
