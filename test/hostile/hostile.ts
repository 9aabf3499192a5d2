/**
 * One attack after the other, each on a broker of its own that has a canary, and what came of it.
 *
 * An attack fails if the canary lost something, if the broker needs more memory, descriptors or log than it may, or if it
 * does not end in time when it is told to. The canary's worst latency and the broker's longest stall are figures.
 */
import { Deferred, Duration, Effect, Exit, Schedule } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Bundle from "../harness/bundle.ts"
import * as Broker from "./broker.ts"
import * as Canary from "./canary.ts"
import type { Attack, Target } from "./stranger.ts"

/** What no attack may exceed. */
export const bounds = {
  /** Memory of the broker's process, in MiB. */
  rss: 450,
  /** Objects and buffers that are alive when the attackers have gone, in MiB beyond those of the start. */
  kept: 16,
  /** Descriptors that are open when the attackers have gone, beyond those of the start. */
  descriptors: 2,
  /**
   * How long after their end, in milliseconds. Connections that say nothing have 5 seconds, and hundreds may wait in the system, of which one is
   * accepted in each turn.
   */
  release: 20_000,
  /** What the broker may log of one attack, in KiB. */
  log: 64,
  /** How long the broker may take to end, in milliseconds. */
  end: Broker.shutdownTimeout + 1000
}

type Bounds = typeof bounds

const boundsOf = ({ keeps = 0 }: Attack): Bounds => ({ ...bounds, kept: bounds.kept + keeps })

/** What came of an attack. */
export interface Result {
  readonly name: string
  readonly faults: ReadonlyArray<string>
  readonly figures: {
    /** In milliseconds. */
    readonly worstLatency: number
    readonly longestStall: number
    readonly longestTurn: number
    readonly end: number
    /** In MiB. */
    readonly rss: number
    readonly kept: number
    /** In KiB. */
    readonly log: number
    readonly descriptors: number
  }
}

/** Runs an attack for so long. `limits` are before `bounds`. */
export const run = (attack: Attack, duration: Duration.Input, limits: Partial<Bounds> = {}): Effect.Effect<Result> =>
  Effect.scoped(Effect.orDie(live(attack, duration, { ...boundsOf(attack), ...limits })))

const live = Effect.fnUntraced(function*(attack: Attack, duration: Duration.Input, bounds: Bounds) {
  const broker = yield* Broker.start(attack)
  const canary = yield* Canary.begin(broker.target)
  yield* Effect.sleep("300 millis")
  const start = yield* broker.cost("collect")
  const peak = yield* watch(broker)
  const attackers = yield* beginAttack(attack, broker.target)
  if (attack.ends === true) yield* attackers.done
  yield* Effect.sleep(duration)

  // Stopped processes hold their connections, and answer nothing.
  if (attack.expelled === true) yield* attackers.signal("SIGSTOP")
  const isTogether = attack.name === "everything at once"
  if (!isTogether && attack.expelled !== true) yield* attackers.signal("SIGKILL")
  const report = yield* canary.end
  const last = isTogether ? undefined : yield* released(broker, start, bounds)
  const how = broker.end()
  const { after, how: end } = yield* broker.stop
  yield* attackers.signal("SIGKILL")

  const figures: Result["figures"] = {
    worstLatency: report.worst,
    longestStall: peak.stall(),
    longestTurn: peak.turn(),
    end: after,
    rss: mebibytes(peak.rss()),
    kept: last === undefined || start === undefined ? 0 : mebibytes(last.heap - start.heap),
    log: broker.logged() / 1024,
    descriptors: last === undefined || start === undefined ? 0 : last.descriptors - start.descriptors
  }
  const faults = how === undefined
    ? [
      ...attackers.failure() === undefined ? [] : [`the attack did not work: ${attackers.failure()?.slice(0, 500)}`],
      ...report.faults.map((fault) => `the canary: ${fault}`),
      ...exceeded(figures, bounds),
      ...endFaults(end, after, bounds)
    ]
    : [`the broker ended with ${how}: ${broker.log().slice(0, 500)}`]
  return { name: attack.name, faults, figures } satisfies Result
})

const mebibytes = (bytes: number) => bytes / 1_048_576

const exceeded = (figures: Result["figures"], bounds: Bounds): ReadonlyArray<string> =>
  ([
    ["rss", "MiB of memory"],
    ["kept", "MiB are still in use"],
    ["descriptors", "descriptors are still open"],
    ["log", "KiB were logged"]
  ] as const).filter(([name]) => figures[name] > bounds[name]).map(([name, what]) =>
    `${Math.round(figures[name])} ${what}, where ${bounds[name]} are allowed`
  )

const endFaults = (how: string, after: number, bounds: Bounds): ReadonlyArray<string> =>
  how === "status 0" && after <= bounds.end ? [] : [`the broker ended with ${how} after ${Math.round(after)} ms`]

/** Looks all the time what the broker costs. */
const watch = Effect.fnUntraced(function*(broker: Broker.Broker) {
  let rss = 0
  let stall = 0
  let turn = 0
  const look = Effect.map(broker.cost(), (cost) => {
    rss = Math.max(rss, cost?.rss ?? 0)
    stall = Math.max(stall, cost?.stall ?? 0)
    turn = Math.max(turn, cost?.turn ?? 0)
  })
  yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced("100 millis")))
  return { rss: () => rss, stall: () => stall, turn: () => turn }
})

/** Waits until the broker has released what attackers had, or the time for it is over. */
const released = Effect.fnUntraced(function*(
  broker: Broker.Broker,
  start: Broker.Cost | undefined,
  bounds: Bounds
) {
  const isBack = (cost: Broker.Cost | undefined) =>
    cost === undefined || start === undefined ||
    cost.descriptors <= start.descriptors + bounds.descriptors &&
      cost.heap <= start.heap + bounds.kept * 1_048_576
  let last: Broker.Cost | undefined
  const look = Effect.tap(broker.cost("collect"), (cost) => Effect.sync(() => void (last = cost)))
  yield* look.pipe(
    Effect.repeat({ until: isBack, schedule: Schedule.spaced("200 millis") }),
    Effect.timeoutOption(Duration.millis(bounds.release))
  )
  return last
})

/** The attackers' process, once it has begun. */
const beginAttack = Effect.fnUntraced(function*(attack: Attack, target: Target) {
  const begun = yield* Deferred.make<void>()
  const program = yield* Effect.promise(() => Bundle.of(fileURLToPath(new URL("attacker.ts", import.meta.url))))
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, attack.name, JSON.stringify(target)], {
        env: { ...process.env, ...Bundle.cache },
        stdio: ["ignore", "ignore", "ignore", "ipc"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let failure: string | undefined
  const done = yield* Deferred.make<void>()
  child.on("message", (said: { readonly failed?: string; readonly done?: true }) => {
    failure ??= said.failed
    if (said.done) Deferred.doneUnsafe(done, Exit.void)
    Deferred.doneUnsafe(begun, Exit.void)
  })
  yield* Deferred.await(begun)
  return {
    /** Why it did not attack as it should, if it did not. */
    failure: () => failure,
    /** Waits until its work is done, for a while. */
    done: Effect.timeoutOption(Deferred.await(done), "10 seconds"),
    signal: (signal: "SIGSTOP" | "SIGKILL") => Effect.sync(() => void child.kill(signal))
  }
})
