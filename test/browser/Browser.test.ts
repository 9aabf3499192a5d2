import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, Queue, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Browser, type BrowserError } from "../../src/browser/index.ts"
import { Channel, Client, Event, EventGroup } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { eventually } from "../harness/eventually.ts"
import { untilState } from "./untilState.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.NonEmptyString, at: Schema.DateTimeUtc } }),
  Event.make("ping")
) {}

class Talk extends EventGroup.make(
  "talk",
  Event.make("said", { payload: { text: Schema.String } }),
  Event.make("left")
) {}

const News = Channel.make("news", { events: Talk })
const Room = Channel.make("room", { kind: "presence", params: { id: Schema.String }, events: Talk })
const room = Room({ id: "1" })

const within = (options?: TestBroker.BackendOptions) =>
  Effect.provide(
    TestBroker.layerBackend({ channels: ["news", "presence-room-1"], browsers: { broadcast: true }, ...options })
  )

/** Queues what a stream gives. */
const queued = Effect.fnUntraced(function*<A>(stream: Stream.Stream<A>) {
  const queue = yield* Queue.unbounded<A>()
  yield* Effect.forkScoped(Stream.runForEach(stream, (value) => Queue.offer(queue, value)))
  return queue
})

describe("a connection", () => {
  it.effect("is made by the layer and closed at its end", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const states = yield* Effect.scoped(Effect.gen(function*() {
        const joe = yield* browser()
        const states = yield* queued(joe.changes)
        assert.deepStrictEqual(yield* joe.state, { _tag: "Connecting", attempt: 0 } as never)
        yield* untilState(joe, "Connected")
        assert.strictEqual((yield* vhost.counts).browsers, 1)
        return states
      }))
      yield* eventually(vhost.counts, ({ browsers }) => browsers === 0)
      assert.strictEqual(Option.getOrThrow(yield* Queue.poll(states))._tag, "Connecting")
    }).pipe(within()))

  it.effect("backs off, reconnects and subscribes again", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser()
      const news = yield* joe.subscribe(News)
      const said = yield* queued(news.events)
      yield* browserNetwork.cut
      const lost = yield* untilState(joe, "Disconnected")
      assert.strictEqual(lost.code, 1006)
      assert.strictEqual((yield* news.state.get)._tag, "Subscribing")
      yield* TestClock.adjust("1 minute")
      yield* browserNetwork.restore
      yield* TestClock.adjust("20 seconds")
      yield* untilState(joe, "Connected")
      assert.strictEqual((yield* news.state.get)._tag, "Subscribed")
      yield* client.broadcast(News, "said", { text: "again" })
      const { channel, data, event, sid } = yield* Queue.take(said)
      assert.deepStrictEqual({ channel, data, event, sid }, {
        channel: "news",
        data: { text: "again" },
        event: "said",
        sid: undefined
      })
    }).pipe(within()))

  it.effect("that is silent is given up and made anew", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const joe = yield* browser()
      const first = yield* untilState(joe, "Connected")
      yield* browserNetwork.silence
      yield* TestClock.adjust("1 minute")
      assert.notStrictEqual((yield* joe.state)._tag, "Connected")
      yield* browserNetwork.restore
      yield* TestClock.adjust("1 minute")
      assert.notStrictEqual((yield* untilState(joe, "Connected")).sid, first.sid)
    }).pipe(within()))

  it.effect("that a backend ends stays closed until it is told to connect", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser()
      const news = yield* joe.subscribe(News)
      const { sid } = yield* untilState(joe, "Connected")
      yield* client.disconnect({ sid })
      assert.strictEqual((yield* untilState(joe, "Closed")).code, 4403)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* joe.state)._tag, "Closed")
      const error = yield* Effect.flip(joe.trigger(Chat.events.ping))
      assert.strictEqual(error._tag, "ConnectionClosedError")
      assert.strictEqual((yield* Effect.flip(Effect.scoped(joe.subscribe(room))))._tag, "ConnectionClosedError")
      yield* joe.connect
      yield* untilState(joe, "Connected")
      yield* Stream.runHead(Stream.filter(news.state.changes, ({ _tag }) => _tag === "Subscribed"))
    }).pipe(within()))

  it.effect("has the network's hints", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const document = new EventTarget()
      const global = globalThis as { addEventListener?: unknown; removeEventListener?: unknown }
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          global.addEventListener = document.addEventListener.bind(document)
          global.removeEventListener = document.removeEventListener.bind(document)
        }),
        () =>
          Effect.sync(() => {
            delete global.addEventListener
            delete global.removeEventListener
          })
      )
      const joe = yield* browser({ minBackoff: "1 second", maxBackoff: "1000 hours" })
      yield* untilState(joe, "Connected")
      yield* browserNetwork.cut
      yield* TestClock.adjust("1000 hours")
      yield* untilState(joe, "Disconnected")
      yield* browserNetwork.restore
      document.dispatchEvent(new globalThis.Event("online"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* joe.state)._tag, "Connected")
    }).pipe(Effect.scoped, within()))

  it.effect("needs an URL and options that can be", () =>
    Effect.gen(function*() {
      const wrong = [
        { url: "no url" },
        { url: "ftp://example.com/" },
        { url: "ws://memory/test", callTimeout: 0 },
        { url: "ws://memory/test", maxCalls: 0.5 }
      ]
      const options = yield* Effect.forEach(wrong, (options) =>
        Browser.make(options).pipe(
          Effect.provideService(Browser.WebSocketConstructor, () => assert.fail("opened")),
          Effect.scoped,
          Effect.flip,
          Effect.map(({ option }) => option)
        ))
      assert.deepStrictEqual(options, ["url", "url", "callTimeout", "maxCalls"])
    }))

  it.effect("takes a constructor that throws for a network that is down", () =>
    Effect.gen(function*() {
      const joe = yield* Browser.make({ url: "https://example.com/chat#x" }).pipe(
        Effect.provideService(Browser.WebSocketConstructor, (url) => {
          assert.strictEqual(url, "wss://example.com/chat?v=1")
          throw new Error("no WebSocket here")
        })
      )
      const { code, reason } = yield* untilState(joe, "Disconnected")
      assert.deepStrictEqual([code, reason], [1006, "no WebSocket here"])
    }))
})

describe("a token", () => {
  it.effect("that is refused is fetched anew", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const fetched = yield* Ref.make(0)
      const token = Effect.gen(function*() {
        const isFirst = (yield* Ref.updateAndGet(fetched, (n) => n + 1)) === 1
        return isFirst ? "refused" : yield* vhost.issueToken("joe", ".*")
      })
      const joe = yield* browser({ token })
      const { state } = yield* joe.subscribe(room)
      assert.deepStrictEqual(yield* state.get, { _tag: "Subscribed", uid: "joe", cursor: undefined } as never)
      assert.strictEqual(yield* Ref.get(fetched), 2)
    }).pipe(within()))

  it.effect("that is always refused fails the call and the subscription", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const joe = yield* browser({ token: Effect.succeed("refused") })
      const errors = yield* Effect.all([
        Effect.flip(Effect.scoped(joe.subscribe(room))),
        Effect.flip(joe.trigger(Chat.events.ping))
      ], { concurrency: 2 })
      assert.deepStrictEqual(errors.map(({ _tag }) => _tag), ["UnauthorizedError", "UnauthorizedError"])
    }).pipe(within()))

  it.effect("that cannot be fetched fails with the reason, and is tried again", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const isLoggedIn = yield* Ref.make(false)
      const token = Effect.gen(function*() {
        if (!(yield* Ref.get(isLoggedIn))) return yield* Effect.fail("log in first")
        return yield* vhost.issueToken("joe", ".*")
      })
      const joe = yield* browser({ token })
      const failing = yield* Effect.forkChild(Effect.flip(joe.trigger(Chat.events.ping)))
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(failing)
      assert.strictEqual(error._tag, "UnauthorizedError")
      assert.include(error.message, "log in first")
      yield* Ref.set(isLoggedIn, true)
      yield* TestClock.adjust("20 seconds")
      yield* joe.trigger(Chat.events.ping)
    }).pipe(within()))

  it.effect("is needed by triggers and by channels that are not public", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const anonymous = yield* browser()
      assert.strictEqual((yield* Effect.flip(anonymous.trigger(Chat.events.ping)))._tag, "UnauthorizedError")
      const error = yield* Effect.flip(Effect.scoped(anonymous.subscribe(room)))
      assert.strictEqual(error._tag, "UnauthorizedError")
      yield* anonymous.subscribe(News)
    }).pipe(within()))
})

describe("a subscription", () => {
  it.effect("fails with what the broker says, and leaves nothing behind", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe", pattern: "nothing" })
      const tagOf = (channel: Channel.Reference<typeof Talk.events>) =>
        Effect.map(Effect.flip(Effect.scoped(joe.subscribe(channel))), ({ _tag }) => _tag)
      assert.strictEqual(yield* tagOf(room), "ForbiddenError")
      assert.strictEqual(yield* tagOf(Channel.make("closed", { events: Talk })), "ChannelNotFoundError")
      const circle: { self?: unknown } = {}
      circle.self = circle
      const error = yield* Effect.flip(Effect.scoped(joe.subscribe(News, { data: circle })))
      assert.strictEqual(error._tag === "ProtocolError" && error.reason._tag, "MessageEncodeError")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* vhost.channels.list.pipe(Effect.map((all) => all.map((c) => c.subscribers))), [
        0,
        0
      ])
    }).pipe(within()))

  it.effect("is shared on the wire by all of one channel, and left with the last", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser()
      const subscribers = Effect.map(client.channel(News), ({ subscribers }) => subscribers)
      yield* Effect.scoped(Effect.gen(function*() {
        const first = yield* joe.subscribe(News)
        const second = yield* Effect.scoped(Effect.gen(function*() {
          const second = yield* joe.subscribe(News)
          yield* client.broadcast(News, "said", { text: "both" })
          for (const { events } of [first, second]) {
            const event = Option.getOrThrow(yield* Stream.runHead(events))
            assert.deepStrictEqual(event.data, { text: "both" })
          }
          return second
        }))
        assert.deepStrictEqual(yield* Stream.runCollect(second.events), [], "it has ended")
        assert.strictEqual(yield* subscribers, 1)
      }))
      yield* eventually(subscribers, (count) => count === 0)
    }).pipe(within()))

  it.effect("keeps what arrives before its first consumers", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser()
      const news = yield* joe.subscribe(News)
      yield* client.broadcast(News, "said", { text: "early" })
      yield* client.broadcast(News, "left", {})
      yield* TestClock.adjust(0)
      const handled = yield* Queue.unbounded<string>()
      yield* news.on("left", (_, { event }) => Queue.offer(handled, event))
      yield* news.on("said", ({ text }) => Queue.offer(handled, text))
      yield* client.broadcast(News, "said", { text: "late" })
      assert.deepStrictEqual(yield* Queue.takeN(handled, 3), ["left", "early", "late"])
    }).pipe(within()))

  it.effect("drops the oldest events of a consumer that is too slow, and reports it once", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const errors = yield* Queue.unbounded<BrowserError.ReportedError>()
      const joe = yield* browser({ eventBuffer: 3 * (256 + 80), onError: (error) => Queue.offer(errors, error) })
      const news = yield* joe.subscribe(News)
      const busy = yield* Deferred.make<void>()
      const handled = yield* Queue.unbounded<string>()
      yield* news.on("said", ({ text }) => Effect.andThen(Queue.offer(handled, text), Deferred.await(busy)))
      for (const text of "0123456") {
        yield* client.broadcast(News, "said", { text })
        yield* TestClock.adjust(0)
      }
      yield* Deferred.succeed(busy, undefined)
      const texts = [yield* Queue.take(handled), yield* Queue.take(handled), yield* Queue.take(handled)]
      assert.strictEqual(texts[0], "0")
      yield* TestClock.adjust(0)
      const rest = yield* Queue.clear(handled)
      assert.strictEqual([...texts, ...rest].at(-1), "6")
      assert.isBelow(texts.length + rest.length, 7)
      const error = yield* Queue.take(errors)
      const more = yield* Queue.clear(errors)
      assert.deepInclude(error, { _tag: "EventsDroppedError", channel: "news", event: "talk/said" })
      assert.deepStrictEqual(more, [])
    }).pipe(within()))

  it.effect("reports an event that does not fit and a handler that fails, and goes on", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const errors = yield* Queue.unbounded<BrowserError.ReportedError>()
      const joe = yield* browser({ onError: (error) => Queue.offer(errors, error) })
      const news = yield* joe.subscribe(News)
      const said = yield* queued(news.events)
      const handled = yield* Queue.unbounded<string>()
      yield* news.on({
        said: ({ text }) =>
          text === "fail"
            ? Effect.fail("failed")
            : text === "die"
            ? Effect.die(new Error("died"))
            : Queue.offer(handled, text)
      })
      yield* client.broadcast("news", "talk/said", { text: 42 })
      for (const text of ["fail", "die", "good"]) yield* client.broadcast(News, "said", { text })
      assert.strictEqual(yield* Queue.take(handled), "good")
      assert.deepStrictEqual((yield* Queue.takeN(said, 3)).map(({ data }) => data), [
        { text: "fail" },
        { text: "die" },
        { text: "good" }
      ])
      assert.deepStrictEqual((yield* Queue.takeN(errors, 3)).map(({ _tag }) => _tag), [
        "MessageDecodeError",
        "EventHandlerError",
        "EventHandlerError"
      ])
    }).pipe(within()))

  it.effect("has the members of a presence channel, also after a reconnect", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      const { members } = yield* joe.subscribe(room, { data: { name: "Joe" } })
      const seen = (uids: ReadonlyArray<string>) =>
        members.changes.pipe(
          Stream.filter((members) => members.map(({ uid }) => uid).join() === uids.join()),
          Stream.runHead
        )
      yield* seen(["joe"])
      yield* Effect.scoped(Effect.gen(function*() {
        const ann = yield* browser({ uid: "ann" })
        yield* ann.subscribe(room, { data: { name: "Ann" } })
        yield* seen(["joe", "ann"])
        const other = yield* browser({ uid: "ann" })
        yield* other.subscribe(room)
        yield* eventually(members.get, (all) =>
          all.map(({ connections, uid }) => `${uid} ${connections.length}`).join() === "joe 1,ann 2")
        yield* browserNetwork.cut
        yield* untilState(joe, "Disconnected")
        assert.strictEqual((yield* members.get).length, 2, "they stay while it is not connected")
      }))
      yield* browserNetwork.restore
      yield* TestClock.adjust("20 seconds")
      yield* seen(["joe"])
    }).pipe(within()))

  it.effect("updates its data, for all members, and also after a reconnect", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const joe = yield* (yield* browser({ uid: "joe" })).subscribe(room, { data: { n: 1 } })
      const annsBrowser = yield* browser({ uid: "ann" })
      const ann = yield* annsBrowser.subscribe(room)
      const seen = (n: number) =>
        eventually(ann.members.get, ([member]) => member?.uid === "joe" && member.data["n"] === n)
      yield* seen(1)
      yield* joe.update({ n: 2 })
      yield* seen(2)
      const failed = yield* Effect.flip(joe.update([]))
      assert.strictEqual(failed._tag === "ProtocolError" && failed.reason._tag, "MessageEncodeError")
      const large = yield* Effect.flip(joe.update({ text: "x".repeat(5000) }))
      assert.strictEqual(large._tag === "ProtocolError" && large.reason._tag, "BadRequestError")
      yield* browserNetwork.disconnect()
      yield* untilState(annsBrowser, "Disconnected")
      const updating = yield* Effect.forkChild(joe.update({ n: 3 }), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(updating)
      yield* seen(3)
      const [member] = yield* ann.members.get
      assert.strictEqual(member!.connections.length, 1)
    }).pipe(within()))

  it.effect("that waits for the connection can be interrupted", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      yield* browserNetwork.cut
      const joe = yield* browser()
      const waiting = yield* Effect.forkChild(Effect.scoped(Effect.andThen(joe.subscribe(News), Effect.never)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(waiting)
      yield* browserNetwork.restore
      yield* TestClock.adjust("20 seconds")
      yield* untilState(joe, "Connected")
      assert.strictEqual((yield* client.channel(News)).subscribers, 0)
    }).pipe(within()))
})

describe("events for one browser", () => {
  it.effect("arrive by group, as a stream and at handlers", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser()
      const { sid } = yield* untilState(joe, "Connected")
      const handled = yield* Queue.unbounded<string>()
      yield* joe.on(Talk, { said: ({ text }) => Queue.offer(handled, text) })
      const events = yield* queued(joe.events(Talk))
      yield* Effect.yieldNow
      yield* client.sendTo(sid, Talk.events.left, {})
      yield* client.sendTo(sid, Talk.events.said, { text: "you" })
      assert.strictEqual(yield* Queue.take(handled), "you")
      assert.deepStrictEqual((yield* Queue.takeN(events, 2)).map(({ channel, event }) => [channel, event]), [
        [undefined, "left"],
        [undefined, "said"]
      ])
    }).pipe(within()))
})

describe("a defect of the driver", () => {
  it.effect("ends all that wait, and what is called later", () =>
    Effect.gen(function*() {
      let receive: (event: { readonly data: unknown }) => void = () => {}
      const joe = yield* Browser.make({ url: "ws://memory/test", token: Effect.succeed("token") }).pipe(
        Effect.provideService(Browser.WebSocketConstructor, () => ({
          readyState: 1,
          addEventListener: (type, listener) => {
            if (type === "message") receive = listener
          },
          removeEventListener: () => {},
          close: () => {},
          send: () => {}
        }))
      )
      const waiting = yield* Effect.forkChild(joe.trigger(Chat.events.ping))
      const news = yield* Effect.forkChild(Effect.scoped(joe.subscribe(News)))
      yield* Effect.yieldNow
      const hostile = new Proxy({}, {
        ownKeys: () => {
          throw new Error("broken")
        }
      })
      const parse = JSON.parse
      JSON.parse = () => hostile
      receive({ data: "{}" })
      JSON.parse = parse
      assert.isTrue(Exit.hasDies(yield* Fiber.await(waiting)))
      assert.isTrue(Exit.hasDies(yield* Fiber.await(news)))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(joe.trigger(Chat.events.ping))))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(Stream.runDrain(joe.changes))))
    }))
})
