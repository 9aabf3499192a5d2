/**
 * Strangers attack a served broker, and a canary must lose nothing. Ends with 1 if an attack has failed. It needs Linux:
 * memory and descriptors are read from /proc, and strangers come from all of 127.0.0.0/8.
 *
 *     npm run hostile -- --quick
 *     npm run hostile -- --only "ping flood" --seconds 10
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Duration, Effect, Logger } from "effect"
import { parseArgs } from "node:util"
import { attacks } from "./attacks/all.ts"
import { bounds, type Result, run } from "./hostile.ts"

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [] },
    // Some of each kind, in about half a minute.
    quick: { type: "boolean", default: false },
    seconds: { type: "string" }
  }
})

const some = [
  "refused upgrades",
  "vanished browsers",
  "deaf browsers",
  "growing numbers",
  "message flood",
  "squatters on TCP",
  "large messages over ZeroMQ",
  "handshakes that stall",
  "everything at once"
]

const chosen = values.only.length > 0 ? values.only : values.quick ? some : attacks.map(({ name }) => name)

const lineOf = ({ faults, figures, name }: Result): string => {
  const figure = (value: number, unit: string) => `${Math.round(value)} ${unit}`.padStart(9)
  const columns = [
    figure(figures.worstLatency, "ms"),
    figure(figures.longestStall, "ms"),
    figure(figures.longestTurn, "ms"),
    figure(figures.rss, "MiB"),
    figure(figures.kept, "MiB"),
    figure(figures.log, "KiB"),
    figure(figures.end, "ms")
  ]
  const verdict = `${faults.length === 0 ? "pass" : "FAIL"}  ${name.padEnd(30)}${columns.join("")}`
  return [verdict, ...faults.slice(0, 6).map((fault) => `      ${fault}`)].join("\n")
}

const program = Effect.gen(function*() {
  const unknown = chosen.find((name) => !attacks.some((attack) => attack.name === name))
  if (unknown !== undefined) return yield* Effect.fail(`There is no attack ${unknown}`)
  yield* Console.log(
    `${"".padEnd(36)}${
      ["latency", "stall", "turn", "memory", "kept", "log", "end"].map((name) => name.padStart(9)).join("")
    }`
  )
  const duration = Duration.seconds(Number(values.seconds ?? (values.quick ? 1 : 3)))
  const results = yield* Effect.forEach(
    attacks.filter(({ name }) => chosen.includes(name)),
    (attack) => Effect.tap(run(attack, duration), (result) => Console.log(lineOf(result)))
  )
  const failed = results.filter(({ faults }) => faults.length > 0)
  const worst = Math.max(...results.map(({ figures }) => figures.worstLatency))
  yield* Console.log(
    `\n${results.length - failed.length} of ${results.length} passed; worst latency ${
      Math.round(worst)
    } ms, wanted 250; at most ${bounds.rss} MiB`
  )
  if (failed.length > 0) return yield* Effect.fail(`failed: ${failed.map(({ name }) => name).join(", ")}`)
})

NodeRuntime.runMain(Effect.provide(program, Logger.layer([])), { disableErrorReporting: false })
