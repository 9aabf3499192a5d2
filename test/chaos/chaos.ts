/**
 * A broker and workers in processes of their own, browsers that trigger numbered events, Clients that broadcast numbered
 * messages and browsers that receive them; and bad things, which happen to all of them and to the network between. At the end
 * everything that was confirmed is to have been handled, and everything that was broadcast to have been received.
 */
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Logger, Random, type Scope } from "effect"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eventually } from "../harness/eventually.ts"
import * as TcpProxy from "../harness/TcpProxy.ts"
import { token } from "../harness/TestBroker.ts"
import type { Letters, State } from "./broker.ts"
import { beginReceiving, beginTriggering, channels } from "./browsers.ts"
import { check, checkBroadcasts, checkListeners, type Handling, type Verdict, waits } from "./checker.ts"
import { beginListening, Kept } from "./listeners.ts"
import { freePort, start, startBroker } from "./processes.ts"
import { beginBroadcasting, clientOf } from "./senders.ts"
import type { Options as WorkerOptions } from "./worker.ts"

/** How bad it is to be. */
export interface Options {
  /** How long bad things happen, at the least; each kind happens at least once. */
  readonly duration: Duration.Input
  /** What the choice of them depends on, but not their timing. */
  readonly seed: number
  /** Whether workers acknowledge what they have handled, default yes. */
  readonly acknowledges?: boolean | undefined
  /** What happens, default everything. */
  readonly deeds?: ReadonlyArray<Deed> | undefined
  /** Whether the broker keeps what it must not lose on disk, default yes. */
  readonly persists?: boolean | undefined
  /** Whether the channel of the listeners has a history, default yes. */
  readonly recovers?: boolean | undefined
  /** How long every handler takes at most, in milliseconds; where absent each worker has its own pace. */
  readonly slowness?: number | undefined
  /** Hears from time to time how it goes. */
  readonly onProgress?: ((figures: Figures) => Effect.Effect<void>) | undefined
}

/** What can happen. */
const allDeeds = [
  "workerKilled",
  "workerPaused",
  "workerEnded",
  "backendsCut",
  "browserCut",
  "stalled",
  "brokerPaused",
  "brokerKilled"
] as const

type Deed = (typeof allDeeds)[number]

/** What has happened so far. */
interface Figures {
  readonly confirmed: number
  readonly refused: number
  readonly unknown: number
  readonly broadcasts: {
    readonly answered: number
    readonly failed: number
    readonly received: number
    readonly heard: number
    readonly gaps: number
  }
  readonly deeds: Readonly<Record<Deed, number>>
  readonly redelivered: number
  readonly waiting: number
}

/** What has happened, and what is to be said of it. */
interface Report extends Figures, Verdict {
  readonly handled: number
  readonly deadLetters: number
  /** In milliseconds, see `waits`. */
  readonly longest: ReturnType<typeof waits>
}

const workers = 3

/** After this time a worker counts as dead that says nothing. */
const expiry = Duration.millis(500)

/** Lets bad things happen for a while, waits until the broker has nothing left, and judges. */
export const run = (options: Options): Effect.Effect<Report> =>
  live(options).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([])),
    Random.withSeed(options.seed),
    Effect.orDie
  )

const live = Effect.fnUntraced(function*(options: Options) {
  const folder = yield* temporaryFolder
  const world = yield* makeWorld(folder, options)
  const { broker, urls } = world
  const control = yield* clientOf(urls.direct)
  const receiving = yield* beginReceiving(urls.browsers, 4)
  const listening = yield* beginListening(urls.browsers)
  const triggering = yield* beginTriggering(urls.browsers, control)
  const broadcasting = yield* beginBroadcasting(urls.backends)
  const state = yield* watch(broker.ask("state"))
  const figures = (): Figures => {
    const answered = broadcasting.broadcasts.filter(({ answered }) => answered !== undefined).length
    return {
      confirmed: triggering.confirmed.size,
      refused: triggering.refused.size,
      unknown: triggering.unknown.size,
      broadcasts: {
        answered,
        failed: broadcasting.broadcasts.length - answered,
        received: receiving.subscriptions.reduce((sum, { received }) => sum + received.length, 0),
        heard: listening.listeners().reduce((sum, { heard }) => sum + heard.length, 0),
        gaps: listening.listeners().reduce((sum, { heard }) => sum + heard.filter((one) => "gap" in one).length, 0)
      },
      deeds: { ...world.counts },
      redelivered: state.redelivered(),
      waiting: state.latest().waiting
    }
  }
  const { onProgress } = options
  if (onProgress !== undefined) {
    yield* Effect.forkScoped(Effect.forever(Effect.delay(Effect.suspend(() => onProgress(figures())), "5 seconds")))
  }

  yield* doBadThings(world, options)
  yield* triggering.end
  yield* broadcasting.end
  yield* receiving.end
  const deaf = yield* listening.end(control)
  const left = yield* drained(state.latest)
  yield* world.end
  const handlings = yield* readAll(folder)
  const { letters } = (yield* broker.ask("letters")) as Letters
  const dropped = state.latest().deadLettersDropped
  const history = {
    ...triggering,
    handlings,
    letters: new Set(letters.map((json) => JSON.parse(json).count.n as number)),
    restarts: world.restarts
  }
  const verdict = check(history)
  const report: Report = {
    ...figures(),
    ...verdict,
    wrongs: [
      ...verdict.wrongs,
      ...checkBroadcasts(broadcasting.broadcasts, receiving.subscriptions),
      ...checkListeners(broadcasting.broadcasts.filter(({ channel }) => channel === Kept.name), listening.listeners()),
      ...deaf,
      ...broker.faults,
      ...left,
      ...dropped > 0 ? [`${dropped} dead letters were dropped, and nobody can tell which`] : []
    ],
    handled: handlings.length,
    deadLetters: letters.length,
    longest: waits(history)
  }
  return report
})

// --- The world -------------------------------------------------------------------------------------------------------

type World = Effect.Success<ReturnType<typeof makeWorld>>

const makeWorld = Effect.fnUntraced(function*(folder: string, options: Options) {
  const { acknowledges = true, persists = true, recovers = true } = options
  const ports = { websocketPort: yield* freePort, backendPort: yield* freePort, tcpPort: yield* freePort }
  const broker = yield* startBroker({
    ...ports,
    vhosts: [{ path: "/test", token, channels: [...channels, Kept.name] }],
    ...recovers && { channelRules: [{ pattern: Kept.name, history: { count: 100_000, size: 100_000_000 } }] },
    heartbeat: { interval: Duration.toMillis(expiry) / 5, maxMissed: 4 },
    queue: { capacity: 100, redeliveryBackoff: 5 },
    deadLetters: { capacity: 1_000_000, size: 1_000_000_000 },
    // Its browsers trigger more than a person does, and handlers that fail are to fail again at once.
    browsers: { messageRate: 1_000_000, byteRate: 1_000_000_000 },
    ...persists && { storageDir: join(folder, "storage") }
  })
  const proxies = {
    browsers: yield* TcpProxy.make(ports.websocketPort),
    zmq: yield* TcpProxy.make(ports.backendPort),
    tcp: yield* TcpProxy.make(ports.tcpPort)
  }
  const address = (port: number) => `${token}@127.0.0.1:${port}/test`
  const backends = [`wr://${address(proxies.zmq.port)}`, `wr+tcp://${address(proxies.tcp.port)}`] as const
  const all: Array<Worker> = []
  const startOne = Effect.gen(function*() {
    const told: WorkerOptions = {
      acknowledges,
      concurrency: yield* Random.nextIntBetween(1, 4),
      prefetch: yield* Random.nextIntBetween(1, 64),
      slowness: options.slowness ?? (yield* choice([2, 10, 50])),
      maxAttempts: yield* choice([1, 3, 1000]),
      silence: yield* choice([400, 2000])
    }
    const worker = yield* startWorker(yield* choice(backends), join(folder, `${all.length}.jsonl`), told)
    all.push(worker)
    return worker
  })
  const counts = Object.fromEntries(allDeeds.map((deed) => [deed, 0])) as Record<Deed, number>
  return {
    broker,
    proxies,
    urls: {
      browsers: `ws://127.0.0.1:${proxies.browsers.port}/test`,
      backends,
      direct: `wr+tcp://${address(ports.tcpPort)}`
    },
    team: yield* Effect.replicateEffect(startOne, workers),
    startOne,
    counts,
    /** When the broker was killed. */
    restarts: new Array<number>(),
    /** Ends all workers in order. */
    end: Effect.suspend(() => {
      for (const worker of all) worker.tell("SIGTERM")
      return Effect.forEach(all, ({ ended }) => ended, { discard: true })
    })
  }
})

/** Looks all the time, and sums up what a broker forgets that is killed. */
const watch = Effect.fnUntraced(function*(look: Effect.Effect<unknown>) {
  let earlier = 0
  let latest = (yield* look) as State
  const lookAgain = Effect.map(Effect.delay(look, "50 millis"), (seen) => {
    if (seen === undefined) return
    const state = seen as State
    // It counts from its start.
    if (state.redelivered < latest.redelivered) earlier += latest.redelivered
    latest = state
  })
  yield* Effect.forkScoped(Effect.forever(lookAgain))
  return { latest: () => latest, redelivered: () => earlier + latest.redelivered }
})

/** Waits until the broker has nothing left, and says so where that takes too long. */
const drained = (latest: () => State): Effect.Effect<ReadonlyArray<string>> => {
  // Not what was seen before.
  const before = latest()
  return eventually(
    Effect.sync(latest),
    (state) => state !== before && state.unacknowledged === 0 && state.waiting === 0,
    Infinity
  ).pipe(
    Effect.as([]),
    Effect.timeoutOrElse({
      duration: "1 minute",
      orElse: () =>
        Effect.sync(
          () => [`${latest().waiting} events wait for ever, and ${latest().unacknowledged} are not acknowledged`]
        )
    })
  )
}

// --- What happens ----------------------------------------------------------------------------------------------------

/** One thing after the other; some go on while the next happen. It ends when all have. */
const doBadThings = Effect.fnUntraced(function*(world: World, { deeds: names = allDeeds, duration }: Options) {
  const deeds = makeDeeds(world)
  const goingOn: Array<Fiber.Fiber<void>> = []
  const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(duration)
  for (let n = 0; n < names.length || (yield* Clock.currentTimeMillis) < until; n++) {
    const name = names[n] ?? (yield* Random.choice(names))
    const place = yield* Random.nextIntBetween(0, workers - 1)
    yield* world.team[place]!.isAtWork
    yield* Effect.sleep(yield* Random.nextBetween(0, 300))
    world.counts[name]++
    goingOn.push(yield* Effect.forkScoped(yield* deeds[name](place)))
  }
  yield* Fiber.joinAll(goingOn)
})

/** What can happen, each with what goes on while the next happens. */
const makeDeeds = (
  { broker, proxies, restarts, startOne, team }: World
): Record<Deed, (place: number) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>> => {
  const replace = (signal: "SIGKILL" | "SIGTERM") =>
    Effect.fnUntraced(function*(place: number) {
      team[place]!.tell(signal)
      team[place] = yield* startOne
      return Effect.void
    })
  const pause = (whom: Pick<Worker, "tell">) =>
    Effect.sync(() => {
      whom.tell("SIGSTOP")
      return Effect.ensuring(Effect.sleep(Duration.times(expiry, 2)), Effect.sync(() => whom.tell("SIGCONT")))
    })
  return {
    workerKilled: replace("SIGKILL"),
    workerPaused: (place) => pause(team[place]!),
    workerEnded: replace("SIGTERM"),
    backendsCut: Effect.fnUntraced(function*() {
      const proxy = yield* choice([proxies.zmq, proxies.tcp])
      yield* proxy.cut((yield* choice([true, false])) ? "all" : yield* anyOf(proxy))
      return Effect.void
    }),
    browserCut: Effect.fnUntraced(function*() {
      yield* proxies.browsers.cut(yield* anyOf(proxies.browsers))
      return Effect.void
    }),
    stalled: Effect.fnUntraced(function*() {
      const proxy = yield* choice([proxies.browsers, proxies.zmq, proxies.tcp])
      const time = Duration.times(expiry, yield* choice([0.5, 2.5]))
      const cuts = yield* choice([false, true])
      yield* proxy.stall
      return Effect.sleep(time).pipe(
        Effect.andThen(cuts ? proxy.cut("all") : Effect.void),
        Effect.ensuring(proxy.goOn),
        Effect.asVoid
      )
    }),
    brokerPaused: () => pause(broker),
    brokerKilled: Effect.fnUntraced(function*() {
      restarts.push(yield* Clock.currentTimeMillis)
      yield* broker.killAndStart
      return Effect.void
    })
  }
}

const choice = <A>(all: readonly [A, ...Array<A>]): Effect.Effect<A> => Random.choice(all)

const anyOf = (proxy: TcpProxy.TcpProxy) => Random.nextIntBetween(0, Math.max(0, proxy.connections() - 1))

// --- Workers ---------------------------------------------------------------------------------------------------------

interface Worker {
  readonly tell: Effect.Success<ReturnType<typeof start>>["tell"]
  /** Waits until it has handled its first event, or has ended. */
  readonly isAtWork: Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

const startWorker = Effect.fnUntraced(function*(url: string, file: string, options: WorkerOptions) {
  const atWork = yield* Deferred.make<void>()
  const args = [url, file, JSON.stringify(options)]
  const { ended, tell } = yield* start("./worker.ts", args, () => Deferred.doneUnsafe(atWork, Exit.void))
  const worker: Worker = { tell, ended, isAtWork: Effect.raceFirst(Deferred.await(atWork), ended) }
  return worker
})

// --- What they write down --------------------------------------------------------------------------------------------

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "kosmonaut-chaos-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
)

const readAll = (folder: string): Effect.Effect<ReadonlyArray<Handling>> =>
  Effect.sync(() =>
    Fs.readdirSync(folder).filter((file) => file.endsWith(".jsonl")).flatMap((file) => {
      const lines = Fs.readFileSync(join(folder, file), "utf8").split("\n").slice(0, -1)
      return lines.map((line): Handling => JSON.parse(line))
    })
  )
