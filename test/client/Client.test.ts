import { assert, describe, it } from "@effect/vitest"
import {
  Arbitrary,
  Config,
  ConfigProvider,
  Effect,
  Layer,
  Option,
  Redacted,
  Result,
  type Scope,
  Stream,
  Tracer
} from "effect"
import { Client, Kosmonaut, TcpTransport, Transport, Worker, ZmqTransport } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import { tagOf } from "../harness/tagOf.ts"
import { backend, layer, TestBroker, token, transports } from "../harness/TestBroker.ts"
import { anyText, channel, jsonObject, oneOf, pick } from "../protocol/arbitraries.ts"

/** A browser on `channel`. */
const subscribed = Effect.fnUntraced(function*(channel: string, options?: { readonly data?: object }) {
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
const tagsOf = (results: ReadonlyArray<Result.Result<void, Client.BroadcastError>>) =>
  results.map((result) => Result.isFailure(result) ? tagOf(result.failure) : undefined)

interface AnyError {
  readonly _tag: string
  readonly message: string
}

/** Every request with a command that the original does not know. */
const additions: ReadonlyArray<
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

describe.each(transports)("Client over $name", ({ url }) => {
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

  it.live("opens channels, which then exist, and opening again does nothing", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { vhost } = yield* TestBroker
      for (const channel of ["new", "presence-new", "private-new", "new"]) yield* client.openChannel(channel)
      const names = (yield* vhost.channels.list).map(({ kind, name }) => `${name} ${kind}`)
      assert.includeMembers(names, ["new normal", "presence-new presence", "private-new private"])
    })))

  it.live("closes channels, and fails if there is none", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      yield* client.closeChannel("room")
      const again = yield* Effect.flip(client.closeChannel("room"))
      assert.strictEqual(again._tag, "ChannelNotFoundError")
      assert.include(again.message, "room")
    })))

  it.live("broadcasts to the subscribers, in order", () =>
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

  it.live("requests a token with which one browser can authenticate once", () =>
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

  it.live("requests a token with all that it grants, and quotes the names", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { vhost } = yield* TestBroker
      const issued = yield* client.requestSingleAccessToken({
        uid: "joe",
        channels: ["private-a.b"],
        pattern: "presence-(x|y)",
        subscribe: ["private-news"],
        info: { name: "Joe", since: new Date(0) },
        expiresIn: "10 minutes"
      })
      const granted = yield* vhost.accessTokens.redeem(Redacted.value(issued))
      const names = ["private-a.b", "private-axb", "presence-x", "presence-z", "private-news", "private-other"]
      assert.deepStrictEqual(names.filter(granted.allows), ["private-a.b", "presence-x", "private-news"])
      assert.deepInclude(granted, { uid: "joe", channels: ["private-news"] })
      assert.strictEqual(granted.info?.text, `{"name":"Joe","since":"1970-01-01T00:00:00.000Z"}`)
      assert.isNumber(granted.expiresAt)
    })))

  it.live("is used by hundreds of fibers at a time, and each gets its own response", () =>
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
        "an event without a name": [client.broadcast("room", ""), "ProtocolError/BadRequestError"],
        "a cycle": [client.broadcast("room", "e", cycle), "ProtocolError/MessageEncodeError"],
        "a big integer": [client.broadcast("room", "e", { n: 1n }), "ProtocolError/MessageEncodeError"],
        "an array": [client.broadcast("room", "e", [1]), "ProtocolError/MessageEncodeError"],
        "a date": [client.broadcast("room", "e", new Date(0)), "ProtocolError/MessageEncodeError"],
        "a function": [client.broadcast("room", "e", () => 1), "ProtocolError/MessageEncodeError"],
        "too much": [client.broadcast("room", "e", { x: "x".repeat(1_048_576) }), "ProtocolError/MessageEncodeError"],
        "too much at once": [
          client.broadcastAll([{ channel: "room", event: "e", data: { x: "x".repeat(1_048_576) } }]),
          "ProtocolError/MessageEncodeError"
        ],
        "too much for one browser": [
          client.sendTo("s", "e", { x: "x".repeat(1_048_576) }),
          "ProtocolError/MessageEncodeError"
        ],
        "half a character in a prefix": [
          Stream.runCollect(client.channels({ prefix: "\ud800" })),
          "ProtocolError/MessageEncodeError"
        ],
        "half a character in a sid": [client.disconnect({ sid: "\ud800" }), "ProtocolError/MessageEncodeError"],
        "half a character": [client.broadcast("room", "\ud800"), "ProtocolError/MessageEncodeError"],
        "no user": [client.requestSingleAccessToken("", ".*"), "ProtocolError/BadRequestError"],
        "no user of a token with options": [
          client.requestSingleAccessToken({ uid: "", channels: ["a"] }),
          "ProtocolError/BadRequestError"
        ],
        "a token whose info is no JSON": [
          client.requestSingleAccessToken({ uid: "joe", info: { n: 1n } }),
          "ProtocolError/BadRequestError"
        ],
        "a token that never was valid": [
          client.requestSingleAccessToken({ uid: "joe", expiresIn: 0 }),
          "ProtocolError/BadRequestError"
        ],
        "no pattern": [client.requestSingleAccessToken("joe", ""), "ProtocolError/BadRequestError"]
      } as const
      for (const [what, [request, tag]] of Object.entries(failures)) {
        assert.strictEqual(tagOf(yield* Effect.flip<unknown, AnyError, never>(request)), tag, what)
      }
    }).pipe(Effect.provide(Kosmonaut.layer({
      url: `${url === "backend" ? "wr" : "wr+tcp"}://${token}@127.0.0.1:1/test`
    }))))

  it.live("turns every status into its own error", () =>
    Effect.gen(function*() {
      const expected = {
        400: "ProtocolError/BadRequestError",
        402: "UnauthorizedError",
        454: "ChannelNotFoundError",
        597: "ProtocolError/InternalError",
        598: "ProtocolError/EndOfFileError",
        403: "ProtocolError/UnknownServerError",
        451: "ProtocolError/UnknownServerError",
        499: "ProtocolError/UnknownServerError"
      }
      for (const [code, tag] of Object.entries(expected)) {
        const error = yield* answered(["ER", code])
        assert.strictEqual(tagOf(error), tag, code)
        assert.notInclude(`${error.message} ${JSON.stringify(error)}`, token)
      }
    }))

  it.live("fails with MessageDecodeError if the response cannot be read", () =>
    Effect.gen(function*() {
      for (const frames of [["ER"], ["ER", "abc"], ["AT", "token"], ["XX"], ["HB"], [""]]) {
        assert.strictEqual(tagOf(yield* answered(frames)), "ProtocolError/MessageDecodeError", frames.join())
      }
    }))

  it.live("broadcasts to all but one browser", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const [ann, joe] = [yield* subscribed("room"), yield* subscribed("room")]
      yield* client.broadcast("room", "hello", { n: 1 }, { exceptSid: ann.sid })
      // An empty `exceptSid` excludes no browser.
      yield* client.broadcast("room", "next", {}, { exceptSid: "" })
      yield* client.broadcast("room", "last", {}, {})
      assert.deepStrictEqual([yield* ann.next, yield* ann.next], [
        { next: { channel: "room" } },
        { last: { channel: "room" } }
      ])
      assert.deepStrictEqual(yield* joe.next, { hello: { n: 1, channel: "room" } })
      const error = yield* Effect.flip(client.broadcast("nope", "hello", {}, { exceptSid: ann.sid }))
      assert.strictEqual(error._tag, "ChannelNotFoundError")
    })))

  it.live("broadcasts many at once, with a result for each, in order; one that fails does not stop the others", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const [ann, joe] = [yield* subscribed("room"), yield* subscribed("room")]
      const cycle: Record<string, unknown> = {}
      cycle.self = cycle
      const results = yield* client.broadcastAll([
        { channel: "a b", event: "e0" },
        { channel: "room", event: "e1", data: { text: "zażółć\n\"👍\"" } },
        { channel: "nope", event: "e2" },
        { channel: "room", event: "" },
        { channel: "room", event: "e4", data: cycle },
        { channel: "room", event: "e5", data: [] },
        { channel: "room", event: "e6", exceptSid: ann.sid },
        { channel: "none", event: "e7" },
        { channel: "room", event: "e8", exceptSid: "" }
      ])
      assert.deepStrictEqual(tagsOf(results), [
        "ChannelNotFoundError",
        undefined,
        "ChannelNotFoundError",
        "ProtocolError/BadRequestError",
        "ProtocolError/MessageEncodeError",
        "ProtocolError/MessageEncodeError",
        undefined,
        "ChannelNotFoundError",
        undefined
      ])
      const messages = results.map((result) => Result.isFailure(result) ? result.failure.message : "")
      assert.include(messages[0], `"a b"`)
      assert.include(messages[2], `"nope"`)
      assert.include(messages[7], `"none"`)
      const [e1, e6, e8] = [
        { e1: { text: "zażółć\n\"👍\"", channel: "room" } },
        { e6: { channel: "room" } },
        { e8: { channel: "room" } }
      ]
      assert.deepStrictEqual([yield* ann.next, yield* ann.next], [e1, e8])
      assert.deepStrictEqual([yield* joe.next, yield* joe.next, yield* joe.next], [e1, e6, e8])
      const many = yield* client.broadcastAll(
        Array.from({ length: 1000 }, (_, n) => ({ channel: "room", event: "n", data: { n } }))
      )
      assert.strictEqual(many.filter(Result.isSuccess).length, 1000)
      for (let n = 0; n < 1000; n++) assert.deepStrictEqual(yield* ann.next, { n: { n, channel: "room" } })
    })))

  it.live("sends to all browsers of a user, whatever its id", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const uids = ["joe", "zażółć gęślą 🦆", ":user", "a b\tc", "\"{}\\"]
      for (const uid of uids) {
        const browser = yield* Browser.connect(`${urls.websocket}?v=1`)
        const token = Redacted.value(yield* client.requestSingleAccessToken({ uid, channels: [] }))
        yield* browser.send({ auth: { token } })
        yield* browser.send({ subscribe: { channel: ":user" } })
        assert.deepStrictEqual(yield* browser.nextOf(":subscribed"), { channel: ":user", uid })
        for (const to of uids) yield* client.sendToUser(to, "hello", { to })
        assert.strictEqual(yield* client.sendToUser(uid, "bare"), 1)
        assert.deepInclude(yield* browser.next, { hello: { to: uid } })
        assert.deepInclude(yield* browser.next, { bare: {} })
      }
    })))

  it.live("sends to one browser, whatever channels it is on, until it disconnects", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const sid = yield* Effect.scoped(Effect.gen(function*() {
        const [ann, joe] = [yield* Browser.connect(urls.websocket), yield* subscribed("room")]
        yield* client.sendTo(ann.sid, "hello", { sid: "as it is", text: "zażółć\n" })
        yield* client.sendTo(ann.sid, "bare")
        yield* client.broadcast("room", "last")
        assert.deepStrictEqual([yield* ann.next, yield* ann.next], [
          { hello: { sid: "as it is", text: "zażółć\n" } },
          { bare: {} }
        ])
        assert.deepStrictEqual(yield* joe.next, { last: { channel: "room" } })
        return ann.sid
      }))
      const error = yield* eventually(
        Effect.flip(Effect.andThen(client.sendTo(sid, "hello"), Effect.fail("still there" as const))),
        (error) => error !== "still there"
      )
      assert.deepInclude(error, { _tag: "BrowserNotFoundError", sid })
    })))

  it.live("lists channels in the order of their opening, all or by a prefix", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      yield* subscribed("presence-room")
      const presence = { name: "presence-room", kind: "presence", subscribers: 1 } as const
      const privately = { name: "private-room", kind: "private", subscribers: 0 } as const
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels()), [
        { name: "room", kind: "normal", subscribers: 0 },
        presence,
        privately
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels({ prefix: "pr" })), [presence, privately])
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels({ prefix: "presence-" })), [presence])
      assert.deepStrictEqual(yield* Stream.runCollect(client.channels({ prefix: "nope" })), [])
      assert.deepStrictEqual(yield* client.channel("private-room"), privately)
      for (const name of ["nope", "", "a b"]) {
        assert.deepInclude(yield* Effect.flip(client.channel(name)), { _tag: "ChannelNotFoundError", channel: name })
      }
    })))

  it.live("lists more channels and more browsers than one message can hold", () =>
    within(
      Effect.gen(function*() {
        const client = yield* Client.Client
        const { vhost } = yield* TestBroker
        const names = Array.from({ length: 200 }, (_, n) => `channel-${n}${"-x".repeat(n % 30)}`)
        for (const name of names) yield* vhost.channels.open(name)
        assert.deepStrictEqual(
          (yield* Stream.runCollect(client.channels({ prefix: "channel-" }))).map(({ name }) => name),
          names
        )
        const browsers = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, n) => ({ name: "ż".repeat(n * 10) })),
          (data) =>
            Effect.map(
              subscribed("presence-room", { data }),
              ({ sid }) => ({ sid, uid: "joe", info: undefined, data, isAway: false })
            )
        )
        assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("presence-room")), browsers)
      }),
      { maxMessageSize: 1000 }
    ))

  it.live("lists the subscribers of a channel that are not hidden", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const joe = yield* subscribed("presence-room", { data: { name: "Joe" } })
      const spy = yield* subscribed("room")
      const issued = yield* client.requestSingleAccessToken("spy", ".*")
      yield* spy.send({ auth: { token: Redacted.value(issued) } })
      yield* spy.send({ subscribe: { channel: "presence-room", hidden: true } })
      yield* spy.nextOf(":subscribed")
      yield* spy.send({ unsubscribe: { channel: "room" } })
      yield* spy.send({ subscribe: { channel: "room", data: { n: 1 } } })
      yield* spy.nextOf(":subscribed")
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("presence-room")), [
        { sid: joe.sid, uid: "joe", info: undefined, data: { name: "Joe" }, isAway: false }
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("room")), [{
        sid: spy.sid,
        uid: undefined,
        info: undefined,
        data: { n: 1 },
        isAway: false
      }])
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("private-room")), [])
      assert.strictEqual((yield* client.channel("presence-room")).subscribers, 2)
      for (const name of ["nope", "", "a b"]) {
        assert.deepInclude(yield* Effect.flip(Stream.runCollect(client.subscribers(name))), {
          _tag: "ChannelNotFoundError",
          channel: name
        })
      }
    })))

  it.live("gives the data of a subscriber as the browser sent them", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const joe = yield* Browser.connect(urls.websocket)
      const data = `{"__proto__":{"x":1},"constructor":{"__proto__":null},"toJSON":1,"":[{"__proto__":{}}]}`
      yield* joe.send(`{"subscribe":{"channel":"room","data":${data}}}`)
      yield* joe.nextOf(":subscribed")
      const [subscriber] = yield* Stream.runCollect(client.subscribers("room"))
      assert.strictEqual(JSON.stringify(subscriber!.data), data)
    })))

  it.live("revokes a user's unused tokens when it disconnects the user, if that is wanted", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const issue = (uid: string) =>
        Effect.map(client.requestSingleAccessToken({ uid, channels: [] }), (issued) => ({
          auth: { token: Redacted.value(issued) }
        }))
      const [used, kept, revoked, other] = [
        yield* issue("joe"),
        yield* issue("joe"),
        yield* issue("joe"),
        yield* issue("ann")
      ]
      const [joe, later] = [yield* Browser.connect(urls.websocket), yield* Browser.connect(urls.websocket)]
      yield* joe.send(used)
      yield* joe.nextOf(":authenticated")
      yield* client.disconnect({ uid: "joe" })
      assert.strictEqual(yield* joe.closed, 4403)
      yield* later.send(kept)
      yield* later.nextOf(":authenticated")
      assert.strictEqual(yield* client.disconnect({ uid: "joe", revokeTokens: true }), 1)
      assert.strictEqual(yield* later.closed, 4403)
      const stranger = yield* Browser.connect(urls.websocket)
      yield* stranger.send(revoked)
      assert.deepStrictEqual(yield* stranger.nextOf(":error"), { code: 402, status: "Unauthorized" })
      yield* stranger.send(other)
      yield* stranger.nextOf(":authenticated")
      assert.strictEqual(yield* client.disconnect({ uid: "joe", revokeTokens: true }), 0)
    })))

  it.live("disconnects one browser, or all of a user's", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const [ann, joe, again] = [
        yield* subscribed("room"),
        yield* subscribed("presence-room"),
        yield* subscribed("private-room")
      ]
      assert.strictEqual(yield* client.disconnect({ sid: "nobody" }), 0)
      assert.strictEqual(yield* client.disconnect({ uid: ann.sid }), 0)
      assert.strictEqual(yield* client.disconnect({ sid: ann.sid }), 1)
      assert.strictEqual(yield* ann.closed, 4403)
      assert.strictEqual(yield* client.disconnect({ uid: "joe" }), 2)
      assert.deepStrictEqual([yield* joe.closed, yield* again.closed], [4403, 4403])
      yield* eventually(client.disconnect({ uid: "joe" }), (count) => count === 0)
    })))

  it.live("says that a broker may not know a command that the original does not know", () =>
    Effect.gen(function*() {
      const broker = yield* FakeBroker.make(url)
      yield* broker.next.pipe(
        Effect.flatMap(({ peer }) => Effect.andThen(Effect.sync(() => peer.sendUnsafe(["ER", "400"])), peer.close)),
        Effect.forever,
        Effect.forkScoped
      )
      yield* Effect.gen(function*() {
        const client = yield* Client.Client
        for (const [what, ask] of additions) {
          const error = yield* Effect.flip(ask(client))
          assert.strictEqual(tagOf(error), "ProtocolError/BadRequestError", what)
          assert.include(error.message, "may not know this command", what)
        }
        for (
          const ask of [
            client.openChannel("room"),
            client.closeChannel("room"),
            client.broadcast("room", "e"),
            client.requestSingleAccessToken("joe", ".*")
          ]
        ) {
          const error = yield* Effect.flip<unknown, AnyError, never>(ask)
          assert.strictEqual(tagOf(error), "ProtocolError/BadRequestError")
          assert.notInclude(error.message, "may not know")
        }
      }).pipe(Effect.provide(Kosmonaut.layer({ url: broker.url })))
    }))

  it.live("continues the trace of its caller at the broker", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* within(
        Effect.withSpan(Client.Client.use((client) => client.broadcast("room", "hello", { n: 1 })), "caller")
      ).pipe(Effect.provideService(Tracer.Tracer, tracer))
      const [caller, asking, answering, ...more] = spans
      const parentOf = (span: Tracer.Span | undefined) => Option.getOrUndefined(span!.parent)
      assert.deepStrictEqual(more, [])
      assert.strictEqual(parentOf(asking), caller)
      assert.deepInclude(parentOf(answering), {
        _tag: "ExternalSpan",
        traceId: caller!.traceId,
        spanId: asking!.spanId
      })
      assert.deepStrictEqual(spans.map(({ status }) => status._tag), ["Ended", "Ended", "Ended"])
    }))

  it.live("reports a pattern that does not compile", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const error = yield* Effect.flip(client.requestSingleAccessToken("joe", "..*{34}"))
      assert.strictEqual(tagOf(error), "ProtocolError/InternalError")
      assert.include(error.message, "the permission pattern does not compile")
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

/** A client of a broker that responds with these frames, and all requests that it has sent. */
const answeredBy = Effect.fnUntraced(function*(answer: (frames: ReadonlyArray<string>) => ReadonlyArray<string>) {
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
})

describe("Client", () => {
  it.effect("sends nothing if every broadcast is wrong, or if there is none", () =>
    Effect.gen(function*() {
      const { asked, client } = yield* answeredBy(() => ["OK", "[]"])
      assert.deepStrictEqual(yield* client.broadcastAll([]), [])
      const results = yield* client.broadcastAll([
        { channel: "a b", event: "e" },
        { channel: "room", event: "" },
        { channel: "room", event: "e", data: () => 1 }
      ])
      assert.deepStrictEqual(tagsOf(results), [
        "ChannelNotFoundError",
        "ProtocolError/BadRequestError",
        "ProtocolError/MessageEncodeError"
      ])
      assert.strictEqual(yield* client.disconnect({ sid: "" }), 0)
      assert.strictEqual(yield* client.disconnect({ uid: "" }), 0)
      assert.strictEqual(yield* client.sendToUser("", "e"), 0)
      assert.strictEqual((yield* Effect.flip(client.sendTo("", "e")))._tag, "BrowserNotFoundError")
      assert.strictEqual(tagOf(yield* Effect.flip(client.sendTo("s", ""))), "ProtocolError/BadRequestError")
      assert.strictEqual(tagOf(yield* Effect.flip(client.sendTo("s", "e", []))), "ProtocolError/MessageEncodeError")
      assert.strictEqual(
        tagOf(yield* Effect.flip(client.sendTo("s", "e", { n: 1n }))),
        "ProtocolError/MessageEncodeError"
      )
      assert.deepStrictEqual(asked, [])
    }))

  it.effect.prop("sends many broadcasts as JSON, data as they were written", [
    Arbitrary.array(
      Arbitrary.all({
        channel,
        event: Arbitrary.map(anyText, (text) => `e${text}`),
        data: jsonObject,
        exceptSid: oneOf<string | undefined>(anyText, pick([undefined]))
      }),
      { minLength: 1, maxLength: 5 }
    )
  ], ([broadcasts]) =>
    Effect.gen(function*() {
      const { asked, client } = yield* answeredBy(() => ["OK", JSON.stringify(broadcasts.map(() => 204))])
      const results = yield* client.broadcastAll(broadcasts)
      assert.strictEqual(results.filter(Result.isSuccess).length, broadcasts.length)
      assert.deepStrictEqual(asked, [[
        "BA",
        JSON.stringify(broadcasts.map(({ channel, data, event, exceptSid }) =>
          exceptSid ? [channel, event, data, exceptSid] : [channel, event, data]
        ))
      ]])
      assert.isTrue(asked[0]![1]!.isWellFormed())
      assert.notMatch(asked[0]![1]!, /[\r\n]/)
    }))

  it.effect("has an error for each status of one broadcast of many", () =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(() => ["OK", "[204,400,454,597,403,200]"])
      const results = yield* client.broadcastAll(
        Array.from({ length: 6 }, (_, n) => ({ channel: `room${n}`, event: "e" }))
      )
      assert.deepStrictEqual(tagsOf(results), [
        undefined,
        "ProtocolError/BadRequestError",
        "ChannelNotFoundError",
        "ProtocolError/InternalError",
        "ProtocolError/UnknownServerError",
        "ProtocolError/UnknownServerError"
      ])
      assert.deepInclude(Result.getOrThrow(Result.flip(results[2]!)), { channel: "room2" })
    }))

  it.effect.each<[string, ReadonlyArray<string>]>([
    ["nothing", ["OK"]],
    ["too few", ["OK", "[204]"]],
    ["too many", ["OK", "[204,204,204]"]],
    ["no list", ["OK", "204"]],
    ["no statuses", ["OK", `["204","204"]`]],
    ["no whole numbers", ["OK", "[204,204.5]"]],
    ["no JSON", ["OK", "[204,"]],
    ["a token", ["AT", "[204,204]"]]
  ])("fails with MessageDecodeError if two broadcasts are answered with %s", ([_, answer]) =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(() => answer)
      const broadcasts = [{ channel: "room", event: "a" }, { channel: "room", event: "b" }]
      assert.strictEqual(tagOf(yield* Effect.flip(client.broadcastAll(broadcasts))), "ProtocolError/MessageDecodeError")
    }))

  it.effect.each<[string, ReadonlyArray<string>]>([
    ["nothing", ["OK"]],
    ["no JSON", ["OK", "{"]],
    ["null", ["OK", "null"]],
    ["a list", ["OK", "[]"]],
    ["another answer", ["OK", `{"later":1}`]],
    ["values of other kinds", [
      "OK",
      `{"channels":[7],"subscribers":[{"sid":7,"data":{}}],"deadLetters":[{"id":"a-1"}],"next":"x","name":7,"disconnected":"1","replayed":1}`
    ]],
    ["an unknown command", ["XX"]],
    ["a heartbeat", ["HB"]]
  ])("fails with MessageDecodeError if a query is answered with %s", ([_, answer]) =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(() => answer)
      for (const [what, ask] of additions) {
        // To these `OK` without data is a response.
        if (what === "sendTo" || what.startsWith("broadcast") || what.endsWith(" one")) continue
        assert.strictEqual(tagOf(yield* Effect.flip(ask(client))), "ProtocolError/MessageDecodeError", what)
      }
    }))

  it.effect("reads responses with more fields than it knows", () =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(([command]) => [
        "OK",
        command === "LS"
          ? `{"subscribers":[{"sid":"s","uid":"joe","data":{},"since":1}],"next":null,"total":1}`
          : `{"name":"room","subscribers":2,"since":1}`
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("room")), [
        { sid: "s", uid: "joe", info: undefined, data: {}, isAway: false }
      ])
      assert.deepStrictEqual(yield* client.channel("room"), { name: "room", kind: "normal", subscribers: 2 })
    }))

  it.effect("requests a list part by part, and stops if the cursor does not advance", () =>
    Effect.gen(function*() {
      // The cursor that each part names as the next, by the cursor of the request.
      const next: Record<string, number | null> = { 0: 5, 5: 9, 9: 9 }
      const { asked, client } = yield* answeredBy(([_, name, after]) => [
        "OK",
        JSON.stringify({ channels: [{ name: `${name}${after}`, subscribers: 0 }], subscribers: [], next: next[after!] })
      ])
      const names = (yield* Stream.runCollect(client.channels({ prefix: "pre" }))).map(({ name }) => name)
      assert.deepStrictEqual(names, ["pre0", "pre5", "pre9"])
      assert.deepStrictEqual(asked, [["LC", "pre", "0"], ["LC", "pre", "5"], ["LC", "pre", "9"]])
      next[9] = 3
      yield* Stream.runCollect(client.subscribers("room"))
      assert.deepStrictEqual(asked.slice(3), [["LS", "room", "0"], ["LS", "room", "5"], ["LS", "room", "9"]])
    }))

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

  it.effect("says that encryption is not available yet", () =>
    Effect.gen(function*() {
      for (const scheme of ["wrs", "wrs+tcp"]) {
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
    { transport: { maxConnections: 0 } }
  ])("fails with an option that is wrong: %o", (options) =>
    Effect.gen(function*() {
      const url = `wr+tcp://${token}@127.0.0.1/test`
      const [option] = Object.keys(options.client ?? options.transport!)
      for (const live of [Kosmonaut.layerClient({ ...options, url }), Kosmonaut.layer({ ...options, url })]) {
        const error = yield* Effect.flip(Effect.provide(Client.Client, live))
        assert.deepInclude(error, { _tag: "InvalidOptionError", option })
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
