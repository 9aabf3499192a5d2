/**
 * Listens over ZeroMQ in a thread that ends while it is connected. Writes the thread's exit code.
 */
import { Effect, Fiber, Stream } from "effect"
import { isMainThread, Worker as Thread, workerData } from "node:worker_threads"
import { Client, Kosmonaut, Worker } from "../../../src/index.ts"

const listenAndExit = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  const client = yield* Client.Client
  const listening = yield* Effect.forkChild(worker.listen({ onMessage: () => Effect.void }))
  yield* Stream.runDrain(Stream.takeUntil(worker.changes, ({ _tag }) => _tag === "Connected"))
  yield* client.openChannel("from-a-thread")
  process.exit(7)
  return yield* Fiber.join(listening)
})

if (isMainThread) {
  const thread = new Thread(process.argv[1]!, { workerData: process.argv[2] })
  thread.on("exit", (code) => {
    process.stdout.write(`exit ${code}\n`)
    // The rest of the process goes on.
    setTimeout(() => process.stdout.write("alive\n"), 200)
  })
} else {
  Effect.runFork(Effect.provide(listenAndExit, Kosmonaut.layer({ url: workerData as string })))
}
