/** Requests of a Client over each transport, and their errors. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, Stream, Tracer } from "effect"
import { Client, Kosmonaut } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { additions, type AnyError, over } from "../harness/clients.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import * as RecordingTracer from "../harness/recordingTracer.ts"
import { tagOf } from "../harness/tagOf.ts"
import { layer, TestBroker, token, transports } from "../harness/TestBroker.ts"

describe.each(transports)("Client over $name", ({ url }) => {
  const { answered, within } = over(url)

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
      const { spans, tracer } = RecordingTracer.make()
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
