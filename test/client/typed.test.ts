/**
 * What goes out typed: events and channels that are defined with Schemas.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Effect, Layer, Option, Redacted, Schema } from "effect"
import { Channel, Client, EventGroup, EventRouter, Lifecycle } from "../../src/index.ts"
import { connect } from "../harness/Browser.ts"
import { backend, TestBroker, transports } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"

class Chat extends EventGroup.make("chat", {
  say: { text: Schema.String },
  said: { text: Schema.String, at: Schema.DateTimeUtc, by: Schema.Option(Schema.String) }
}) {}

const Room = Channel.make("room", Chat)

const said = { text: "hello", at: DateTime.makeUnsafe("2026-11-22T12:00:00Z"), by: Option.some("joe") }
const onTheWire = { text: "hello", at: "2026-11-22T12:00:00.000Z", by: { _tag: "Some", value: "joe" } }

/** A browser that has authenticated as joe, and one that has not, both on the room. */
const pages = Effect.gen(function*() {
  const client = yield* Client.Client
  const { urls } = yield* TestBroker
  const joe = yield* connect(urls.websocket)
  const ann = yield* connect(urls.websocket)
  yield* joe.send({ auth: { token: Redacted.value(yield* client.requestSingleAccessToken("joe", ".*")) } })
  for (const page of [joe, ann]) {
    yield* page.send({ subscribe: { channel: "room" } })
    yield* page.nextOf(":subscribed")
  }
  return { joe, ann }
})

describe.each(transports)("typed events over $name", ({ url }) => {
  it.live("are written as their Schema says", () =>
    withBroker()(
      Effect.gen(function*() {
        const client = yield* Client.Client
        const { ann, joe } = yield* pages
        yield* client.channel(Room).broadcast("said", said)
        assert.deepStrictEqual(yield* joe.nextOf("chat/said"), { ...onTheWire, channel: "room" })
        yield* client.broadcast("room", Chat.events.said, said, { exceptSid: joe.sid })
        yield* client.sendTo(joe.sid, Chat.events.said, said)
        // The broadcast was not for joe.
        assert.deepStrictEqual(yield* joe.nextOf("chat/said"), onTheWire)
        yield* ann.nextOf("chat/said")
        assert.deepStrictEqual(yield* ann.nextOf("chat/said"), { ...onTheWire, channel: "room" })
      }).pipe(Effect.provide(backend(url)))
    ))

  it.live("are not sent when they do not fit their Schema", () =>
    withBroker()(
      Effect.gen(function*() {
        const client = yield* Client.Client
        const wrong = { ...said, text: 1 } as unknown as typeof said
        const failure = yield* Effect.flip(client.channel(Room).broadcast("said", wrong))
        assert.strictEqual(failure._tag, "MessageEncodeError")
        assert.include(failure.message, "chat/said")
      }).pipe(Effect.provide(backend(url)))
    ))

  it.live("answer the browser that triggered them, and a channel", () =>
    withBroker()(
      Effect.gen(function*() {
        const { ann, joe } = yield* pages
        yield* joe.send({ trigger: { event: "chat/say", data: { text: "hi" } } })
        assert.deepStrictEqual(yield* joe.nextOf("chat/said"), onTheWire)
        assert.deepStrictEqual(yield* ann.nextOf("chat/said"), { ...onTheWire, channel: "room" })
      }).pipe(Effect.provide(
        EventRouter.layer(Chat, {
          say: (message) =>
            Effect.andThen(
              message.directReply(Chat.events.said, said),
              message.broadcastReply("room", Chat.events.said, said, { exceptSid: message.sid })
            ),
          said: () => Effect.void
        }).pipe(Layer.provideMerge(backend(url)))
      ))
    ))
})

describe("lifecycle events", () => {
  it.live("come to the groups that handle them, and the others' are ignored", () =>
    withBroker()(
      Effect.gen(function*() {
        const joined = yield* Deferred.make<unknown>()
        const errors: Array<unknown> = []
        yield* Effect.gen(function*() {
          const client = yield* Client.Client
          const { urls } = yield* TestBroker
          const page = yield* connect(urls.websocket)
          yield* page.send({ auth: { token: Redacted.value(yield* client.requestSingleAccessToken("joe", ".*")) } })
          yield* page.send({ subscribe: { channel: "presence-room", data: { name: "Joe" } } })
          assert.deepStrictEqual(yield* Deferred.await(joined), {
            channel: "presence-room",
            uid: "joe",
            data: { name: "Joe" }
          })
          assert.deepStrictEqual(errors, [])
        }).pipe(Effect.provide(
          EventRouter.layer(Lifecycle.Members, {
            memberJoined: ({ data }) => Effect.asVoid(Deferred.succeed(joined, data)),
            memberLeft: () => Effect.void
          }, { onError: (error) => Effect.sync(() => errors.push(error)) }).pipe(Layer.provideMerge(backend("backend")))
        ))
      })
    ))
})
