/**
 * Lets bad things happen for as long as it is told, and ends with 1 if something was lost, or was otherwise wrong. Before
 * that it shows that it finds losses: those of workers that do not acknowledge, and of a broker that keeps events in memory.
 *
 *     npm run chaos -- --minutes 10 --seed 7
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Duration, Effect } from "effect"
import { parseArgs } from "node:util"
import { type Options, run } from "./chaos.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    // To see that losses are found.
    "no-acknowledgements": { type: "boolean", default: false },
    "no-storage": { type: "boolean", default: false }
  }
})

/** Loses events, slowly enough that many are queued at any time. */
const loses = Effect.fnUntraced(function*(options: Pick<Options, "seed" | "acknowledges" | "persists" | "deeds">) {
  const { losses, wrongs } = yield* run({ duration: 0, slowness: 50, ...options })
  if (losses.length > 0 && wrongs.length === 0) return
  return yield* Effect.fail(`losses were not found: ${JSON.stringify({ ...options, wrongs })}`)
})

const program = Effect.gen(function*() {
  yield* loses({ seed: 2, acknowledges: false, deeds: ["workerKilled"] })
  yield* loses({ seed: 3, persists: false, deeds: ["brokerKilled"] })
  yield* Console.log(`seed ${values.seed}`)
  const { losses, wrongs, ...figures } = yield* run({
    duration: Duration.minutes(Number(values.minutes)),
    seed: Number(values.seed),
    acknowledges: !values["no-acknowledgements"],
    persists: !values["no-storage"],
    onProgress: (figures) => Console.log(JSON.stringify(figures))
  })
  yield* Console.log(JSON.stringify({ ...figures, losses: losses.length, wrongs: wrongs.length }, undefined, 2))
  for (const wrong of wrongs.slice(0, 20)) yield* Console.error(wrong)
  if (losses.length === 0 && wrongs.length === 0) return
  yield* Console.error(`lost: ${losses.slice(0, 20).join(", ") || "none"}`)
  return yield* Effect.fail("events or broadcasts were not handled as they should be")
})

NodeRuntime.runMain(program)
