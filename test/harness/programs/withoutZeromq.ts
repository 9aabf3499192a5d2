/**
 * Uses the library over ZeroMQ where the package `zeromq` cannot be found. Writes how the request has failed.
 */
import { Effect } from "effect"
import { registerHooks } from "node:module"
import { Client, Kosmonaut } from "../../../src/index.ts"

registerHooks({
  resolve: (specifier, context, nextResolve) =>
    nextResolve(specifier === "zeromq" ? "no-such-package" : specifier, context)
})

void Effect.runPromise(
  Client.Client.use((client) => Effect.flip(client.openChannel("room"))).pipe(
    Effect.provide(Kosmonaut.layer({ url: process.argv[2]!, client: { retry: "none" } }))
  )
).then((error) => process.stdout.write(`${error._tag} ${error.message}`))
