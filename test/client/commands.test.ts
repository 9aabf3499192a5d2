/** The commands of a Client, the tags of its errors, and its options. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted, Stream } from "effect"
import { Client, Kosmonaut, TcpTransport, Worker, ZmqTransport } from "../../src/index.ts"
import { additions, answeredBy } from "../harness/clients.ts"
import { tagOf } from "../harness/tagOf.ts"
import { layer, TestBroker, token } from "../harness/TestBroker.ts"

describe("Client", () => {
  it.effect("has a command for each request", () =>
    Effect.gen(function*() {
      const { asked, client } = yield* answeredBy(([command]) => ["ER", command === "ST" ? "455" : "454"])
      for (const [_, ask] of additions) yield* Effect.exit(ask(client))
      assert.deepStrictEqual(asked, [
        ["BX", "room", "e", "{}", "s"],
        ["BA", `[["room","e",{}]]`],
        ["ST", "s", "e", "{}"],
        ["TU", "joe", "e", "{}"],
        ["SU", "joe", "room"],
        ["UU", "joe", "room"],
        ["LC", "", "0"],
        ["DC", "room"],
        ["LS", "room", "0"],
        ["LH", "room", "0", "0"],
        ["DB", "sid", "s"],
        ["DB", "uid", "joe"],
        ["AX", `{"uid":"joe","pattern":"$a","expiresIn":1000}`],
        ["DX", "joe"],
        ["LD", "0"],
        ["RL", "*"],
        ["DL", "*"],
        ["RL", "a-1"],
        ["DL", "a-1"]
      ])
      assert.strictEqual((yield* Effect.flip(client.channel("room")))._tag, "ChannelNotFoundError")
      assert.strictEqual(
        (yield* Effect.flip(Stream.runCollect(client.subscribers("room"))))._tag,
        "ChannelNotFoundError"
      )
      assert.strictEqual((yield* Effect.flip(client.sendTo("s", "e")))._tag, "BrowserNotFoundError")
      // To the others these statuses mean nothing.
      assert.strictEqual(
        tagOf(yield* Effect.flip(Stream.runCollect(client.channels()))),
        "ProtocolError/UnknownServerError"
      )
      assert.strictEqual(tagOf(yield* Effect.flip(client.disconnect({ sid: "s" }))), "ProtocolError/UnknownServerError")
    }))

  it.effect("fails with reasons that are handled by their tags", () =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(() => ["ER", "400"])
      const broadcast = client.broadcast("room", "hello")
      const code = broadcast.pipe(
        Effect.as(0),
        Effect.catchReason("ProtocolError", "BadRequestError", ({ code }) => Effect.succeed(code))
      )
      assert.strictEqual(yield* code, 400)
      const other = Effect.catchReason(broadcast, "ProtocolError", "InternalError", () => Effect.void)
      assert.strictEqual(tagOf(yield* Effect.flip(other)), "ProtocolError/BadRequestError")
      assert.match((yield* Effect.flip(broadcast)).message, /^Bad request \(400\)/)
    }))

  it.effect("says what is wrong with a URL, without its token", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Effect.provide(Client.Client, Kosmonaut.layer({ url: `wr://${token}@host/no way` }))
      )
      assert.strictEqual(error._tag, "InvalidEndpointError")
      assert.notInclude(error.message, token)
      assert.include(error.message, "***")
    }))

  it.effect("refuses a URL whose scheme its transport does not speak", () =>
    Effect.gen(function*() {
      const url = `wr+tcp://${token}@127.0.0.1/test`
      const error = yield* Effect.flip(
        Effect.provide(Client.Client, Layer.provide(Client.layer({ url }), ZmqTransport.layer()))
      )
      assert.include(error.message, "speaks wr")
      yield* Effect.provide(Client.Client, Layer.provide(Client.layer({ url }), TcpTransport.layer()))
    }))

  it.effect("says that encryption needs the broker's key", () =>
    Effect.gen(function*() {
      for (const scheme of ["wrs"]) {
        const error = yield* Effect.flip(
          Effect.provide(Client.Client, Kosmonaut.layer({ url: `${scheme}://${token}@127.0.0.1/test` }))
        )
        assert.include(error.message, scheme)
      }
    }))

  it.effect.each<Omit<Kosmonaut.ClientOptions, "url">>([
    { client: { requestTimeout: 0 } },
    { client: { requestTimeout: NaN } },
    { client: { requestTimeout: "a while" as "1 second" } },
    { client: { maxQueuedRequests: 0 } },
    { client: { maxQueuedBytes: 0.5 } },
    { transport: { maxMessageSize: 511 } },
    { transport: { openTimeout: -1 } },
    { transport: { maxConnections: 0 } },
    { transport: { tls: { fingerprint: "12:34" } } }
  ])("fails with an option that is wrong: %o", (options) =>
    Effect.gen(function*() {
      const url = `wr+tcp://${token}@127.0.0.1/test`
      const [option] = Object.keys(options.client ?? options.transport!)
      for (const live of [Kosmonaut.layerClient({ ...options, url }), Kosmonaut.layer({ ...options, url })]) {
        const error = yield* Effect.flip(Effect.provide(Client.Client, live))
        assert.strictEqual(error._tag, "InvalidOptionError")
        assert.match((error as { readonly option: string }).option, new RegExp(`^${option}`))
      }
    }))

  it.live("takes its options from configuration, and Schedules as they are", () =>
    Effect.gen(function*() {
      const { urls } = yield* TestBroker
      const provider = ConfigProvider.fromUnknown({ KOSMONAUT_URL: Redacted.value(urls.backend), TIMEOUT: "2 seconds" })
      const options: Kosmonaut.ConfigOptions = {
        url: Config.Redacted("KOSMONAUT_URL"),
        client: { requestTimeout: Config.Duration("TIMEOUT"), retry: Client.defaultRetry },
        worker: {
          concurrency: Config.Int("CONCURRENCY").pipe(Config.withDefault(2)),
          reconnect: Worker.defaultReconnect
        }
      }
      for (const live of [Kosmonaut.layerConfig(options), Kosmonaut.layerClientConfig(options)]) {
        yield* Client.Client.use((client) => client.openChannel("from-config")).pipe(
          Effect.provide(live),
          Effect.provideService(ConfigProvider.ConfigProvider, provider)
        )
      }
      const missing = yield* Effect.flip(
        Effect.provide(Client.Client, Kosmonaut.layerClientConfig({ url: Config.Redacted("KOSMONAUT_URL") }))
      )
      assert.strictEqual(missing._tag, "ConfigError")
      const wrong = yield* Effect.flip(
        Effect.provide(
          Client.Client,
          Kosmonaut.layerConfig({ ...options, transport: { maxMessageSize: Config.Int("SIZE") } })
        )
      ).pipe(Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown({ KOSMONAUT_URL: Redacted.value(urls.backend), TIMEOUT: "2 seconds", SIZE: 1 })
      ))
      assert.strictEqual(wrong._tag, "InvalidOptionError")
    }).pipe(Effect.provide(layer())))
})
