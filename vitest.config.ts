/**
 * How the tests run, those of the examples among them, which import `kosmonaut` by its name as users do.
 *
 * Files share a process: importing the library for each of them would take a third of the time. So a file leaves nothing
 * behind in its process. There is a process for every core, since many tests wait for timers and for other processes. A test
 * may take long on a busy machine: the timeouts only end those that hang.
 */
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { tsconfigPaths: true },
  test: {
    include: ["test/**/*.test.ts", "docs/examples/*.test.ts"],
    isolate: false,
    maxWorkers: "100%",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    silent: "passed-only"
  }
})
