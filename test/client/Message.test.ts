import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Queue, Redacted, type Scope, Stream } from "effect"
import * as Message from "../../src/client/Message.ts"
import { Client, Kosmonaut, Worker } from "../../src/index.ts"
import { ChannelNotFoundError } from "../../src/protocol/KosmonautError.ts"
import type { Event, Origin } from "../../src/protocol/Trigger.ts"
import * as Browser from "../harness/Browser.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import { backend, layer, TestBroker, transports } from "../harness/TestBroker.ts"

/** A client that only writes down what it is asked to do. */
const makeClient = () => {
  const asked: Array<unknown> = []
  const ask = (name: string) => (...args: ReadonlyArray<unknown>) => Effect.sync(() => void asked.push([name, ...args]))
  const no = (): never => assert.fail("not asked for here")
  const client = Client.Client.of({
    openChannel: no,
    closeChannel: no,
    broadcast: ask("broadcast"),
    requestSingleAccessToken: no,
    broadcastAll: no,
    sendTo: ask("sendTo"),
    channels: no,
    channel: no,
    subscribers: no,
    disconnect: no,
    deadLetters: Stream.suspend(no),
    replayDeadLetter: no,
    replayDeadLetters: Effect.suspend(no),
    discardDeadLetter: no,
    discardDeadLetters: Effect.suspend(no)
  })
  return { client, asked }
}

const event = { event: "chat/say", data: { text: "hi", channel: "forged", sid: "forged", uid: "root" } }

const made = (client: Client.Client["Service"], triggered: Event, origin?: Origin) =>
  Message.make(client, { id: "e", event: triggered, origin, delivery: undefined })

describe("Message", () => {
  it("is what was triggered, by whom the broker says", () => {
    const { client } = makeClient()
    const message = made(client, event, { sid: "s", uid: "joe", channel: "room" })
    assert.deepInclude(message, { ...event, sid: "s", uid: "joe", channel: "room", attempt: 1 })
  })

  it("believes nothing that its data say where the broker says something", () => {
    const { client } = makeClient()
    for (const origin of [{ sid: "s" }, {}, { traceparent: "t" }]) {
      assert.deepInclude(made(client, event, origin), {
        sid: "sid" in origin ? "s" : undefined,
        uid: undefined,
        channel: undefined
      })
    }
  })

  it("is by whom its data say where the broker says nothing, as the original, which names no user", () => {
    const { client } = makeClient()
    assert.deepInclude(made(client, event), { sid: "forged", uid: undefined, channel: "forged" })
    for (const data of [{}, { sid: 7, channel: null }, { sid: {}, channel: ["room"] }]) {
      assert.deepInclude(made(client, { event: "e", data }), {
        sid: undefined,
        uid: undefined,
        channel: undefined
      })
    }
  })

  it.effect("answers a channel, or the browser that triggered it", () =>
    Effect.gen(function*() {
      const { asked, client } = makeClient()
      const message = made(client, event, { sid: "s" })
      yield* message.broadcastReply("room", "hello", { n: 1 })
      yield* message.broadcastReply("room", "bare")
      yield* message.broadcastCopy("room")
      yield* message.broadcastCopy("room", "chat/said")
      yield* message.directReply("thanks", { n: 2 })
      yield* message.directReply("bare")
      assert.deepStrictEqual(asked, [
        ["broadcast", "room", "hello", { n: 1 }],
        ["broadcast", "room", "bare"],
        ["broadcast", "room", "chat/say", event.data],
        ["broadcast", "room", "chat/said", event.data],
        ["sendTo", "s", "thanks", { n: 2 }],
        ["sendTo", "s", "bare", undefined]
      ])
    }))

  it.effect("has other data and still copies those that came", () =>
    Effect.gen(function*() {
      const { asked, client } = makeClient()
      const message = made(client, event, { sid: "s", uid: "joe" })
      const other = Message.withData(message, 7)
      assert.strictEqual(other.data, 7)
      assert.deepInclude(other, { event: "chat/say", sid: "s", uid: "joe" })
      assert.strictEqual(message.data, event.data)
      yield* other.broadcastCopy("room")
      assert.deepStrictEqual(asked, [["broadcast", "room", "chat/say", event.data]])
    }))
})

describe.each(transports)("Message over $name", ({ url }) => {
  const within = <A, E>(effect: Effect.Effect<A, E, Client.Client | Worker.Worker | TestBroker | Scope.Scope>) =>
    effect.pipe(Effect.provide(Layer.provideMerge(backend(url), layer())))

  /** A browser that is authenticated and on these channels. */
  const enter = Effect.fnUntraced(function*(uid: string, ...channels: ReadonlyArray<string>) {
    const { urls, vhost } = yield* TestBroker
    const browser = yield* Browser.connect(urls.websocket)
    yield* browser.send({ auth: { token: Redacted.value(yield* vhost.accessTokens.issue(uid, ".*")) } })
    yield* browser.nextOf(":authenticated")
    for (const channel of channels) {
      yield* browser.send({ subscribe: { channel } })
      yield* browser.nextOf(":subscribed")
    }
    return browser
  })

  /** What a worker is given from now on. */
  const listening = Effect.gen(function*() {
    const worker = yield* Worker.Worker
    const messages = yield* Queue.unbounded<Message.Message>()
    yield* Effect.forkScoped(worker.listen({
      onMessage: (event, data, message) => {
        assert.deepStrictEqual([message.event, message.data], [event, data])
        return Queue.offer(messages, message)
      }
    }))
    return messages
  })

  it.live("says who triggered it, and where, whatever the browser pretends", () =>
    within(Effect.gen(function*() {
      const messages = yield* listening
      const joe = yield* enter("joe", "room")
      const data = { channel: "forged", sid: "forged", uid: "root", n: 1 }
      yield* joe.send({ trigger: { event: "alone", data } })
      yield* joe.send({ broadcast: { channel: "room", event: "say", trigger: "said", data } })
      const alone = yield* Queue.take(messages)
      assert.deepInclude(alone, { event: "alone", sid: joe.sid, uid: "joe", channel: undefined, attempt: 1 })
      assert.deepStrictEqual(alone.data, { ...data, sid: joe.sid })
      assert.deepInclude(yield* Queue.take(messages), { event: "said", sid: joe.sid, uid: "joe", channel: "room" })
    })))

  it.live("answers the browser, or a channel, with something or with a copy", () =>
    within(Effect.gen(function*() {
      const messages = yield* listening
      const [joe, ann] = [yield* enter("joe"), yield* enter("ann", "room")]
      yield* joe.send({ trigger: { event: "say", data: { text: "zażółć" } } })
      const message = yield* Queue.take(messages)
      yield* message.directReply("thanks", { n: 1 })
      yield* message.directReply("bare")
      yield* message.broadcastReply("room", "news", { n: 2 })
      yield* message.broadcastCopy("room")
      yield* message.broadcastCopy("room", "said")
      assert.deepStrictEqual([yield* joe.next, yield* joe.next], [{ thanks: { n: 1 } }, { bare: {} }])
      const copy = { text: "zażółć", channel: "room" }
      // The copy of what a browser said is a backend's broadcast: its data still name the browser.
      assert.deepStrictEqual([yield* ann.next, yield* ann.next, yield* ann.next], [
        { news: { n: 2, channel: "room" } },
        { say: { ...copy, sid: joe.sid } },
        { said: { ...copy, sid: joe.sid } }
      ])
      assert.instanceOf(yield* Effect.flip(message.broadcastReply("nope", "news")), ChannelNotFoundError)
      assert.instanceOf(yield* Effect.flip(message.broadcastCopy("nope")), ChannelNotFoundError)
    })))

  it.live("fails with BrowserNotFoundError where the browser has gone meanwhile", () =>
    within(Effect.gen(function*() {
      const messages = yield* listening
      const { vhost } = yield* TestBroker
      const sid = yield* Effect.scoped(Effect.gen(function*() {
        const joe = yield* enter("joe")
        yield* joe.send({ trigger: { event: "bye" } })
        const message = yield* Queue.take(messages)
        yield* Queue.offer(messages, message)
        return joe.sid
      }))
      yield* eventually(Effect.sync(vhost.browsers.count), (count) => count === 0)
      const message = yield* Queue.take(messages)
      assert.deepInclude(yield* Effect.flip(message.directReply("thanks")), { _tag: "BrowserNotFoundError", sid })
    })))

  it.live("comes with the stream of a worker as well", () =>
    within(Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const joe = yield* enter("joe")
      yield* joe.send({ trigger: { event: "say", data: { n: 1 } } })
      const [message] = yield* worker.messages.pipe(Stream.take(1), Stream.runCollect)
      assert.deepInclude(message, { event: "say", sid: joe.sid, uid: "joe", channel: undefined })
      yield* message!.directReply("thanks")
      assert.deepStrictEqual(yield* joe.next, { thanks: {} })
    })))

  it.live("of an original broker comes from where its data say, and its browser cannot be answered directly", () =>
    Effect.gen(function*() {
      const broker = yield* FakeBroker.make(url)
      yield* Effect.gen(function*() {
        const messages = yield* listening
        const ready = yield* broker.nextOf("RD")
        ready.peer.sendUnsafe(["TR", `{"say":{"sid":"s","channel":"room","uid":"root"}}`])
        const message = yield* Queue.take(messages)
        assert.deepInclude(message, { sid: "s", channel: "room", uid: undefined })
        yield* broker.nextOf("ST").pipe(
          Effect.flatMap(({ frames, peer }) => {
            assert.deepStrictEqual(frames, ["ST", "s", "thanks", "{}"])
            peer.sendUnsafe(["ER", "400"])
            return peer.close
          }),
          Effect.forkScoped
        )
        const error = yield* Effect.flip(message.directReply("thanks"))
        assert.strictEqual(error._tag, "BadRequestError")
        assert.include(error.message, "may not know this command")
        // One that says something unreadable of the origin has said something.
        ready.peer.sendUnsafe(["TR", `{"say":{"sid":"s","channel":"room"}}`, "{nonsense"])
        assert.deepInclude(yield* Queue.take(messages), { sid: undefined, channel: undefined, uid: undefined })
      }).pipe(Effect.provide(Kosmonaut.layer({ url: broker.url, drainTimeout: "50 millis" })))
    }))

  it.live("is of what happens by itself where a worker takes that, and of nothing else to the others", () =>
    within(Effect.gen(function*() {
      const worker = Context.get(yield* Layer.build(Layer.fresh(backend(url))), Worker.Worker)
      const { vhost } = yield* TestBroker
      const taken = yield* Queue.unbounded<Message.Message>()
      const plain = yield* listening
      yield* Effect.forkScoped(
        worker.listen({ onMessage: (_event, _data, message) => Queue.offer(taken, message), lifecycle: true })
      )
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 2)
      const joe = yield* enter("joe", "presence-room")
      yield* vhost.browsers.disconnect("uid", "joe")
      const room = "presence-room"
      const expected = [
        ["browserConnected", { sid: joe.sid }],
        ["channelOccupied", { channel: room }],
        ["memberJoined", { channel: room, uid: "joe", data: {} }],
        ["memberLeft", { channel: room, uid: "joe", data: {} }],
        ["channelVacated", { channel: room }],
        ["browserDisconnected", { sid: joe.sid, uid: "joe" }]
      ] as const
      for (const [name, data] of expected) {
        const message = yield* Queue.take(taken)
        assert.deepStrictEqual([message.event, message.data], [`:lifecycle/${name}`, data])
        assert.deepInclude(message, {
          sid: "sid" in data ? data.sid : undefined,
          channel: "channel" in data ? data.channel : undefined
        })
      }
      // The least loaded is first: both are free when all of these are acknowledged.
      yield* eventually(Effect.sync(() => vhost.lobby.counters.unacknowledged), (count) => count === 0)
      for (const n of [0, 1]) yield* vhost.lobby.enqueue(`{"e":{"n":${n}}}`)
      const both = [yield* Queue.take(plain), yield* Queue.take(taken)]
      assert.sameDeepMembers(both.map(({ event }) => event), ["e", "e"])
    })))
})
