/**
 * How the tests run, those of the examples among them, which import `kosmonaut` by its name as users do.
 *
 * Files share a process: importing the library for each of them would take a third of the time. So a file leaves nothing
 * behind in its process but a chromium that all may use. There are two processes for every core, and tests of a file that share
 * nothing may run together, since many tests wait for timers and for other processes.
 *
 * A test that may take longer than a few seconds says so; timeouts only end those that hang.
 */
import { availableParallelism, loadavg } from "node:os"
import { configDefaults, defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** Whether those run that take long, by `npm run test-long`, and not all others. */
const isLong = process.env["LONG_TESTS"] !== undefined

/** The files that start many programs, or outlast outages: a third of all work, for `npm run test-long`. */
const long = [
  "cli/admin",
  "cli/bundle",
  "cli/demo",
  "cli/nodes",
  "cli/serve",
  "cli/storage",
  "cli/telemetry",
  "client/processes",
  "cluster",
  "deployment",
  "doors",
  "examples",
  "hostile/hostile",
  "imports",
  "server/cluster/Connection",
  "server/cluster/Nodes",
  "server/cluster/RedisLogs",
  "server/cluster/cluster",
  "server/cluster/endToEnd",
  "server/cluster/outages",
  "server/cluster/registry"
]

/** Those that have some tests that take long. */
const partlyLong = ["browser/outages", "chaos/chaos"]

/** The files that take longest. On a machine that has not run them before, vitest would begin with those that are large. */
const longest = ["cluster", "browser/outages", "browser/pages", "cli/demoPage", "examples", "browser/hostile"]

const pathOf = (name: string) => `test/${name}.test.ts`

class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>) {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = longest.findIndex((name) => moduleId.endsWith(`/${pathOf(name)}`))
      return index === -1 ? longest.length : index
    }
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other))
  }
}

const cores = availableParallelism()

/** How much longer everything takes, since the machine has other work. */
const busy = Math.max(1, loadavg()[0]! / cores)

export default defineConfig({
  resolve: { tsconfigPaths: true },
  test: {
    include: isLong ? [...long, ...partlyLong].map(pathOf) : ["test/**/*.test.ts", "docs/examples/*.test.ts"],
    exclude: [...configDefaults.exclude, ...isLong ? [] : long.map(pathOf)],
    globalSetup: "test/harness/testFolder.ts",
    sequence: { sequencer: LongestFirst },
    isolate: false,
    // Young objects of property tests are many: a young generation of twice the size copies a third less of them.
    execArgv: ["--max-semi-space-size=32"],
    maxWorkers: 2 * cores,
    // Of one file, where tests may run together: while one waits, another can work.
    maxConcurrency: 4,
    testTimeout: 15_000 * busy,
    hookTimeout: 60_000 * busy,
    silent: "passed-only"
  }
})
