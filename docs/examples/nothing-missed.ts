/**
 * A page that was away receives what it has missed, also when the broker was started again meanwhile.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, References, Stream } from "effect"
import { Client } from "kosmonaut"
import type { Browser, Subscription } from "kosmonaut/browser"
import { Broker } from "kosmonaut/server"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Local from "./local.ts"
import { News } from "./news.ts"

/** A broker whose channel `news` has a history, which outlasts it. */
const broker = (storageDir: string) =>
  Broker.layer({
    websocketPort: 0,
    backendPort: 0,
    tcpPort: 0,
    storageDir,
    vhosts: [{ path: "/example" }],
    channelRules: [{ pattern: "news", openOnDemand: true, history: { count: 100, age: "1 hour" } }]
  })

/** Announces something. It has happened when this ends: it is in the history, and stored. */
const announce = Effect.fnUntraced(function*(text: string) {
  const client = yield* Client.Client
  yield* client.broadcast(News, "headline", { text })
})

/** A page that shows so many headlines and is gone then, and where it was. */
const page = Effect.fnUntraced(function*(count: number, options: Browser.SubscribeOptions) {
  const browser = yield* Local.browser(Local.tokenFor("ann"))
  const news = yield* browser.subscribe(News, options)
  const events = yield* news.events.pipe(Stream.take(count), Stream.runCollect)
  yield* Effect.forEach(events, ({ data }) => Console.log(`The page shows ${data.text}`))
  return events.at(-1)?.cursor
}, Effect.scoped)

/** What the broker retains. */
const retained = Effect.gen(function*() {
  const client = yield* Client.Client
  return yield* client.history(News, { limit: 10 }).pipe(
    Stream.map(({ data }) => JSON.stringify(data["text"])),
    Stream.runCollect
  )
})

const before = Effect.gen(function*() {
  yield* announce("the first")
  const cursor = yield* page(1, { rewind: 1 })
  yield* announce("the second")
  yield* announce("the third")
  return cursor
})

const after = Effect.fnUntraced(function*(since: Subscription.Cursor | undefined) {
  yield* page(2, { since })
  yield* Console.log(`The broker retains ${(yield* retained).join(", ")}`)
})

const program = Effect.gen(function*() {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "kosmonaut-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
  )
  const live = Layer.fresh(Layer.provideMerge(Local.backend, broker(directory)))
  const cursor = yield* Effect.provide(before, live)
  yield* Effect.provide(after(cursor), live)
})

// The broker's log says what it has restored.
program.pipe(
  Effect.scoped,
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  NodeRuntime.runMain
)
