/**
 * A broker, pages that trigger numbered events, and workers in processes of their own, to which bad things happen: they
 * are killed, they stop for longer than the broker waits for them, and they are told to end. At the end everything that
 * was accepted is to have been handled.
 */
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Random, Redacted } from "effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Browser from "../harness/Browser.ts"
import { eventually } from "../harness/eventually.ts"
import { layer, TestBroker, transports } from "../harness/TestBroker.ts"
import { check, type Handling, type Verdict } from "./checker.ts"
import type { Options as WorkerOptions } from "./worker.ts"

/** How bad it is to be. */
export interface Options {
  /** How long bad things happen, at the least; each kind happens at least once. */
  readonly duration: Duration.Input
  /** What the choice of them depends on, but not their timing. */
  readonly seed: number
  /** Whether workers acknowledge what they have handled, default yes. */
  readonly acknowledges?: boolean | undefined
  /** Hears from time to time how it goes. */
  readonly onProgress?: ((figures: Figures) => Effect.Effect<void>) | undefined
}

/** What has happened so far. */
interface Figures {
  readonly accepted: number
  readonly refused: number
  readonly started: number
  readonly killed: number
  readonly paused: number
  readonly ended: number
  readonly redelivered: number
}

/** What has happened, and what is to be said of it. */
interface Report extends Figures, Verdict {
  readonly handled: number
  readonly deadLetters: number
}

const workers = 3
const pages = 2

/** After this time a worker counts as dead that says nothing. */
const expiry = Duration.millis(500)

/** Lets bad things happen for a while, waits until the broker has nothing left, and judges. */
export const run = (options: Options): Effect.Effect<Report> =>
  live(options).pipe(
    Effect.scoped,
    Effect.provide(layer({ heartbeatInterval: "100 millis", missedHeartbeats: 4, queueCapacity: 500 })),
    Random.withSeed(options.seed),
    Effect.orDie
  )

const live = Effect.fnUntraced(function*({ acknowledges = true, duration, onProgress }: Options) {
  const { urls, vhost } = yield* TestBroker
  const folder = yield* temporaryFolder
  const counts = { killed: 0, paused: 0, ended: 0 }
  const all: Array<Worker> = []
  const start = Effect.gen(function*() {
    const concurrency = yield* Random.nextIntBetween(1, 4)
    const prefetch = yield* Random.nextIntBetween(1, 64)
    const { url } = yield* Random.choice(transports)
    const file = join(folder, `${all.length}.jsonl`)
    const told = { acknowledges, concurrency, prefetch }
    const worker = yield* startWorker(Redacted.value(urls[url] as Redacted.Redacted), file, told)
    all.push(worker)
    return worker
  })
  const team = yield* Effect.replicateEffect(start, workers)
  const triggers = yield* beginTriggering
  const figures = (): Figures => ({
    accepted: triggers.accepted.length,
    refused: triggers.refused.length,
    started: all.length,
    ...counts,
    redelivered: vhost.lobby.counters.redelivered
  })
  if (onProgress !== undefined) {
    yield* Effect.forkScoped(Effect.forever(Effect.delay(Effect.suspend(() => onProgress(figures())), "10 seconds")))
  }

  const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(duration)
  for (let n = 0; n < deeds.length || (yield* Clock.currentTimeMillis) < until; n++) {
    const deed = deeds[n] ?? (yield* Random.choice(deeds))
    const which = yield* Random.nextIntBetween(0, workers - 1)
    const worker = team[which]!
    yield* worker.isAtWork
    yield* Effect.sleep(yield* Random.nextBetween(0, 200))
    counts[deed]++
    if (deed === "paused") {
      yield* Effect.forkScoped(pause(worker))
    } else {
      worker.tell(deed === "killed" ? "SIGKILL" : "SIGTERM")
      team[which] = yield* start
    }
  }

  yield* triggers.end
  for (const worker of all) worker.tell("SIGCONT")
  yield* eventually(
    Effect.sync(() => vhost.lobby.counters),
    ({ unacknowledged, waiting }) => waiting === 0 && unacknowledged === 0
  )
  for (const worker of team) worker.tell("SIGTERM")
  yield* Effect.forEach(all, ({ ended }) => ended, { discard: true })
  const handlings = yield* readAll(folder)
  const report: Report = {
    ...figures(),
    ...check({ ...triggers, handlings }),
    handled: handlings.length,
    deadLetters: vhost.deadLetters.counters.kept
  }
  return report
})

const deeds = ["killed", "paused", "ended"] as const

// --- Workers ---------------------------------------------------------------------------------------------------------

interface Worker {
  readonly tell: (signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT") => void
  /** Waits until it has handled its first event. */
  readonly isAtWork: Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

const program = new URL("./worker.ts", import.meta.url).pathname

// Compiled once for all of them.
const cache = { NODE_COMPILE_CACHE: join(tmpdir(), "kosmonaut-test-cache") }

/** Starts one. It is killed with its scope, and that it ends without being told to is a fault. */
const startWorker = Effect.fnUntraced(function*(url: string, file: string, options: WorkerOptions) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, url, file, JSON.stringify(options)], {
        env: { ...process.env, ...cache },
        stdio: ["pipe", "pipe", "inherit"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const atWork = yield* Deferred.make<void>()
  const ended = yield* Deferred.make<void>()
  let told = false
  child.stdout.once("data", () => Deferred.doneUnsafe(atWork, Exit.void))
  child.on("exit", (code, signal) => {
    const end = told ? Exit.void : Exit.die(new Error(`A worker ended by itself: ${code ?? signal}`))
    Deferred.doneUnsafe(atWork, end)
    Deferred.doneUnsafe(ended, end)
  })
  const worker: Worker = {
    tell: (signal) => {
      told ||= signal === "SIGKILL" || signal === "SIGTERM"
      child.kill(signal)
    },
    isAtWork: Deferred.await(atWork),
    ended: Deferred.await(ended)
  }
  return worker
})

const pause = (worker: Worker): Effect.Effect<void> =>
  Effect.suspend(() => {
    worker.tell("SIGSTOP")
    return Effect.ensuring(Effect.sleep(Duration.times(expiry, 2)), Effect.sync(() => worker.tell("SIGCONT")))
  })

// --- What they write down --------------------------------------------------------------------------------------------

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "kosmonaut-chaos-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
)

const readAll = (folder: string): Effect.Effect<ReadonlyArray<Handling>> =>
  Effect.sync(() =>
    Fs.readdirSync(folder).flatMap((file) => {
      const lines = Fs.readFileSync(join(folder, file), "utf8").split("\n").slice(0, -1)
      return lines.map((line): Handling => JSON.parse(line))
    })
  )

// --- Pages -----------------------------------------------------------------------------------------------------------

/** Pages that trigger one event after another, each with a number of its own, until they are told to end. */
const beginTriggering = Effect.gen(function*() {
  const { urls, vhost } = yield* TestBroker
  const accepted: Array<number> = []
  const refused: Array<number> = []
  let enough = false
  let next = 0

  const page = Effect.gen(function*() {
    const browser = yield* Browser.connect(urls.websocket)
    const token = yield* vhost.accessTokens.issue("joe", ".*")
    yield* browser.send({ auth: { token: Redacted.value(token) } })
    yield* browser.nextOf(":authenticated")
    for (let subscribed = false; !enough; subscribed = !subscribed) {
      const n = next++
      yield* browser.send({ trigger: { event: "count", data: { n } } })
      // A trigger is answered only where it is refused. What is answered in any case tells when that is known.
      const answer = subscribed ? ":unsubscribed" : ":subscribed"
      yield* browser.send({ [subscribed ? "unsubscribe" : "subscribe"]: { channel: "room" } })
      let isRefused = false
      for (let heard = yield* browser.next; !(answer in heard); heard = yield* browser.next) {
        isRefused ||= ":error" in heard
      }
      if (isRefused) refused.push(n)
      else accepted.push(n)
      // The line is full: it takes a moment.
      if (isRefused) yield* Effect.sleep("20 millis")
    }
  })
  const fibers = yield* Effect.replicateEffect(Effect.forkScoped(page), pages)
  return {
    accepted,
    refused,
    end: Effect.suspend(() => {
      enough = true
      return Fiber.joinAll(fibers)
    })
  }
})
