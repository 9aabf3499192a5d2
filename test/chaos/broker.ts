/**
 * A broker with the vhost `/test`, as a program that can be killed. It says `{"ready":true}` once it is up, answers each
 * line on its standard input with one on its standard output, and tells of what fails in it that must not.
 *
 *     node broker.ts <options of the broker>
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Logger } from "effect"
import { createInterface } from "node:readline"
import * as VhostViews from "../../src/server/engine/VhostViews.ts"
import { Broker, type BrokerConfig, Vhosts } from "../../src/server/index.ts"

/** What it answers to `state`. */
export interface State {
  readonly refused: number
  readonly redelivered: number
  readonly waiting: number
  readonly unacknowledged: number
  readonly workers: number
  readonly deadLetters: number
  readonly deadLettersDropped: number
}

/** What it answers to `letters`: the texts of the events that are dead letters. */
export interface Letters {
  readonly letters: ReadonlyArray<string>
}

const options = JSON.parse(process.argv[2] ?? "{}") as BrokerConfig.Options

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

const program = Effect.gen(function*() {
  const vhost = VhostViews.ofView(yield* Vhosts.Vhosts.use(({ get }) => get("/test")))
  const { counters } = vhost.lobby
  const state = (): State => ({
    refused: counters.refused,
    redelivered: counters.redelivered,
    waiting: counters.queued,
    unacknowledged: counters.unacknowledged,
    workers: counters.workers,
    deadLetters: vhost.deadLetters.counters.count,
    deadLettersDropped: vhost.deadLetters.counters.dropped
  })
  const letters = Effect.map(vhost.deadLetters.list, (letters): Letters => ({
    letters: letters.map(({ json }) => json)
  }))
  const lines = createInterface({ input: process.stdin })
  lines.on("line", (line) => say(line === "letters" ? Effect.runSync(letters) : state()))
  // Whoever started it has gone.
  lines.on("close", () => process.exit(1))
  say({ ready: true })
  return yield* Effect.never
})

const faults = Logger.make(({ cause, logLevel, message }) => {
  if (logLevel === "Error" || logLevel === "Fatal") say({ fault: `${String(message)} ${cause.reasons.join(" ")}` })
})

NodeRuntime.runMain(
  Effect.provide(program, Layer.provideMerge(Broker.layer(options), Logger.layer([faults]))),
  { disableErrorReporting: true }
)
