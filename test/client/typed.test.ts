/**
 * Declared events and channels: what a Client broadcasts and sends, and what tokens for them allow.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Effect, Layer, Option, Redacted, Schema } from "effect"
import { Channel, Client, Event, EventGroup, EventRouter, Lifecycle, Message } from "../../src/index.ts"
import { connect } from "../harness/Browser.ts"
import { memoryBackend, withMemoryBroker } from "../harness/memoryBroker.ts"
import * as MemoryBrowser from "../harness/memoryBrowser.ts"
import { tagOf } from "../harness/tagOf.ts"
import { backend, TestBroker, transports } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.String } }),
  Event.make("said", {
    payload: { text: Schema.String, at: Schema.DateTimeUtc, by: Schema.Option(Schema.String) }
  })
) {}

const Lobby = Channel.make("room", { events: Chat })
const Room = Channel.make("room", { kind: "private", params: { id: Schema.String }, events: Chat })

const said = { text: "hello", at: DateTime.makeUnsafe("2026-11-22T12:00:00Z"), by: Option.some("joe") }
const onTheWire = { text: "hello", at: "2026-11-22T12:00:00.000Z", by: { _tag: "Some", value: "joe" } }

/** A browser that has authenticated as joe, and one that has not, both on the room. */
const browsers = Effect.gen(function*() {
  const client = yield* Client.Client
  const { urls } = yield* TestBroker
  const joe = yield* connect(urls.websocket)
  const ann = yield* connect(urls.websocket)
  yield* joe.send({ auth: { token: Redacted.value(yield* client.requestSingleAccessToken("joe", ".*")) } })
  for (const browser of [joe, ann]) {
    yield* browser.send({ subscribe: { channel: "room" } })
    yield* browser.nextOf(":subscribed")
  }
  return { joe, ann }
})

describe.each(transports)("declared events over $name", ({ url }) => {
  it.live("are encoded by their Schema", () =>
    withBroker()(
      Effect.gen(function*() {
        const client = yield* Client.Client
        const { ann, joe } = yield* browsers
        yield* client.broadcast(Lobby, "said", said)
        assert.deepStrictEqual(yield* joe.nextOf("chat/said"), { ...onTheWire, channel: "room" })
        yield* client.broadcast("room", Chat.events.said, said, { exceptSid: joe.sid })
        yield* client.sendTo(joe.sid, Chat.events.said, said)
        // The broadcast was not for joe.
        assert.deepStrictEqual(yield* joe.nextOf("chat/said"), onTheWire)
        yield* ann.nextOf("chat/said")
        assert.deepStrictEqual(yield* ann.nextOf("chat/said"), { ...onTheWire, channel: "room" })
      }).pipe(Effect.provide(backend(url)))
    ))

  it.live("reply to the browser that triggered one, and on a channel", () =>
    withBroker()(
      Effect.gen(function*() {
        const { ann, joe } = yield* browsers
        yield* joe.send({ trigger: { event: "chat/say", data: { text: "hi" } } })
        assert.deepStrictEqual(yield* joe.nextOf("chat/said"), onTheWire)
        assert.deepStrictEqual(yield* ann.nextOf("chat/said"), { ...onTheWire, channel: "room" })
      }).pipe(Effect.provide(
        EventRouter.layer(Chat).pipe(
          Layer.provide(Chat.toLayer({
            say: (_data, message) =>
              Effect.andThen(
                Message.directReply(message, Chat.events.said, said),
                Message.broadcastReply(message, Lobby, "said", said, { exceptSid: message.sid })
              ),
            said: () => Effect.void
          })),
          Layer.provideMerge(backend(url))
        )
      ))
    ))
})

describe("declared events", () => {
  it.effect("are not sent if they do not fit their Schema", () =>
    withMemoryBroker()(
      Effect.gen(function*() {
        const client = yield* Client.Client
        const wrong = { ...said, text: 1 } as unknown as typeof said
        const failures = [
          client.broadcast(Lobby, "said", wrong),
          client.broadcast("room", Chat.events.said, wrong),
          client.sendTo("s", Chat.events.said, wrong)
        ]
        for (const failing of failures) {
          const error = yield* Effect.flip<
            void,
            Client.RequestError | { readonly _tag: string; message: string },
            never
          >(
            failing
          )
          assert.strictEqual(tagOf(error), "ProtocolError/MessageEncodeError")
          assert.include(error.message, "chat/said")
        }
      }).pipe(Effect.provide(memoryBackend()))
    ))

  it.effect("are broadcast on the channel that the parameters name, and nowhere else", () =>
    withMemoryBroker()(
      Effect.gen(function*() {
        const client = yield* Client.Client
        // Values that would be the pattern of another name, or part of another name, if they were not escaped.
        const ids = ["1", "2", "a b", "a.*", "a..b", "..", "ż|(", ""]
        for (const id of ids) yield* client.openChannel(Room({ id }))
        const rooms = yield* Effect.forEach(ids, (id) =>
          Effect.gen(function*() {
            const channels = [Room({ id }), "news"]
            const issued = yield* client.requestSingleAccessToken({ uid: id || "none", channels })
            const browser = yield* MemoryBrowser.connect
            yield* browser.send({ auth: { token: Redacted.value(issued) } })
            yield* browser.nextOf(":authenticated")
            yield* browser.send({ subscribe: { channel: Room({ id }).name } })
            yield* browser.nextOf(":subscribed")
            return { browser, id }
          }))
        for (const { browser, id } of rooms) {
          for (const other of ids.filter((other) => other !== id)) {
            yield* browser.send({ subscribe: { channel: Room({ id: other }).name } })
            assert.deepStrictEqual(yield* browser.nextOf(":error"), { code: 403, status: "Forbidden" })
          }
          yield* client.broadcast(Room({ id }), "said", said)
          assert.deepStrictEqual(yield* browser.next, { "chat/said": { ...onTheWire, channel: Room({ id }).name } })
          assert.strictEqual((yield* client.channel(Room({ id }))).subscribers, 1)
        }
        yield* client.closeChannel(Room({ id: "1" }))
        assert.deepInclude(yield* Effect.flip(client.broadcast(Room({ id: "1" }), "said", said)), {
          _tag: "ChannelNotFoundError",
          channel: "private-room-1"
        })
      }).pipe(Effect.provide(memoryBackend()))
    ))

  it.effect("are on channels that a token allows by their names, quoted, and no others", () =>
    withMemoryBroker()(
      Effect.gen(function*() {
        const client = yield* Client.Client
        const asked = [
          { channels: [], allowed: [] },
          { channels: ["private-a"], allowed: ["private-a"] },
          { channels: ["private-.*", "private-b"], allowed: ["private-b"] },
          { channels: [Room({ id: "a" }), "private-b"], allowed: ["private-room-a", "private-b"] }
        ]
        const names = ["private-a", "private-b", "private-ab", "private-a.b", "private-room-a"]
        for (const name of names) yield* client.openChannel(name)
        for (const { allowed, channels } of asked) {
          const browser = yield* MemoryBrowser.connect
          const issued = yield* client.requestSingleAccessToken({ uid: "joe", channels })
          yield* browser.send({ auth: { token: Redacted.value(issued) } })
          yield* browser.nextOf(":authenticated")
          for (const channel of names) {
            yield* browser.send({ subscribe: { channel } })
            const response = Object.keys((yield* browser.next) as object)[0]
            assert.strictEqual(response, allowed.includes(channel) ? ":subscribed" : ":error", channel)
          }
        }
      }).pipe(Effect.provide(memoryBackend()))
    ))
})

describe("lifecycle events", () => {
  it.effect("are handled by the groups that declare them, and the others are ignored", () =>
    withMemoryBroker()(
      Effect.gen(function*() {
        const joined = yield* Deferred.make<unknown>()
        const errors: Array<unknown> = []
        yield* Effect.gen(function*() {
          const client = yield* Client.Client
          const browser = yield* MemoryBrowser.connect
          yield* browser.send({ auth: { token: Redacted.value(yield* client.requestSingleAccessToken("joe", ".*")) } })
          yield* browser.send({ subscribe: { channel: "presence-room", data: { name: "Joe" } } })
          assert.deepStrictEqual(yield* Deferred.await(joined), {
            channel: "presence-room",
            uid: "joe",
            data: { name: "Joe" }
          })
          assert.deepStrictEqual(errors, [])
        }).pipe(Effect.provide(
          EventRouter.layer(Lifecycle.Members, { onError: (error) => Effect.sync(() => errors.push(error)) }).pipe(
            Layer.provide(Lifecycle.Members.toLayer({
              memberJoined: (data) => Effect.asVoid(Deferred.succeed(joined, data)),
              memberLeft: () => Effect.void
            })),
            Layer.provideMerge(memoryBackend())
          )
        ))
      })
    ))
})
