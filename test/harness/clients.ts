/**
 * Clients of a broker and of a broker that responds as a test wants, and the requests that they have.
 */
import { Effect, Layer, Redacted, Result, type Scope, Stream } from "effect"
import { Client, Kosmonaut, Transport } from "../../src/index.ts"
import * as Browser from "./Browser.ts"
import * as FakeBroker from "./FakeBroker.ts"
import * as FakeTransport from "./fakeTransport.ts"
import { tagOf } from "./tagOf.ts"
import { backend, layer, TestBroker, token, transports } from "./TestBroker.ts"

/** A browser on `channel`. */
export const subscribed = Effect.fnUntraced(function*(channel: string, options?: { readonly data?: object }) {
  const { urls } = yield* TestBroker
  const browser = yield* Browser.connect(urls.websocket)
  if (channel !== "room") {
    const issued = yield* Client.Client.use((client) => client.requestSingleAccessToken("joe", ".*"))
    yield* browser.send({ auth: { token: Redacted.value(issued) } })
  }
  yield* browser.send({ subscribe: { channel, ...options } })
  yield* browser.nextOf(":subscribed")
  return browser
})

/** The tags of failures, and of successes nothing. */
export const tagsOf = (results: ReadonlyArray<Result.Result<void, Client.BroadcastError>>) =>
  results.map((result) => Result.isFailure(result) ? tagOf(result.failure) : undefined)

export interface AnyError {
  readonly _tag: string
  readonly message: string
}

/** Every request with a command that the original does not know. */
export const additions: ReadonlyArray<
  readonly [
    string,
    (client: Client.Client["Service"]) => Effect.Effect<unknown, AnyError>
  ]
> = [
  ["broadcast to all but one", (client) => client.broadcast("room", "e", {}, { exceptSid: "s" })],
  ["broadcastAll", (client) => client.broadcastAll([{ channel: "room", event: "e" }])],
  ["sendTo", (client) => client.sendTo("s", "e")],
  ["sendToUser", (client) => client.sendToUser("joe", "e")],
  ["subscribe", (client) => client.subscribe("joe", "room")],
  ["unsubscribe", (client) => client.unsubscribe("joe", "room")],
  ["channels", (client) => Stream.runCollect(client.channels())],
  ["channel", (client) => client.channel("room")],
  ["subscribers", (client) => Stream.runCollect(client.subscribers("room"))],
  ["history", (client) => Stream.runCollect(client.history("room"))],
  ["disconnect a browser", (client) => client.disconnect({ sid: "s" })],
  ["disconnect a user", (client) => client.disconnect({ uid: "joe" })],
  ["a token that ends", (client) => client.requestSingleAccessToken({ uid: "joe", expiresIn: 1000 })],
  ["disconnect a user for good", (client) => client.disconnect({ uid: "joe", revokeTokens: true })],
  ["deadLetters", (client) => Stream.runCollect(client.deadLetters.list)],
  ["replay all", (client) => client.deadLetters.replayAll],
  ["discard all", (client) => client.deadLetters.discardAll],
  ["replay one", (client) => client.deadLetters.replay("a-1")],
  ["discard one", (client) => client.deadLetters.discard("a-1")]
]

/** Tests with a Client over one of the transports. */
export const over = (url: (typeof transports)[number]["url"]) => {
  const within = <A, E>(
    effect: Effect.Effect<A, E, Client.Client | TestBroker | Scope.Scope>,
    options?: { readonly maxMessageSize: number }
  ) => effect.pipe(Effect.provide(Layer.provideMerge(backend(url, { transport: options }), layer(options))))

  /** What a request fails with if the broker responds with these frames. */
  const answered = Effect.fnUntraced(function*(frames: ReadonlyArray<string>) {
    const broker = yield* FakeBroker.make(url)
    yield* broker.nextOf("BC").pipe(
      Effect.flatMap(({ peer }) => Effect.andThen(Effect.sync(() => peer.sendUnsafe(frames)), peer.close)),
      Effect.forkScoped
    )
    return yield* Effect.flip(Client.Client.use((client) => client.broadcast("room", "hello"))).pipe(
      Effect.provide(Kosmonaut.layer({ url: broker.url }))
    )
  })

  return { within, answered }
}

/** A client of a broker that responds with these frames, and all requests that it has sent. */
export const answeredBy = Effect.fnUntraced(
  function*(answer: (frames: ReadonlyArray<string>) => ReadonlyArray<string>) {
    const asked: Array<ReadonlyArray<string>> = []
    const client = yield* Effect.provideService(
      Client.make({ url: `wr://${token}@127.0.0.1/test` }),
      Transport.Transport,
      FakeTransport.respondWith((frames) => {
        asked.push(frames)
        return answer(frames)
      })
    )
    return { client, asked }
  }
)
