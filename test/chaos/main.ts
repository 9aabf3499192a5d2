/**
 * Lets bad things happen for as long as it is told, and ends with 1 if something was lost, or was otherwise wrong. Before
 * that it shows that it finds losses: those of workers that do not acknowledge, of a broker that keeps events in memory, and of
 * browsers on a channel without history; or those of nodes that do not return the events of a node that has ended, or that go on when
 * their lease has.
 *
 *     npm run chaos -- --minutes 10 --seed 7
 *     npm run chaos -- --minutes 10 --nodes 3
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Duration, Effect } from "effect"
import { parseArgs } from "node:util"
import { type Options, run } from "./chaos.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    nodes: { type: "string" },
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

/** Browsers are away, and nothing is retained for them. Whether something is broadcast meanwhile is luck, so there are some attempts. */
const misses = Effect.gen(function*() {
  for (const seed of [4, 5, 6, 7, 8]) {
    const { wrongs } = yield* run({ duration: 0, seed, recovers: false, deeds: ["browserCut", "brokerKilled"] })
    const others = wrongs.filter((wrong) => !wrong.includes("and was not told"))
    if (others.length > 0) return yield* Effect.fail(`something else was found: ${JSON.stringify(others.slice(0, 5))}`)
    if (wrongs.length > 0) return
    yield* Console.log(`Browsers have missed nothing at seed ${seed}`)
  }
  return yield* Effect.fail("what browsers have missed was not found")
})

/** Nodes of which something is switched off. What they do at that moment is luck, so there are some attempts. */
const without = (
  what: "fencing" | "requeue",
  options: Pick<Options, "deeds" | "replacements">,
  isFound: (found: Pick<Effect.Success<ReturnType<typeof run>>, "losses" | "wrongs">) => boolean
) =>
  Effect.gen(function*() {
    for (const seed of [5, 6, 7, 8, 9]) {
      if (isFound(yield* run({ duration: 0, seed, slowness: 50, nodes: 3, patience: "15 seconds", ...options }))) return
      yield* Console.log(`Nothing was lost without ${what} at seed ${seed}`)
    }
    return yield* Effect.fail(`what is lost without ${what} was not found`)
  })

const ofOne = Effect.gen(function*() {
  yield* loses({ seed: 2, acknowledges: false, deeds: ["workerKilled"] })
  yield* loses({ seed: 3, persists: false, deeds: ["brokerKilled"] })
  yield* misses
})

const ofNodes = Effect.andThen(
  without("requeue", {
    deeds: ["nodeKilled", "nodeKilled", "nodeKilled"],
    replacements: [{ file: "sharedQueue.ts", text: "state.shared.end(node, true)", by: "Effect.void" }]
  }, ({ losses }) => losses.length > 0),
  without("fencing", {
    deeds: ["nodeFrozen"],
    replacements: [
      { file: "cluster/Script.ts", text: "if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then", by: "if false then" },
      { file: "queue/turn.ts", text: "if (record and record[1] or 0) ~= number - 1 then", by: "if false then" },
      { file: "queue/plain.ts", text: "if left > 0 then return redis", by: "if false then return redis" }
    ]
  }, ({ wrongs }) => wrongs.length > 0)
)

const program = Effect.gen(function*() {
  const nodes = values.nodes === undefined ? undefined : Number(values.nodes)
  yield* nodes === undefined ? ofOne : ofNodes
  yield* Console.log(`seed ${values.seed}`)
  const { losses, wrongs, ...figures } = yield* run({
    duration: Duration.minutes(Number(values.minutes)),
    seed: Number(values.seed),
    nodes,
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
