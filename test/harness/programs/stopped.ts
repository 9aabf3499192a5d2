/**
 * Two backends in a process that is stopped for a moment, as by a laptop's sleep, while they listen and make requests: one for
 * each URL that is an argument. Writes what each has noticed: how its worker's state changed once it was connected, and how
 * many requests have failed. What is logged goes to the other output.
 */
import { Effect, Fiber, Layer, Logger, Stream } from "effect"
import { spawn } from "node:child_process"
import { Client, Kosmonaut, Worker } from "../../../src/index.ts"

const stop = Effect.callback<void>((resume) => {
  const script = `kill -STOP ${process.pid}; sleep 2.5; kill -CONT ${process.pid}`
  spawn("sh", ["-c", script]).on("exit", () => resume(Effect.void))
})

/** Begins to listen and to make requests, and returns how to end. */
const begin = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  const client = yield* Client.Client
  const listening = yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
  yield* Stream.runDrain(Stream.takeUntil(worker.changes, ({ _tag }) => _tag === "Connected"))
  const changes: Array<string> = []
  const watching = yield* Effect.forkScoped(
    Stream.runForEach(Stream.drop(worker.changes, 1), ({ _tag }) => Effect.sync(() => changes.push(_tag)))
  )
  let failed = 0
  const requesting = yield* Effect.forkScoped(
    Effect.forever(Effect.catch(Stream.runDrain(client.channels()), () => Effect.sync(() => failed++)))
  )
  return Effect.gen(function*() {
    yield* Fiber.interruptAll([requesting, watching])
    const noticed = { changes: [...changes], failed }
    yield* Fiber.interrupt(listening)
    return noticed
  })
})

const backend = (url: string) =>
  Kosmonaut.layer({
    url,
    client: { retry: "none", requestTimeout: "1500 millis" },
    worker: { silenceTimeout: "1500 millis", heartbeatInterval: "100 millis" }
  })

const program = Effect.gen(function*() {
  const ends = yield* Effect.forEach(
    process.argv.slice(2),
    (url) => Effect.flatMap(Layer.build(Layer.fresh(backend(url))), (context) => Effect.provideContext(begin, context))
  )
  yield* stop
  // As long as it takes to find the broker silent, and to time out.
  yield* Effect.sleep("2 seconds")
  return yield* Effect.forEach(ends, (end) => end)
})

const outcome = Effect.provideService(Effect.scoped(program), Logger.LogToStderr, true)

void Effect.runPromise(outcome).then((noticed) => process.stdout.write(JSON.stringify(noticed)))
