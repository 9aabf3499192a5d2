/**
 * Imports the whole library and uses it over TCP. Writes which modules of `zeromq` it has loaded.
 */
import { Effect } from "effect"
import { createRequire } from "node:module"
import { Client, Kosmonaut } from "../../../src/index.ts"

void Effect.runPromise(
  Client.Client.use((client) => client.openChannel("over-tcp")).pipe(
    Effect.provide(Kosmonaut.layer({ url: process.argv[2]! }))
  )
).then(() => {
  const loaded = Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes("zeromq"))
  process.stdout.write(JSON.stringify(loaded))
})
