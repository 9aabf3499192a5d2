/**
 * Requests without a response: which are retried, and that none is executed twice.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  Array as Arr,
  Deferred,
  Effect,
  Fiber,
  Layer,
  Metric,
  Queue,
  Redacted,
  Schedule,
  type Scope,
  Stream,
  Tracer
} from "effect"
import { TestClock } from "effect/testing"
import * as net from "node:net"
import { Client, Kosmonaut, KosmonautError, Transport } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import * as Browser from "../harness/Browser.ts"
import { testBroker } from "../harness/engine.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import * as RecordingTracer from "../harness/recordingTracer.ts"
import { tagOf } from "../harness/tagOf.ts"
import * as TcpProxy from "../harness/TcpProxy.ts"
import * as Sockets from "../harness/TestBroker.ts"

const vhost = Effect.map(Sockets.TestBroker, ({ vhost }) => vhost)

/** A Client whose connections go through a proxy, and a browser that receives what it broadcasts. */
const throughProxy = Effect.fnUntraced(function*(url: (typeof Sockets.transports)[number]["url"]) {
  const { broker, urls } = yield* Sockets.TestBroker
  const port = url === "backend" ? broker.backendPort : broker.tcpPort
  const proxy = yield* TcpProxy.make(port)
  const context = yield* Layer.build(
    Kosmonaut.layer({ url: Redacted.value(urls[url]).replace(`:${port}`, `:${proxy.port}`) })
  )
  const client = yield* Effect.provide(Client.Client, context)
  const joe = yield* Browser.connect(urls.websocket)
  yield* joe.send({ subscribe: { channel: "room" } })
  yield* joe.nextOf(":subscribed")
  // Whose the broker is shows with its first answer.
  yield* client.openChannel("room")
  return { client, joe, proxy }
})

describe.each(Sockets.transports)("a connection over $name that is cut", ({ url }) => {
  it.live.each(["answer", "request"] as const)(
    "before the %s came has its broadcast heard once",
    (what) =>
      Effect.gen(function*() {
        const { client, joe, proxy } = yield* throughProxy(url)
        proxy.cutAtNext(what)
        yield* client.broadcast("room", "once", { n: 1 })
        yield* client.broadcast("room", "last")
        assert.deepStrictEqual([yield* joe.next, yield* joe.next], [
          { once: { n: 1, channel: "room" } },
          { last: { channel: "room" } }
        ])
        assert.strictEqual(proxy.cutsAtNext(), 1)
        assert.strictEqual((yield* vhost).responseCache.counters.retried, what === "answer" ? 1 : 0)
      }).pipe(Effect.scoped, Effect.provide(Sockets.layer()))
  )

  it.live("gets the same response, whatever it is", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* throughProxy(url)
      proxy.cutAtNext("answer")
      const issued = yield* client.requestSingleAccessToken("joe", ".*")
      assert.match(Redacted.value(issued), /^[0-9a-f]{128}$/)
      proxy.cutAtNext("answer")
      // The second time it would be ChannelNotFoundError.
      yield* client.closeChannel("room")
      proxy.cutAtNext("answer")
      assert.strictEqual((yield* Effect.flip(client.broadcast("room", "e")))._tag, "ChannelNotFoundError")
      proxy.cutAtNext("answer")
      assert.strictEqual((yield* Stream.runCollect(client.channels())).length, 2)
      assert.strictEqual(proxy.cutsAtNext(), 4)
      assert.strictEqual((yield* vhost).responseCache.counters.retried, 3)
    }).pipe(Effect.scoped, Effect.provide(Sockets.layer())))

  it.live("executes all requests in flight once", () =>
    Effect.gen(function*() {
      const { client, joe, proxy } = yield* throughProxy(url)
      proxy.cutAtNext("answer")
      yield* Effect.forEach(
        Array.from({ length: 100 }, (_, n) => n),
        (n) => client.broadcast("room", "n", { n }),
        { concurrency: "unbounded" }
      )
      yield* client.broadcast("room", "last")
      const heard: Array<unknown> = []
      for (let n = 0; n < 100; n++) heard.push((yield* joe.nextOf("n") as Effect.Effect<{ readonly n: number }>).n)
      assert.strictEqual(new Set(heard).size, 100)
      assert.deepStrictEqual(yield* joe.next, { last: { channel: "room" } })
    }).pipe(Effect.scoped, Effect.provide(Sockets.layer())))
})

/** The tag of an error, or of the reason of a lost connection. */
const reasonOf = (error: Client.RequestError | KosmonautError.ChannelNotFoundError): string =>
  error._tag === "ConnectionError" ? error.reason._tag : error._tag

/** What becomes of each request of a Client in turn, beyond what the network does to it. */
type Fate = "lost before" | "lost after" | "timed out" | undefined

/** The transport of a broker under test, where requests have these fates. All requests that were sent are there to be seen. */
const unlucky = Effect.fnUntraced(function*(fates: ReadonlyArray<Fate>, isKosmonaut = true) {
  const transport = yield* Transport.Transport
  const sent: Array<ReadonlyArray<string>> = []
  let attempts = 0
  const lost = new KosmonautError.ConnectionError({
    reason: new KosmonautError.ConnectionClosedError({ address: "here" })
  })
  const change = (connection: Transport.Connection) =>
    Effect.map(Deferred.make<void>(), (dead): Transport.Connection => {
      const fateOf = new Map<string, Fate>()
      const pull: Transport.Connection["pull"] = Effect.flatMap(connection.pull, (messages) => {
        const ends = messages.map(({ envelope }) => fateOf.get(envelope))
        if (ends.includes("lost after")) return Effect.fail(lost)
        const received = messages.filter((_, index) => ends[index] === undefined)
        return Arr.isArrayNonEmpty(received) ? Effect.succeed(received) : pull
      })
      return {
        ...connection,
        isKosmonaut: () => isKosmonaut,
        pull: Effect.raceFirst(
          pull,
          Deferred.await(dead).pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(Effect.fail(lost)))
        ),
        sendUnsafe: (messages, settled) => {
          const [{ envelope, frames }] = messages
          const fate = fates[sent.push(frames) - 1]
          fateOf.set(envelope, fate)
          if (fate !== "lost before") return connection.sendUnsafe(messages, settled)
          settled()
          Deferred.doneUnsafe(dead, Effect.void)
        }
      }
    })
  const changed = FakeTransport.mapConnections(transport, change)
  return {
    sent,
    attempts: () => attempts,
    transport: Transport.Transport.of({
      ...changed,
      connect: (endpoint, options) =>
        Effect.suspend(() => {
          attempts++
          return changed.connect(endpoint, options)
        })
    })
  }
})

const clientOf = Effect.fnUntraced(function*(fates: ReadonlyArray<Fate>, options?: {
  readonly isKosmonaut?: boolean
  readonly retry?: Client.Options["retry"]
}) {
  const { rawBrowser: browser, url, vhost } = yield* testBroker
  const { attempts, sent, transport } = yield* unlucky(fates, options?.isKosmonaut)
  const client = yield* Effect.provideService(
    Client.make({ url, retry: options?.retry, requestTimeout: "1 second" }),
    Transport.Transport,
    transport
  )
  const joe = yield* browser()
  yield* joe.subscribe("room")
  return { attempts, client, joe, sent, vhost }
})

const within = <A, E>(
  test: Effect.Effect<A, E, TestBroker.TestBroker | Transport.Transport | Scope.Scope>,
  options?: TestBroker.Options
) => test.pipe(Effect.scoped, Effect.provide(TestBroker.layer({ channels: ["room"], ...options })))

const heardBy = (joe: { readonly allReceived: Effect.Effect<ReadonlyArray<{ readonly event: string }>> }) =>
  Effect.map(joe.allReceived, (events) => events.map(({ event }) => event).filter((event) => !event.startsWith(":")))

/** Runs until it has ended, by the test's clock. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    // It is sent before time moves.
    yield* Effect.repeat(Effect.yieldNow, { times: 50 })
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

describe("a request without an answer", () => {
  it.effect("is carried out once when its answers were lost, however often", () =>
    within(Effect.gen(function*() {
      const { sent, client, joe, vhost } = yield* clientOf([undefined, "lost after", "timed out", "lost after"])
      yield* client.openChannel("room")
      yield* inTime(client.broadcast("room", "once"))
      assert.deepStrictEqual(yield* heardBy(joe), ["once"])
      assert.deepStrictEqual(sent.slice(1).map(([command]) => command), ["BC", "AG", "AG", "AG"])
      assert.strictEqual(vhost.responseCache.counters.retried, 3)
    })))

  it.effect("is not carried out by a broker that cannot know, and fails as it did", () =>
    within(Effect.gen(function*() {
      const { sent, client, joe } = yield* clientOf(["lost before"])
      const error = yield* inTime(Effect.flip(client.broadcast("room", "never")))
      assert.strictEqual(reasonOf(error), "ConnectionClosedError")
      assert.deepStrictEqual(sent.map(([command]) => command), ["BC", "AG"])
      assert.deepStrictEqual(yield* heardBy(joe), [])
    })))

  it.effect.each(["400", "402", "408"])(
    "fails as it did if the broker responds to its retry with %s",
    (code) =>
      Effect.gen(function*() {
        const sent: Array<string> = []
        const lost = new KosmonautError.ConnectionError({
          reason: new KosmonautError.ConnectionClosedError({ address: "here" })
        })
        const transport = FakeTransport.make(() =>
          Effect.map(FakeTransport.connection, (fake) => ({
            ...fake.connection,
            sendUnsafe: (messages, settled) => {
              settled()
              for (const { envelope, frames } of messages) {
                if (sent.push(frames[0]!) === 1) Effect.runSync(fake.fail(lost))
                else fake.respond(envelope, ["ER", code])
              }
            }
          }))
        )
        const client = yield* Effect.provideService(
          Client.make({ url: `wr://${Sockets.token}@localhost/test` }),
          Transport.Transport,
          transport
        )
        const error = yield* inTime(Effect.flip(client.broadcast("room", "maybe")))
        assert.strictEqual(reasonOf(error), "ConnectionClosedError")
        assert.deepStrictEqual(sent, ["BC", "AG"])
      }).pipe(Effect.scoped)
  )

  it.effect("is not made again where the broker is not known to be ours", () =>
    within(Effect.gen(function*() {
      const { sent, client, joe } = yield* clientOf(["lost after", "timed out", "lost after"], {
        isKosmonaut: false
      })
      assert.strictEqual((yield* Effect.flip(client.broadcast("room", "one")))._tag, "ConnectionError")
      assert.strictEqual((yield* inTime(Effect.flip(client.broadcast("room", "two"))))._tag, "RequestTimeoutError")
      assert.strictEqual((yield* Effect.flip(client.openChannel("room")))._tag, "ConnectionError")
      assert.strictEqual(sent.length, 3)
      assert.deepStrictEqual(yield* heardBy(joe), ["one", "two"])
    })))

  it.effect("is not made again with \"none\"", () =>
    within(Effect.gen(function*() {
      const { sent, client } = yield* clientOf(["lost after"], { retry: "none" })
      assert.strictEqual((yield* Effect.flip(client.broadcast("room", "one")))._tag, "ConnectionError")
      assert.strictEqual(sent.length, 1)
    })))

  it.effect("is made again without a name where twice is as good as once", () =>
    within(Effect.gen(function*() {
      const { sent, client, vhost } = yield* clientOf(["lost after", undefined, "lost before"])
      yield* inTime(client.openChannel("new"))
      yield* inTime(client.channel("room"))
      assert.deepStrictEqual(sent.map(([command]) => command), ["OC", "OC", "DC", "DC"])
      assert.strictEqual(vhost.responseCache.counters.cached, 0)
    })))

  it.effect("is not made again when it was answered", () =>
    within(Effect.gen(function*() {
      const { sent, client } = yield* clientOf([])
      assert.strictEqual((yield* Effect.flip(client.broadcast("nope", "e")))._tag, "ChannelNotFoundError")
      const error = yield* Effect.flip(client.requestSingleAccessToken("joe", "("))
      assert.strictEqual(tagOf(error), "ProtocolError/InternalError")
      assert.strictEqual(sent.length, 2)
    })))

  it.effect("is sent when somebody is there, if nobody was", () =>
    within(Effect.gen(function*() {
      const { cut, restore } = yield* TestBroker.TestBroker
      const { attempts, client, joe, sent } = yield* clientOf([])
      yield* cut
      const asking = yield* Effect.forkChild(client.broadcast("room", "hello"))
      yield* TestClock.adjust("1 second")
      assert.isAbove(attempts(), 2)
      yield* restore
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(asking)
      assert.deepStrictEqual(yield* heardBy(joe), ["hello"])
      assert.isTrue(sent.every(([command]) => command === "BC"))
    })))

  it.effect("is tried six times, and then tells whether it may have been carried out", () =>
    within(Effect.gen(function*() {
      const { cut } = yield* TestBroker.TestBroker
      const { attempts, client } = yield* clientOf(["lost after"])
      yield* cut
      const never = yield* inTime(Effect.flip(client.broadcast("room", "hello")))
      assert.isTrue(KosmonautError.wasNotSent(never))
      assert.strictEqual(attempts(), 6)
      const { restore } = yield* TestBroker.TestBroker
      yield* restore
      const asking = yield* Effect.forkChild(Effect.flip(client.broadcast("room", "hello")))
      yield* TestClock.adjust("10 millis")
      yield* cut
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(reasonOf(yield* Fiber.join(asking)), "ConnectionClosedError")
      assert.strictEqual(attempts(), 12)
    })))

  it.effect("ends at once when it is interrupted in a pause, or its client is closed", () =>
    within(Effect.gen(function*() {
      const { cut, restore } = yield* TestBroker.TestBroker
      const { attempts, client, joe } = yield* clientOf([])
      yield* cut
      const interrupted = yield* Effect.forkChild(client.broadcast("room", "one"))
      const closing = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        const { client } = yield* clientOf([], { retry: Schedule.spaced("1 minute") })
        const orphan = yield* Effect.forkDetach(Effect.flip(client.broadcast("room", "two")), {
          startImmediately: true
        })
        yield* Effect.sleep("20 millis")
        return orphan
      })))
      yield* TestClock.adjust("50 millis")
      yield* Fiber.interrupt(interrupted)
      const orphan = yield* Fiber.join(closing)
      assert.isTrue(KosmonautError.wasNotSent(yield* Fiber.join(orphan)))
      yield* restore
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* heardBy(joe), [])
      assert.strictEqual(attempts(), 1)
    })))

  it.effect("is counted, and its span tells how often", () =>
    within(
      Effect.gen(function*() {
        const { spans, tracer } = RecordingTracer.make()
        const { client } = yield* clientOf([undefined, "lost after", "lost after"])
        yield* client.openChannel("room")
        yield* Effect.provideService(inTime(client.sendTo("nobody", "hello")), Tracer.Tracer, tracer).pipe(Effect.flip)
        assert.strictEqual(spans[0]?.attributes.get("kosmonaut.retries"), 2)
        const counted = (yield* Metric.snapshot).find(({ attributes, id }) =>
          id === "kosmonaut_client_retries_total" && attributes?.["command"] === "sendTo"
        )
        assert.deepInclude(counted?.state, { count: 2 })
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
    ))
})

describe("the original broker", () => {
  it.live("is asked nothing again that it may have done", () =>
    Effect.gen(function*() {
      const asked = yield* Queue.unbounded<string>()
      const server = yield* Effect.acquireRelease(
        Effect.callback<net.Server>((resume) => {
          const server = net.createServer((socket) => {
            socket.on("error", () => undefined)
            socket.on("data", (data) => {
              const command = String(data).split("\n").slice(1).filter((frame) => frame.trim() !== "")[0]!
              Queue.offerUnsafe(asked, command)
              if (command === "K1") socket.end("ER\n400\n\r\n\r\n")
              else socket.destroy()
            })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
      )
      const { port } = server.address() as net.AddressInfo
      const error = yield* Effect.flip(Client.Client.use((client) => client.broadcast("room", "hello"))).pipe(
        Effect.provide(Kosmonaut.layer({ url: `wr+tcp://${Sockets.token}@127.0.0.1:${port}/test` }))
      )
      assert.isTrue(KosmonautError.isRetryable(error) && !KosmonautError.wasNotSent(error))
      assert.deepStrictEqual(yield* Queue.clear(asked), ["K1", "BC"])
    }))
})
