import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Queue, Redacted, Schema, type Scope, Stream } from "effect"
import * as Message from "../../src/client/Message.ts"
import { Channel, Client, Event, EventGroup, Kosmonaut, type Transport, Worker } from "../../src/index.ts"
import { ChannelNotFoundError } from "../../src/protocol/KosmonautError.ts"
import type { Event as Triggered, Origin } from "../../src/protocol/Trigger.ts"
import type { TestBroker as Kit } from "../../src/testing/index.ts"
import * as Browser from "../harness/Browser.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import { memoryBackend, withMemoryBroker } from "../harness/memoryBroker.ts"
import * as MemoryBrowser from "../harness/memoryBrowser.ts"
import { backend, layer, TestBroker, transports } from "../harness/TestBroker.ts"

/** A client that only records what it is requested to do. */
const makeClient = () => {
  const requests: Array<unknown> = []
  const record = (name: string) => (...args: ReadonlyArray<unknown>) =>
    Effect.sync(() => void requests.push([name, ...args.slice(0, args.findLastIndex((arg) => arg !== undefined) + 1)]))
  const no = (): never => assert.fail("not requested here")
  const client = Client.Client.of({
    openChannel: no,
    closeChannel: no,
    broadcast: record("broadcast"),
    requestSingleAccessToken: no,
    broadcastAll: no,
    sendTo: record("sendTo"),
    sendToUser: no,
    subscribe: no,
    unsubscribe: no,
    request: no,
    trigger: no,
    channels: no,
    channel: no,
    subscribers: no,
    members: no,
    history: no,
    disconnect: no,
    deadLetters: {
      list: Stream.suspend(no),
      replay: no,
      replayAll: Effect.suspend(no),
      discard: no,
      discardAll: Effect.suspend(no)
    }
  })
  return { layer: Layer.succeed(Client.Client, client), requests }
}

class Talk extends EventGroup.make("talk", Event.make("said", { payload: { text: Schema.String } })) {}
const Room = Channel.make("room", { params: { id: Schema.String }, events: Talk })

const event = { event: "chat/say", data: { text: "hi", channel: "forged", sid: "forged", uid: "root" } }

const made = (triggered: Triggered, origin?: Origin) =>
  Message.make({ id: "e", event: triggered, origin, delivery: undefined })

describe("Message", () => {
  it("is what was triggered, and by whom, as the broker says", () => {
    const message = made(event, { sid: "s", uid: "joe", channel: "room" })
    assert.deepStrictEqual(message, {
      ...event,
      raw: event.data,
      id: "e",
      sid: "s",
      uid: "joe",
      channel: "room",
      isRequest: false,
      attempt: 1
    })
  })

  it("does not believe its data if the broker says something of its origin", () => {
    for (const origin of [{ sid: "s" }, {}, { traceparent: "t" }]) {
      assert.deepInclude(made(event, origin), {
        sid: "sid" in origin ? "s" : undefined,
        uid: undefined,
        channel: undefined
      })
    }
  })

  it("is by whom its data say if the broker says nothing, as the original, which names no user", () => {
    assert.deepInclude(made(event), { sid: "forged", uid: undefined, channel: "forged" })
    for (const data of [{}, { sid: 7, channel: null }, { sid: {}, channel: ["room"] }]) {
      assert.deepInclude(made({ event: "e", data }), {
        sid: undefined,
        uid: undefined,
        channel: undefined
      })
    }
  })

  it.effect("is replied to on a channel, or to the browser that triggered it", () => {
    const { layer, requests } = makeClient()
    return Effect.gen(function*() {
      const message = made(event, { sid: "s" })
      yield* Message.broadcastReply(message, "room", "hello", { n: 1 })
      yield* Message.broadcastReply(message, "room", "bare")
      yield* Message.broadcastReply(message, "room", "others", { n: 2 }, { exceptSid: "s" })
      yield* Message.broadcastReply(message, Room({ id: "1" }), "said", { text: "hi" })
      yield* Message.broadcastReply(message, Room({ id: "1" }), Talk.events.said, { text: "hi" })
      yield* Message.broadcastCopy(message, "room")
      yield* Message.broadcastCopy(message, "room", "chat/said")
      yield* Message.broadcastCopy(message, Room({ id: "1" }))
      yield* Message.directReply(message, "thanks", { n: 2 })
      yield* Message.directReply(message, "bare")
      yield* Message.directReply(message, Talk.events.said, { text: "hi" })
      assert.deepStrictEqual(requests, [
        ["broadcast", "room", "hello", { n: 1 }],
        ["broadcast", "room", "bare"],
        ["broadcast", "room", "others", { n: 2 }, { exceptSid: "s" }],
        ["broadcast", Room({ id: "1" }), "said", { text: "hi" }],
        ["broadcast", Room({ id: "1" }), Talk.events.said, { text: "hi" }],
        ["broadcast", "room", "chat/say", event.data],
        ["broadcast", "room", "chat/said", event.data],
        ["broadcast", "room-1", "chat/say", event.data],
        ["sendTo", "s", "thanks", { n: 2 }],
        ["sendTo", "s", "bare"],
        ["sendTo", "s", Talk.events.said, { text: "hi" }]
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is copied as it was received, whatever data a router has decoded", () => {
    const { layer, requests } = makeClient()
    return Effect.gen(function*() {
      yield* Message.broadcastCopy({ ...made(event, { sid: "s", uid: "joe" }), data: 7 }, "room")
      assert.deepStrictEqual(requests, [["broadcast", "room", "chat/say", event.data]])
    }).pipe(Effect.provide(layer))
  })
})

/** What a worker is given from now on. */
const listening = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  const messages = yield* Queue.unbounded<Message.Message>()
  yield* Effect.forkScoped(worker.listen({
    onMessage: (message) => Queue.offer(messages, message)
  }))
  return messages
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

  it.live("says who triggered it, and on which channel, whatever the browser pretends", () =>
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

  it.live("is replied to, to the browser or on a channel, with other data or with a copy", () =>
    within(Effect.gen(function*() {
      const messages = yield* listening
      const [joe, ann] = [yield* enter("joe"), yield* enter("ann", "room")]
      yield* joe.send({ trigger: { event: "say", data: { text: "zażółć" } } })
      const message = yield* Queue.take(messages)
      yield* Message.directReply(message, "thanks", { n: 1 })
      yield* Message.directReply(message, "bare")
      yield* Message.broadcastReply(message, "room", "news", { n: 2 })
      yield* Message.broadcastCopy(message, "room")
      yield* Message.broadcastCopy(message, "room", "said")
      assert.deepStrictEqual([yield* joe.next, yield* joe.next], [{ thanks: { n: 1 } }, { bare: {} }])
      const copy = { text: "zażółć", channel: "room" }
      // The copy of a browser's event is a backend's broadcast: its data still name the browser.
      assert.deepStrictEqual([yield* ann.next, yield* ann.next, yield* ann.next], [
        { news: { n: 2, channel: "room" } },
        { say: { ...copy, sid: joe.sid } },
        { said: { ...copy, sid: joe.sid } }
      ])
      assert.instanceOf(yield* Effect.flip(Message.broadcastReply(message, "nope", "news")), ChannelNotFoundError)
      assert.instanceOf(yield* Effect.flip(Message.broadcastCopy(message, "nope")), ChannelNotFoundError)
    })))
})

it.live("a message of an original broker has the origin that its data say, and cannot be replied to directly", () =>
  Effect.gen(function*() {
    const broker = yield* FakeBroker.make("backendTcp")
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
      const error = yield* Effect.flip(Message.directReply(message, "thanks"))
      assert.strictEqual(error._tag === "ProtocolError" && error.reason._tag, "BadRequestError")
      assert.include(error.message, "may not know this command")
      // One that says something unreadable of the origin has said something.
      ready.peer.sendUnsafe(["TR", `{"say":{"sid":"s","channel":"room"}}`, "{nonsense"])
      assert.deepInclude(yield* Queue.take(messages), { sid: undefined, channel: undefined, uid: undefined })
    }).pipe(Effect.provide(Kosmonaut.layer({ url: broker.url, worker: { drainTimeout: "50 millis" } })))
  }))

describe("Message in memory", () => {
  const within = <A, E>(
    effect: Effect.Effect<A, E, Client.Client | Worker.Worker | Kit.TestBroker | Transport.Transport | Scope.Scope>
  ) => withMemoryBroker()(Effect.provide(effect, memoryBackend()))

  /** A browser that is authenticated and on these channels. */
  const enter = Effect.fnUntraced(function*(uid: string, ...channels: ReadonlyArray<string>) {
    const { vhost } = yield* testBroker
    const browser = yield* MemoryBrowser.connect
    yield* browser.send({ auth: { token: Redacted.value(yield* vhost.accessTokens.issue(uid, ".*")) } })
    yield* browser.nextOf(":authenticated")
    for (const channel of channels) {
      yield* browser.send({ subscribe: { channel } })
      yield* browser.nextOf(":subscribed")
    }
    return browser
  })

  it.effect("is replied to with a BrowserNotFoundError if the browser has disconnected", () =>
    within(Effect.gen(function*() {
      const messages = yield* listening
      const { vhost } = yield* testBroker
      const sid = yield* Effect.scoped(Effect.gen(function*() {
        const joe = yield* enter("joe")
        yield* joe.send({ trigger: { event: "bye" } })
        const message = yield* Queue.take(messages)
        yield* Queue.offer(messages, message)
        return joe.sid
      }))
      yield* eventually(Effect.sync(vhost.browsers.count), (count) => count === 0)
      const message = yield* Queue.take(messages)
      assert.deepInclude(yield* Effect.flip(Message.directReply(message, "thanks")), {
        _tag: "BrowserNotFoundError",
        sid
      })
    })))

  it.effect("is in the stream of a worker as well", () =>
    within(Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const joe = yield* enter("joe")
      yield* joe.send({ trigger: { event: "say", data: { n: 1 } } })
      const message = yield* worker.messages().pipe(
        Stream.tap(({ ack }) => ack),
        Stream.runHead,
        Effect.flatMap(Effect.fromOption)
      )
      assert.deepInclude(message, { event: "say", sid: joe.sid, uid: "joe", channel: undefined })
      yield* Message.directReply(message, "thanks")
      assert.deepStrictEqual(yield* joe.next, { thanks: {} })
    })))

  it.effect("is a lifecycle event for a worker that takes these, and for no other", () =>
    within(Effect.gen(function*() {
      const worker = Context.get(yield* Layer.build(Layer.fresh(memoryBackend())), Worker.Worker)
      const { vhost } = yield* testBroker
      const taken = yield* Queue.unbounded<Message.Message>()
      const plain = yield* listening
      yield* Effect.forkScoped(
        worker.listen({ onMessage: (message) => Queue.offer(taken, message), lifecycle: true })
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
