/**
 * A backend that is stopped for a moment, as by a laptop's sleep, while it listens and makes requests. Writes what it has
 * noticed: how its worker's state changed once it was connected, and how many requests have failed.
 */
import { Effect, Fiber, Stream } from "effect"
import { spawn } from "node:child_process"
import { Client, Kosmonaut, Worker } from "../../../src/index.ts"

const stop = Effect.callback<void>((resume) => {
  const script = `kill -STOP ${process.pid}; sleep 1; kill -CONT ${process.pid}`
  spawn("sh", ["-c", script]).on("exit", () => resume(Effect.void))
})

const program = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  const client = yield* Client.Client
  const listening = yield* Effect.forkChild(worker.listen({ onMessage: () => Effect.void }))
  yield* Stream.runDrain(Stream.takeUntil(worker.changes, ({ _tag }) => _tag === "Connected"))
  const changes: Array<string> = []
  const watching = yield* Effect.forkChild(
    Stream.runForEach(Stream.drop(worker.changes, 1), ({ _tag }) => Effect.sync(() => changes.push(_tag)))
  )
  let failed = 0
  const asking = yield* Effect.forkChild(
    Effect.forever(Effect.catch(Stream.runDrain(client.channels()), () => Effect.sync(() => failed++)))
  )
  yield* stop
  // As long as it takes to find the broker silent, and to time out.
  yield* Effect.sleep("1 second")
  yield* Fiber.interruptAll([asking, watching])
  const seen = [...changes]
  yield* Fiber.interrupt(listening)
  return { changes: seen, failed }
})

const url = process.argv[2]!
void Effect.runPromise(Effect.provide(
  program,
  Kosmonaut.layer({
    url,
    client: { retry: "none", requestTimeout: "600 millis" },
    worker: { silenceTimeout: "600 millis", heartbeatInterval: "100 millis" }
  })
)).then((noticed) => process.stdout.write(JSON.stringify(noticed)))
