import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted, type Scope } from "effect"
import { Client, Kosmonaut, TcpTransport, ZmqTransport } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import { backend, layer, TestBroker, token, transports } from "../harness/TestBroker.ts"

describe.each(transports)("Client over $name", ({ url }) => {
  const within = <A, E>(effect: Effect.Effect<A, E, Client.Client | TestBroker | Scope.Scope>) =>
    effect.pipe(Effect.provide(Layer.provideMerge(backend(url), layer())))

  /** A client of a broker that answers with these frames. */
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

  it.live("opens channels, which then exist, and opening again does nothing", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { vhost } = yield* TestBroker
      for (const channel of ["new", "presence-new", "private-new", "new"]) yield* client.openChannel(channel)
      const names = (yield* vhost.channels.list).map(({ kind, name }) => `${name} ${kind}`)
      assert.includeMembers(names, ["new normal", "presence-new presence", "private-new private"])
    })))

  it.live("closes channels, and says when there is none", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      yield* client.closeChannel("room")
      const again = yield* Effect.flip(client.closeChannel("room"))
      assert.strictEqual(again._tag, "ChannelNotFoundError")
      assert.include(again.message, "room")
    })))

  it.live("broadcasts to those who are subscribed, in order", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const ann = yield* Browser.connect(urls.websocket)
      yield* ann.send({ subscribe: { channel: "room" } })
      yield* ann.nextOf(":subscribed")
      for (let n = 0; n < 20; n++) yield* client.broadcast("room", "hello", { n, text: "zażółć\n\"👍\"" })
      for (let n = 0; n < 20; n++) {
        assert.deepStrictEqual(yield* ann.nextOf("hello"), { n, text: "zażółć\n\"👍\"", channel: "room" })
      }
      yield* client.broadcast("room", "bare")
      assert.deepStrictEqual(yield* ann.nextOf("bare"), { channel: "room" })
    })))

  it.live("hands out a token that lets one browser in once", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const issued = yield* client.requestSingleAccessToken("joe", "presence-.*")
      assert.notInclude(JSON.stringify(issued), Redacted.value(issued))
      assert.match(Redacted.value(issued), /^[0-9a-f]{128}$/)
      const ann = yield* Browser.connect(urls.websocket)
      yield* ann.send({ auth: { token: Redacted.value(issued) } })
      yield* ann.nextOf(":authenticated")
      yield* ann.send({ subscribe: { channel: "presence-room" } })
      assert.deepStrictEqual(yield* ann.nextOf(":subscribed"), {
        channel: "presence-room",
        uid: "joe",
        subscribers: []
      })
      yield* ann.send({ auth: { token: Redacted.value(issued) } })
      assert.deepStrictEqual(yield* ann.nextOf(":error"), { code: 402, status: "Unauthorized" })
    })))

  it.live("is asked by hundreds of fibers at a time, and each gets its own answer", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const answers = yield* Effect.forEach(
        Array.from({ length: 300 }, (_, n) => n),
        (n) =>
          n % 3 === 0
            ? client.openChannel(`channel-${n}`).pipe(Effect.as("opened"))
            : n % 3 === 1
            ? Effect.map(Effect.flip(client.broadcast(`none-${n}`, "e")), (error) => error.message)
            : Effect.map(client.requestSingleAccessToken(`${n}`, ".*"), (issued) => `${Redacted.value(issued).length}`),
        { concurrency: "unbounded" }
      )
      answers.forEach((answer, n) => assert.include(answer, n % 3 === 0 ? "opened" : n % 3 === 1 ? `none-${n}` : "128"))
    })))

  it.live("fails what cannot be right before anything is sent", () =>
    Effect.gen(function*() {
      // Nobody listens at this port: whatever is sent fails with ConnectionError.
      const client = yield* Client.Client
      const cycle: Record<string, unknown> = {}
      cycle.self = cycle
      const failures = {
        "an invalid name": [client.openChannel("%%%"), "InvalidChannelNameError"],
        "an empty name": [client.openChannel(""), "InvalidChannelNameError"],
        "a line break in a name": [client.openChannel("a\nOC\nb"), "InvalidChannelNameError"],
        "closing what cannot exist": [client.closeChannel("a b"), "ChannelNotFoundError"],
        "broadcasting on what cannot exist": [client.broadcast("", "e"), "ChannelNotFoundError"],
        "an event without a name": [client.broadcast("room", ""), "BadRequestError"],
        "a cycle": [client.broadcast("room", "e", cycle), "MessageEncodeError"],
        "a big integer": [client.broadcast("room", "e", { n: 1n }), "MessageEncodeError"],
        "an array": [client.broadcast("room", "e", [1]), "MessageEncodeError"],
        "a date": [client.broadcast("room", "e", new Date(0)), "MessageEncodeError"],
        "a function": [client.broadcast("room", "e", () => 1), "MessageEncodeError"],
        "too much": [client.broadcast("room", "e", { x: "x".repeat(1_048_576) }), "MessageEncodeError"],
        "half a character": [client.broadcast("room", "\ud800"), "MessageEncodeError"],
        "no user": [client.requestSingleAccessToken("", ".*"), "BadRequestError"],
        "no pattern": [client.requestSingleAccessToken("joe", ""), "BadRequestError"]
      } as const
      for (const [what, [request, tag]] of Object.entries(failures)) {
        assert.strictEqual(
          (yield* Effect.flip(request as Effect.Effect<unknown, { readonly _tag: string }>))._tag,
          tag,
          what
        )
      }
    }).pipe(Effect.provide(Kosmonaut.layer({
      url: `${url === "backend" ? "wr" : "wr+tcp"}://${token}@127.0.0.1:1/test`
    }))))

  it.live("turns every status into its own error", () =>
    Effect.gen(function*() {
      const expected = {
        400: "BadRequestError",
        402: "UnauthorizedError",
        454: "ChannelNotFoundError",
        597: "InternalError",
        598: "EndOfFileError",
        403: "UnknownServerError",
        451: "UnknownServerError",
        499: "UnknownServerError"
      }
      for (const [code, tag] of Object.entries(expected)) {
        const error = yield* answered(["ER", code])
        assert.strictEqual(error._tag, tag, code)
        assert.notInclude(`${error.message} ${JSON.stringify(error)}`, token)
      }
    }))

  it.live("says that it does not understand a broker that answers nonsense", () =>
    Effect.gen(function*() {
      for (const frames of [["ER"], ["ER", "abc"], ["AT", "token"], ["XX"], ["HB"], [""]]) {
        assert.strictEqual((yield* answered(frames))._tag, "MessageDecodeError", frames.join())
      }
    }))

  it.live("reports a pattern that does not compile", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const error = yield* Effect.flip(client.requestSingleAccessToken("joe", "..*{34}"))
      assert.strictEqual(error._tag, "InternalError")
      assert.include(error.message, "..*{34}")
    })))

  it.live("reports a token that is not good", () =>
    Effect.gen(function*() {
      const { urls } = yield* TestBroker
      const wrong = Redacted.value(urls[url]).replace(token, "f".repeat(40))
      const error = yield* Effect.flip(Client.Client.use((client) => client.openChannel("room"))).pipe(
        Effect.provide(Kosmonaut.layer({ url: wrong }))
      )
      assert.strictEqual(error._tag, "UnauthorizedError")
      assert.include(error.message, "/test")
      assert.notInclude(error.message, "f".repeat(40))
    }).pipe(Effect.provide(layer())))
})

describe("Client", () => {
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

  it.effect("says that encryption is not available yet", () =>
    Effect.gen(function*() {
      for (const scheme of ["wrs", "wrs+tcp"]) {
        const error = yield* Effect.flip(
          Effect.provide(Client.Client, Kosmonaut.layer({ url: `${scheme}://${token}@127.0.0.1/test` }))
        )
        assert.include(error.message, scheme)
      }
    }))

  it.live("takes its options from configuration", () =>
    Effect.gen(function*() {
      const { urls } = yield* TestBroker
      const provider = ConfigProvider.fromUnknown({ KOSMONAUT_URL: Redacted.value(urls.backend) })
      yield* Client.Client.use((client) => client.openChannel("from-config")).pipe(
        Effect.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
        Effect.provideService(ConfigProvider.ConfigProvider, provider)
      )
    }).pipe(Effect.provide(layer())))
})
