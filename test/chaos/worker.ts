/**
 * A worker that lives dangerously, as a program: it writes down each event that it has handled, where it outlasts the
 * process, and only then acknowledges it. Now and then a handler fails, or interrupts itself; not those of lifecycle events.
 *
 *     node worker.ts <url> <file> <options>
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Logger, Schedule } from "effect"
import * as Fs from "node:fs"
import * as Module from "node:module"
import { Transport, Worker } from "../../src/index.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import type { Handling, Transition } from "./checker.ts"
import { transportOf } from "./senders.ts"

/** How it is to be. */
export interface Options {
  /** Whether it acknowledges. Otherwise it says a bare `RD`, as the original's workers, and no handler fails. */
  readonly acknowledges: boolean
  readonly concurrency: number
  readonly prefetch: number
  /** How long a handler takes at most, in milliseconds. */
  readonly slowness: number
  /** How often an event is handed out whose handler fails. */
  readonly maxAttempts: number
  /** After how long without a word it takes the broker for lost, in milliseconds. */
  readonly silence: number
  /** Whether it takes lifecycle events, too. */
  readonly lifecycle: boolean
}

const [url = "", file = "", json = ""] = process.argv.slice(2)
const { acknowledges, concurrency, lifecycle, maxAttempts, prefetch, silence, slowness } = JSON.parse(json) as Options

// Whoever started it has gone.
process.stdin.on("end", () => process.exit(1)).resume()

const log = Fs.openSync(file, "a")
let handled = 0
const writeDown = (what: Handling | Transition) => {
  Fs.writeSync(log, `${JSON.stringify(what)}\n`)
  if (handled++ > 0) return
  process.stdout.write("at work\n")
  // A process that is killed writes no cache for the next ones.
  Module.flushCompileCache()
}

const bare = (transport: Transport.Transport["Service"]) =>
  FakeTransport.mapSent(transport, (frames) => frames[0] === "RD" ? ["RD"] : frames)

const driver = transportOf(url)
const transport = acknowledges
  ? driver
  : Layer.provide(Layer.effect(Transport.Transport, Effect.map(Transport.Transport, bare)), driver)

const listening = Worker.Worker.use((worker) =>
  worker.listen({
    lifecycle,
    onMessage: ({ attempt, data, event, id }) =>
      Effect.gen(function*() {
        if (event.startsWith(":")) return writeDown({ lifecycle: event, id, data })
        yield* Effect.sleep(Math.random() * slowness)
        const luck = acknowledges ? Math.random() : 1
        if (luck < 0.02) return yield* Effect.fail("bad luck")
        if (luck < 0.03) return yield* Effect.interrupt
        writeDown({ n: Number(data["n"]), id, attempt, at: Date.now() })
      }),
    onException: () => Effect.void
  })
)

const worker = Worker.layer({
  url,
  concurrency,
  prefetch,
  maxAttempts,
  drainTimeout: "1 minute",
  heartbeatInterval: "50 millis",
  silenceTimeout: silence,
  reconnect: Schedule.spaced("100 millis")
})

NodeRuntime.runMain(
  Effect.provide(listening, Layer.merge(Layer.provide(worker, transport), Logger.layer([]))),
  { disableErrorReporting: true }
)
