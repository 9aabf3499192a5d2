/**
 * `npm run bench`: measures the library side by side with what it could be replaced by, each in processes of its own.
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import * as Os from "node:os"
import { parseArgs } from "node:util"
import * as Bench from "./harness/Bench.ts"
import * as Peers from "./harness/peers.ts"
import * as Report from "./harness/report.ts"
import * as Broadcast from "./scenarios/broadcast.ts"
import * as Events from "./scenarios/events.ts"
import * as FanOut from "./scenarios/fanout.ts"
import * as Growth from "./scenarios/growth.ts"
import * as Latency from "./scenarios/latency.ts"
import * as Memory from "./scenarios/memory.ts"
import * as Startup from "./scenarios/startup.ts"

const scenarios: Record<string, (bench: Bench.Bench) => Promise<void>> = {
  broadcast: Broadcast.run,
  latency: Latency.run,
  events: Events.run,
  fanout: FanOut.run,
  memory: Memory.run,
  startup: Startup.run,
  growth: Growth.run
}
const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    rounds: { type: "string" },
    profile: { type: "boolean", default: false },
    svg: { type: "boolean", default: false }
  }
})
Peers.install()
for (const [name, run] of Object.entries(scenarios)) {
  if (values.only.length > 0 && !values.only.includes(name)) continue
  await run(Bench.make(
    { quick: values.quick, rounds: Number(values.rounds ?? (values.quick ? 3 : 5)), profile: values.profile },
    name,
    (r) => { Bench.progress(""); console.log(Report.text(r)) }
  ))
}
void [execFileSync, readFileSync, writeFileSync, Os]
process.exit(0)
