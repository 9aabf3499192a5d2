/**
 * Messages for a user, on all its browsers and also for one that comes later, and channels that a backend subscribes it to.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, References, Stream } from "effect"
import { Client } from "kosmonaut"
import { Broker } from "kosmonaut/server"
import * as Local from "./local.ts"
import { Headlines, News } from "./news.ts"

/** A broker that retains what is sent to users for an hour. */
const broker = Broker.layer({
  websocketPort: 0,
  backendPort: 0,
  tcpPort: 0,
  vhosts: [{ path: "/example", channels: ["news"] }],
  channelRules: [{ pattern: ":user", history: { count: 100, age: "1 hour" } }]
})

/** Tells a user something, wherever the user is. */
const notify = Effect.fnUntraced(function*(uid: string, text: string) {
  const client = yield* Client.Client
  const browsers = yield* client.sendToUser(uid, Headlines.events.headline, { text })
  yield* Console.log(`"${text}" was sent to ${browsers} browsers`)
})

/** The next messages for the user, after those that came while the page was away. */
const messages = Effect.fnUntraced(function*(count: number) {
  const browser = yield* Local.browser(Local.tokenFor("ann"))
  const inbox = yield* browser.inbox(Headlines, { rewind: 10 })
  return inbox.events.pipe(
    Stream.take(count),
    Stream.runForEach(({ data }) => Console.log(`Ann's page shows ${data.text}`))
  )
})

/** A channel that the user did not ask for. */
const addToNews = Effect.gen(function*() {
  const client = yield* Client.Client
  const added = yield* client.subscribe("ann", News)
  yield* Console.log(`${added} of Ann's browsers get the news now`)
})

const program = Effect.gen(function*() {
  yield* notify("ann", "You have mail")
  const shown = yield* messages(2)
  yield* notify("ann", "You have more mail")
  yield* shown
  yield* addToNews
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, broker)),
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  NodeRuntime.runMain
)
