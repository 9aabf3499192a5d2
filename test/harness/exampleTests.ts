/**
 * Runs the tests among the examples. They import `kosmonaut` by its name, as those of users do; here it is the sources,
 * by the paths of tsconfig.json.
 */
import { startVitest } from "vitest/node"

const vitest = await startVitest(
  "test",
  [],
  { config: false, dir: "docs/examples", watch: false, reporters: ["verbose"] },
  { resolve: { tsconfigPaths: true } }
)
await vitest.close()
