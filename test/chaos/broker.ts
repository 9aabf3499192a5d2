/**
 * A broker with the vhost `/test`, as a program that can be killed. It says `{"ready":true}` once it is up, answers each
 * line on its standard input with one on its standard output, and tells of what fails in it that must not.
 *
 *     node broker.ts <options of the broker>
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Logger, Queue, Schedule } from "effect"
import * as Module from "node:module"
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

/** What it answers to `letters`: the ids and texts of the events that are dead letters. */
export interface Letters {
  readonly letters: ReadonlyArray<{ readonly id: string; readonly json: string }>
}

/** What it answers to `browsers`: the sids of all, those at other nodes, too. */
export interface Browsers {
  readonly sids: ReadonlyArray<string>
}

/** What it can be asked. */
export interface Answers {
  readonly state: State
  readonly letters: Letters
  readonly browsers: Browsers
}

const options = JSON.parse(process.argv[2] ?? "{}") as BrokerConfig.Options

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

const program = Effect.gen(function*() {
  const vhosts = yield* Vhosts.Vhosts
  // A node that starts anew has another one.
  const current = Effect.map(vhosts.get("/test"), VhostViews.ofView)
  const answers: { readonly [Question in keyof Answers]: Effect.Effect<Answers[Question], unknown> } = {
    state: Effect.map(current, ({ deadLetters, lobby: { counters } }) => ({
      refused: counters.refused,
      redelivered: counters.redelivered,
      waiting: counters.queued,
      unacknowledged: counters.unacknowledged,
      workers: counters.workers,
      deadLetters: deadLetters.counters.count,
      deadLettersDropped: deadLetters.counters.dropped
    })),
    letters: Effect.map(Effect.flatMap(current, ({ deadLetters }) => deadLetters.list), (letters) => ({
      letters: letters.map(({ id, json }) => ({ id, json }))
    })),
    browsers: Effect.map(
      current,
      ({ browsers }) => ({ sids: Array.from(browsers.list(), ({ browser: { sid } }) => sid) })
    )
  }
  const questions = yield* Queue.unbounded<keyof Answers>()
  const lines = createInterface({ input: process.stdin })
  lines.on("line", (line) => Queue.offerUnsafe(questions, line as keyof Answers))
  // Whoever started it has gone.
  lines.on("close", () => process.exit(1))
  say({ ready: true })
  // A process that is killed writes no cache for the next ones.
  Module.flushCompileCache()
  const answer = Effect.flatMap(
    Queue.take(questions),
    (question) =>
      Effect.map(Effect.retry(answers[question] as Effect.Effect<object, unknown>, Schedule.spaced("200 millis")), say)
  )
  return yield* Effect.forever(answer)
})

/** What a node says when its lease, or Redis, was taken from it. */
const expected = /has lost its lease|This node cannot start|LOADING|MASTERDOWN|READONLY/

const faults = Logger.make(({ cause, logLevel, message }) => {
  if (logLevel !== "Error" && logLevel !== "Fatal" || expected.test(String(message))) return
  say({ fault: `${String(message)} ${cause.reasons.join(" ")}` })
})

NodeRuntime.runMain(
  Effect.provide(program, Layer.provideMerge(Broker.layer(options), Logger.layer([faults]))),
  { disableErrorReporting: true }
)
