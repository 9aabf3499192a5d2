/**
 * What bad things happen to: workers, brokers and the network between, and what can happen to them.
 */
import { Deferred, Duration, Effect, Exit, Random, type Scope } from "effect"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eventually } from "../harness/eventually.ts"
import * as TcpProxy from "../harness/TcpProxy.ts"
import { token } from "../harness/TestBroker.ts"
import type { Letters, State } from "./broker.ts"
import { channels } from "./browsers.ts"
import type { Handling, Transition } from "./checker.ts"
import { Kept } from "./listeners.ts"
import { freePort, start, startBroker } from "./processes.ts"
import type { Replacement } from "./replacements.ts"
import type { Options as WorkerOptions } from "./worker.ts"

/** How it is made. */
export interface Options {
  /** Whether workers acknowledge what they have handled, default yes. */
  readonly acknowledges?: boolean | undefined
  /** Whether the broker keeps what it must not lose on disk, default yes. */
  readonly persists?: boolean | undefined
  /** Whether the channel of the listeners has a history, default yes. */
  readonly recovers?: boolean | undefined
  /** How long every handler takes at most, in milliseconds; where absent each worker has its own pace. */
  readonly slowness?: number | undefined
  /** How long it may take at the end until all is as it should be, default a minute. */
  readonly patience?: Duration.Input | undefined
  /** What of the broker is switched off. */
  readonly replacements?: ReadonlyArray<Replacement> | undefined
}

/** What can happen to a worker or node of this place, with what goes on while the next happens. */
export type Deed = (place: number) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>

/** The world. */
export interface World {
  readonly urls: {
    readonly browsers: string
    readonly backends: readonly [string, string]
    /** For who must not be disturbed, if that is possible. */
    readonly control: string
  }
  readonly team: Team
  readonly deeds: Readonly<Record<string, Deed>>
  /** How long it is at peace between two of them, at most, in milliseconds. */
  readonly pace: number
  /** When the broker was killed, and may have forgotten something. */
  readonly restarts: ReadonlyArray<number>
  /** What has failed in brokers that must not. */
  readonly faults: () => ReadonlyArray<string>
  readonly latest: () => State
  readonly redelivered: () => number
  /** Waits until nothing is left of what was `confirmed`, and says so where that takes too long. */
  readonly drained: (confirmed: ReadonlySet<number>) => Effect.Effect<ReadonlyArray<string>>
  readonly letters: Effect.Effect<Letters["letters"]>
}

/** How many workers there are at any time, and how many nodes, if there are several. */
export const places = 3

/** After this time a worker counts as dead that says nothing. */
const expiry = Duration.millis(500)

// --- One broker ------------------------------------------------------------------------------------------------------

/** Makes one with a broker that has all ports for itself. */
export const make = Effect.fnUntraced(function*(folder: string, options: Options): Effect.fn.Return<
  World,
  never,
  Scope.Scope
> {
  const { persists = true } = options
  const ports = { websocketPort: yield* freePort, backendPort: yield* freePort, tcpPort: yield* freePort }
  const broker = yield* startBroker({
    ...ports,
    ...brokerOptions(options),
    ...persists && { storageDir: join(folder, "storage") }
  })
  const network = yield* makeNetwork(ports)
  const team = yield* makeTeam(folder, network.urls.backends, { ...options, lifecycle: false })
  const state = yield* watch(Effect.map(broker.ask("state"), (state) => state === undefined ? [] : [state]))
  const restarts: Array<number> = []
  return {
    urls: { ...network.urls, control: `wr+tcp://${address(ports.tcpPort)}` },
    team,
    pace: 300,
    restarts,
    faults: () => broker.faults,
    ...state,
    drained: () => drained(state.latest, options.patience),
    letters: Effect.map(broker.ask("letters"), (answer) => answer!.letters),
    deeds: {
      ...workerDeeds(team),
      ...networkDeeds(network.proxies),
      brokerPaused: () => pause(broker, Duration.times(expiry, 2)),
      brokerKilled: Effect.fnUntraced(function*() {
        restarts.push(Date.now())
        yield* broker.killAndStart
        return Effect.void
      })
    }
  }
})

/** The options of any broker. */
export const brokerOptions = ({ recovers = true }: Options) => ({
  vhosts: [{ path: "/test", token, channels: [...channels, Kept.name] }],
  ...recovers && { channelRules: [{ pattern: Kept.name, history: { count: 100_000, size: 100_000_000 } }] },
  heartbeat: { interval: Duration.toMillis(expiry) / 5, maxMissed: 4 },
  queue: { capacity: 100, redeliveryBackoff: 5 },
  deadLetters: { capacity: 1_000_000, size: 1_000_000_000 },
  // Its browsers trigger more than a person does, and handlers that fail are to fail again at once.
  browsers: { messageRate: 1_000_000, byteRate: 1_000_000_000 }
})

/** What it is reached by. */
export const address = (port: number): string => `${token}@127.0.0.1:${port}/test`

/** The network in front of the ports of a broker, or of several. */
export const makeNetwork = Effect.fnUntraced(
  function*(ports: Readonly<Record<"websocketPort" | "backendPort" | "tcpPort", number | (() => number)>>) {
    const proxies = {
      browsers: yield* TcpProxy.make(ports.websocketPort),
      zmq: yield* TcpProxy.make(ports.backendPort),
      tcp: yield* TcpProxy.make(ports.tcpPort)
    }
    const backends = [`wr://${address(proxies.zmq.port)}`, `wr+tcp://${address(proxies.tcp.port)}`] as const
    return { proxies, urls: { browsers: `ws://127.0.0.1:${proxies.browsers.port}/test`, backends } }
  }
)

/** Looks all the time at all brokers that are there, and sums up what one forgets that is killed. */
export const watch = Effect.fnUntraced(function*(look: Effect.Effect<ReadonlyArray<State>>) {
  let earlier = 0
  let latest = sumOf(yield* look)
  const lookAgain = Effect.map(Effect.delay(look, "50 millis"), (seen) => {
    if (seen.length === 0) return
    const state = sumOf(seen)
    // It counts from its start.
    if (state.redelivered < latest.redelivered) earlier += latest.redelivered
    latest = state
  })
  yield* Effect.forkScoped(Effect.forever(lookAgain))
  return { latest: () => latest, redelivered: () => earlier + latest.redelivered }
})

// Each knows what all have, but for what it has done itself.
const sumOf = ([first, ...others]: ReadonlyArray<State>): State => ({
  ...first!,
  workers: others.reduce((sum, { workers }) => sum + workers, first!.workers),
  redelivered: others.reduce((sum, { redelivered }) => sum + redelivered, first!.redelivered),
  deadLettersDropped: others.reduce(
    (sum, { deadLettersDropped }) => sum + deadLettersDropped,
    first!.deadLettersDropped
  )
})

const drained = (
  latest: () => State,
  patience: Duration.Input = "1 minute"
): Effect.Effect<ReadonlyArray<string>> => {
  // Not what was seen before.
  const before = latest()
  return eventually(
    Effect.sync(latest),
    (state) => state !== before && state.unacknowledged === 0 && state.waiting === 0,
    Infinity
  ).pipe(
    Effect.as([]),
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () =>
        Effect.sync(
          () => [`${latest().waiting} events wait for ever, and ${latest().unacknowledged} are not acknowledged`]
        )
    })
  )
}

// --- What can happen -------------------------------------------------------------------------------------------------

/** What can happen to workers. */
export const workerDeeds = ({ startOne, workers }: Team) => {
  const replace = (signal: "SIGKILL" | "SIGTERM"): Deed =>
    Effect.fnUntraced(function*(place: number) {
      workers[place]!.tell(signal)
      workers[place] = yield* startOne
      return Effect.void
    })
  return {
    workerKilled: replace("SIGKILL"),
    workerPaused: ((place) => pause(workers[place]!, Duration.times(expiry, 2))) satisfies Deed,
    workerEnded: replace("SIGTERM")
  }
}

/** What can happen to connections. */
export const networkDeeds = (proxies: Effect.Success<ReturnType<typeof makeNetwork>>["proxies"]) => {
  const backendsCut: Deed = Effect.fnUntraced(function*() {
    const proxy = yield* choice([proxies.zmq, proxies.tcp])
    yield* proxy.cut((yield* choice([true, false])) ? "all" : yield* anyOf(proxy))
    return Effect.void
  })
  const browserCut: Deed = Effect.fnUntraced(function*() {
    yield* proxies.browsers.cut(yield* anyOf(proxies.browsers))
    return Effect.void
  })
  const stalled: Deed = Effect.fnUntraced(function*() {
    const proxy = yield* choice([proxies.browsers, proxies.zmq, proxies.tcp])
    return yield* stall(proxy, Duration.times(expiry, yield* choice([0.5, 2.5])), yield* choice([false, true]))
  })
  return { backendsCut, browserCut, stalled }
}

/** Forwards nothing for a while, and may then end all connections. */
export const stall = (proxy: TcpProxy.TcpProxy, time: Duration.Duration, cuts: boolean) =>
  Effect.as(
    proxy.stall,
    Effect.sleep(time).pipe(
      Effect.andThen(cuts ? proxy.cut("all") : Effect.void),
      Effect.ensuring(proxy.goOn),
      Effect.asVoid
    )
  )

/** Stops a process for a while. */
export const pause = (whom: Pick<Worker, "tell">, time: Duration.Duration) =>
  Effect.sync(() => {
    whom.tell("SIGSTOP")
    return Effect.ensuring(Effect.sleep(time), Effect.sync(() => whom.tell("SIGCONT")))
  })

const choice = <A>(all: readonly [A, ...Array<A>]): Effect.Effect<A> => Random.choice(all)

const anyOf = (proxy: TcpProxy.TcpProxy) => Random.nextIntBetween(0, Math.max(0, proxy.connections() - 1))

// --- Workers ---------------------------------------------------------------------------------------------------------

interface Worker {
  readonly tell: Effect.Success<ReturnType<typeof start>>["tell"]
  /** Waits until it has handled its first event, if that is sure to come, or has ended. */
  readonly isAtWork: Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

/** The workers, and those that were there before. */
export interface Team {
  /** One for each place. */
  readonly workers: Array<Worker>
  readonly startOne: Effect.Effect<Worker, never, Scope.Scope>
  /** Ends all of them in order. */
  readonly end: Effect.Effect<void>
}

/** Starts workers, each as it happens to be. */
export const makeTeam = Effect.fnUntraced(function*(
  folder: string,
  backends: readonly [string, string],
  { acknowledges = true, lifecycle, slowness }: Options & Pick<WorkerOptions, "lifecycle">
): Effect.fn.Return<Team, never, Scope.Scope> {
  const all: Array<Worker> = []
  const startOne = Effect.gen(function*() {
    const told: WorkerOptions = {
      acknowledges,
      lifecycle,
      concurrency: yield* Random.nextIntBetween(1, 4),
      prefetch: yield* Random.nextIntBetween(1, 64),
      slowness: slowness ?? (yield* choice([2, 10, 50])),
      maxAttempts: yield* choice([1, 3, 1000]),
      silence: yield* choice([400, 2000])
    }
    const worker = yield* startWorker(yield* choice(backends), join(folder, `${all.length}.jsonl`), told)
    all.push(worker)
    return worker
  })
  return {
    workers: yield* Effect.replicateEffect(startOne, places),
    startOne,
    end: Effect.suspend(() => {
      for (const worker of all) worker.tell("SIGTERM")
      return Effect.forEach(all, ({ ended }) => ended, { discard: true })
    })
  }
})

const startWorker = Effect.fnUntraced(function*(url: string, file: string, options: WorkerOptions) {
  const atWork = yield* Deferred.make<void>()
  const args = [url, file, JSON.stringify(options)]
  const { ended, tell } = yield* start("./worker.ts", args, () => Deferred.doneUnsafe(atWork, Exit.void))
  // Of several nodes the one that an event comes to likely has a worker for it, and those of the others stay idle.
  const isAtWork = options.lifecycle ? Effect.void : Effect.raceFirst(Deferred.await(atWork), ended)
  const worker: Worker = { tell, ended, isAtWork }
  return worker
})

// --- What they write down --------------------------------------------------------------------------------------------

/** Where they do. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "kosmonaut-chaos-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
)

/** All of it. */
export const readAll = (folder: string) =>
  Effect.sync(() => {
    const handlings: Array<Handling> = []
    const transitions: Array<Transition> = []
    for (const file of Fs.readdirSync(folder).filter((file) => file.endsWith(".jsonl"))) {
      for (const line of Fs.readFileSync(join(folder, file), "utf8").split("\n").slice(0, -1)) {
        const written = JSON.parse(line) as Handling | Transition
        if ("lifecycle" in written) transitions.push(written)
        else handlings.push(written)
      }
    }
    return { handlings, transitions }
  })
