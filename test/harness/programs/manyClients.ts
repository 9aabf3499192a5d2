/**
 * Makes as many Clients as its second argument says, each with a connection of its own that may take as long to open as the
 * third argument says, and writes how many got a response and how the others have failed.
 */
import { type Duration, Effect, Layer, Stream } from "effect"
import { Client, Kosmonaut } from "../../../src/index.ts"

const url = process.argv[2]!
const count = Number(process.argv[3])
const openTimeout = process.argv[4] as Duration.Input | undefined

const program = Effect.gen(function*() {
  const transport = yield* Layer.build(Kosmonaut.layerTransport({ url, transport: { openTimeout } }))
  const exits = yield* Effect.forEach(Array.from({ length: count }), () =>
    Client.make({ url, retry: "none" }).pipe(
      Effect.flatMap((client) => Stream.runCollect(client.channels())),
      Effect.provideContext(transport),
      Effect.exit
    ), { concurrency: 20 })
  const outcomes: Record<string, number> = {}
  for (const exit of exits) {
    const reason = exit._tag === "Success" ? undefined : exit.cause.reasons[0]!
    const outcome = reason === undefined ? "ok" : reason._tag === "Fail" ? reason.error._tag : reason._tag
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }
  return outcomes
})

void Effect.runPromise(Effect.scoped(program)).then((outcomes) => process.stdout.write(JSON.stringify(outcomes)))
