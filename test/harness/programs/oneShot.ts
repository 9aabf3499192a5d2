/**
 * A program that uses the whole library for a moment and then has nothing more to do. That it ends by itself is the test:
 * there is no `process.exit` and no `runMain` to help it.
 */
import { Deferred, Effect } from "effect"
import { Client, Kosmonaut, Worker } from "../../../src/index.ts"

const program = Effect.scoped(Effect.gen(function*() {
  const client = yield* Client.Client
  const worker = yield* Worker.Worker
  const handled = yield* Deferred.make<string>()
  yield* Effect.forkScoped(worker.listen({ onMessage: ({ event }) => Deferred.succeed(handled, event) }))
  yield* client.openChannel("one-shot")
  return yield* Deferred.await(handled)
}))

Effect.runPromise(Effect.provide(program, Kosmonaut.layer({ url: process.argv[2]! }))).then(
  (event) => process.stdout.write(`handled ${event}\n`),
  (error) => process.stderr.write(`${error}\n`)
)
