import { assert, describe, it } from "@effect/vitest"
import {
  Array as Arr,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Queue,
  Redacted,
  Ref,
  Schedule,
  Scope,
  Stream
} from "effect"
import { Client, Kosmonaut, KosmonautError, type Message, Transport, Worker } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import { backend, layer, TestBroker, token, transports } from "../harness/TestBroker.ts"

/** Puts an event into the vhost, as an authenticated browser would. */
const trigger = (event: string, data: object = {}) =>
  TestBroker.use(({ vhost }) => vhost.lobby.enqueue(JSON.stringify({ [event]: data })))

/** Waits until the lobby looks like this: there is no event to wait for. */
const lobbyIs = (test: (info: { readonly queued: number; readonly workers: ReadonlyArray<string> }) => boolean) =>
  TestBroker.use(({ vhost }) => eventually(vhost.lobby.info, test))

const once = (workers: number) => lobbyIs((info) => info.workers.length === workers)

describe.each(transports)("Worker over $name", ({ url }) => {
  const within = <A, E>(
    effect: Effect.Effect<A, E, Client.Client | Worker.Worker | TestBroker | Scope.Scope>,
    worker?: Kosmonaut.Options["worker"]
  ) => effect.pipe(Effect.provide(Layer.provideMerge(backend(url, { worker }), layer())))

  /** A worker of a broker under the test's control, and a queue of the handled events. */
  const withFake = Effect.fnUntraced(function*(options?: Kosmonaut.Options["worker"]) {
    const broker = yield* FakeBroker.make(url)
    const worker = yield* Effect.provide(
      Worker.Worker,
      Kosmonaut.layer({ url: broker.url, worker: { reconnect: Schedule.spaced("10 millis"), ...options } })
    )
    return { broker, worker }
  })

  describe("listen", () => {
    it.live("handles events in order, with the data that a browser sent", () =>
      within(Effect.gen(function*() {
        const worker = yield* Worker.Worker
        const client = yield* Client.Client
        const { urls } = yield* TestBroker
        const got = yield* Queue.unbounded<readonly [string, unknown]>()
        yield* Effect.forkScoped(worker.listen({ onMessage: ({ data, event }) => Queue.offer(got, [event, data]) }))
        const issued = yield* client.requestSingleAccessToken("joe", ".*")
        const joe = yield* Browser.connect(urls.websocket)
        yield* joe.send({ auth: { token: Redacted.value(issued) } })
        for (let n = 0; n < 50; n++) yield* joe.send({ trigger: { event: "chat/say", data: { n } } })
        for (let n = 0; n < 50; n++) assert.deepStrictEqual(yield* Queue.take(got), ["chat/say", { n, sid: joe.sid }])
      })))

    it.live("ends with UnauthorizedError if the token is rejected", () =>
      Effect.gen(function*() {
        const { urls } = yield* TestBroker
        const wrong = Redacted.value(urls[url]).replace(token, "f".repeat(40))
        const worker = yield* Effect.provide(Worker.Worker, Kosmonaut.layer({ url: wrong }))
        const error = yield* Effect.flip(worker.listen({ onMessage: () => Effect.void }))
        assert.strictEqual(error._tag, "UnauthorizedError")
        const same = yield* Effect.flip(Stream.runDrain(worker.messages()))
        assert.strictEqual(same._tag, "UnauthorizedError")
        assert.strictEqual((yield* worker.state)._tag, "Idle")
      }).pipe(Effect.provide(layer())))

    it.live("says with every connection whether it takes lifecycle events", () =>
      Effect.gen(function*() {
        const { broker, worker } = yield* withFake({ drainTimeout: "50 millis" })
        const onMessage = () => Effect.void
        for (const lifecycle of [true, false, undefined]) {
          const listening = yield* Effect.forkScoped(worker.listen({ onMessage, lifecycle }))
          // The second time after it was sent away.
          for (let n = 0; n < 2; n++) {
            const { frames, peer } = yield* broker.nextOf("RD")
            const options = JSON.stringify({ lifecycle: lifecycle === true, maxAttempts: 1 })
            assert.deepStrictEqual(frames, ["RD", "ack", "128", options])
            peer.sendUnsafe(["QT"])
          }
          yield* Fiber.interrupt(listening)
        }
        yield* Effect.forkScoped(Stream.runDrain(worker.messages()))
        // What was left of the last listener may come before.
        const { frames } = yield* broker.nextOf("RD")
        assert.deepStrictEqual(frames, ["RD", "ack", "128", `{"lifecycle":false,"maxAttempts":1}`])
      }))

    it.live("reads no further ahead than its buffer, and loses nothing of a flood", () =>
      within(
        Effect.gen(function*() {
          const worker = yield* Worker.Worker
          const count = yield* Ref.make(0)
          const done = yield* Deferred.make<void>()
          for (let n = 0; n < 3000; n++) yield* trigger("flood", { n, text: "x".repeat(1000) })
          yield* Effect.forkScoped(worker.listen({
            onMessage: ({ data: { n } }) =>
              Effect.gen(function*() {
                const expected = yield* Ref.getAndUpdate(count, (_) => _ + 1)
                assert.strictEqual(n, expected)
                if (expected % 100 === 0) yield* Effect.yieldNow
                if (expected === 2999) yield* Deferred.succeed(done, undefined)
              })
          }))
          yield* Deferred.await(done)
        }),
        { bufferSize: 10 }
      ), 20_000)
  })

  describe("interrupting listen", () => {
    /** Handlers that wait at the gate: what they have begun, and what they have handled. */
    const gated = Effect.gen(function*() {
      const started = yield* Queue.unbounded<string>()
      const handled: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const onMessage = ({ event }: Message.Message) =>
        Queue.offer(started, event).pipe(
          Effect.andThen(Deferred.await(gate)),
          Effect.andThen(Effect.sync(() => handled.push(event)))
        )
      return { handled, onMessage, started, open: Deferred.succeed(gate, undefined) }
    })

    it.live("finishes what is in flight, and releases at once what it has not begun", () =>
      within(Effect.gen(function*() {
        const worker = yield* Worker.Worker
        const { urls, vhost } = yield* TestBroker
        const other = yield* Layer.build(Kosmonaut.layer({ url: urls[url] as Redacted.Redacted }))
        const { handled, onMessage, open, started } = yield* gated
        const others = yield* Queue.unbounded<string>()
        const listening = yield* Effect.forkScoped(worker.listen({ onMessage }))
        yield* once(1)
        for (const event of ["a", "b", "c"]) yield* trigger(event)
        assert.strictEqual(yield* Queue.take(started), "a")
        yield* Effect.forkScoped(
          Context.get(other, Worker.Worker).listen({ onMessage: ({ event }) => Queue.offer(others, event) })
        )
        yield* once(2)
        const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
        assert.deepStrictEqual([yield* Queue.take(others), yield* Queue.take(others)], ["b", "c"])
        yield* trigger("later")
        assert.strictEqual(yield* Queue.take(others), "later")
        assert.strictEqual((yield* vhost.lobby.info).workers.length, 2, "it stays until its handler has ended")
        yield* open
        yield* Fiber.join(stopping)
        yield* once(1)
        assert.deepStrictEqual(handled, ["a"])
        yield* eventually(Effect.sync(() => vhost.lobby.counters.acknowledged), (count) => count === 4)
        assert.deepInclude(vhost.lobby.counters, { accepted: 4, redelivered: 2, unacknowledged: 0, queued: 0 })
      })))

    it.live("says goodbye and finishes what was received from a broker that knows no acknowledgements", () =>
      Effect.gen(function*() {
        const { broker, worker } = yield* withFake()
        const { handled, onMessage, open, started } = yield* gated
        const listening = yield* Effect.forkScoped(worker.listen({ onMessage }))
        const { peer } = yield* broker.nextOf("RD")
        for (const event of ["a", "b", "c"]) peer.sendUnsafe(["TR", `{"${event}":{}}`])
        assert.strictEqual(yield* Queue.take(started), "a")
        const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
        const said: Array<string | undefined> = []
        while (said.at(-1) !== "QT") said.push((yield* broker.next).frames?.[0])
        assert.deepStrictEqual(said.filter((command) => command !== "HB"), ["QT"])
        // On its way before the broker heard of it.
        peer.sendUnsafe(["TR", "{\"d\":{}}"])
        peer.sendUnsafe(["QT"])
        yield* open
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(handled, ["a", "b", "c", "d"])
      }))

    it.live("stops at once while there is no broker", () =>
      Effect.gen(function*() {
        const free = yield* Effect.scoped(Effect.map(FakeBroker.make(url), (broker) => broker.url))
        yield* Effect.gen(function*() {
          const worker = yield* Worker.Worker
          const listening = yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
          yield* worker.changes.pipe(Stream.filter((state) => state._tag === "Disconnected"), Stream.runHead)
          yield* Fiber.interrupt(listening)
          assert.strictEqual((yield* worker.state)._tag, "Idle")
        }).pipe(Effect.provide(Kosmonaut.layer({ url: free, worker: { reconnect: Schedule.spaced("1 hour") } })))
      }))
  })

  describe("reconnecting", () => {
    it.live("resumes with a fresh identity after silence, after QT and after the connection's end", () =>
      Effect.gen(function*() {
        const { broker, worker } = yield* withFake({ silenceTimeout: "100 millis" })
        const got = yield* Queue.unbounded<string>()
        yield* Effect.forkScoped(worker.listen({ onMessage: ({ event }) => Queue.offer(got, event) }))
        const identities = new Set<string>()
        const connected = Effect.gen(function*() {
          const { peer } = yield* broker.nextOf("RD")
          identities.add(peer.identity)
          peer.sendUnsafe(["HB"])
          peer.sendUnsafe(["TR", "{\"event\":{}}"])
          assert.strictEqual(yield* Queue.take(got), "event")
          return peer
        })
        yield* connected // and then nothing: silence
        const second = yield* connected
        second.sendUnsafe(["QT"])
        const third = yield* connected
        if (url === "backendTcp") yield* third.close
        yield* connected
        assert.strictEqual(identities.size, 4)
      }))

    it.live("resumes each of ten times that the broker restarts while events flow", () =>
      Effect.gen(function*() {
        const first = yield* Scope.make()
        let built = yield* Layer.buildWithScope(layer(), first)
        let running = first
        const { broker, urls } = yield* Effect.provideContext(TestBroker, built)
        const ports = {
          websocketPort: broker.websocketPort,
          backendPort: broker.backendPort,
          tcpPort: broker.tcpPort
        }
        yield* Effect.gen(function*() {
          const worker = yield* Worker.Worker
          const got = yield* Queue.unbounded<unknown>()
          yield* Effect.forkScoped(worker.listen({ onMessage: ({ data: { n } }) => Queue.offer(got, n) }))
          for (let restart = 0; restart < 10; restart++) {
            for (let n = 0; n < 20; n++) yield* Effect.provideContext(trigger("flow", { n: restart * 20 + n }), built)
            for (let n = 0; n < 20; n++) assert.strictEqual(yield* Queue.take(got), restart * 20 + n)
            yield* Scope.close(running, Exit.void)
            running = yield* Scope.make()
            built = yield* Layer.buildWithScope(layer(ports), running)
          }
          yield* Scope.close(running, Exit.void)
        }).pipe(Effect.provide(Kosmonaut.layer({ url: urls[url] })))
      }).pipe(Effect.scoped))
  })

  it.live("gives its events as a stream", () =>
    within(Effect.gen(function*() {
      const worker = yield* Worker.Worker
      for (let n = 0; n < 5; n++) yield* trigger("chat/say", { n })
      const events = yield* worker.messages().pipe(Stream.take(5), Stream.runCollect)
      assert.deepStrictEqual(
        events.map(({ data, event }) => [event, data.n]),
        [0, 1, 2, 3, 4].map((n) => ["chat/say", n])
      )
      yield* once(0)
    })))
})

describe("Worker", () => {
  it.live("handles all that a connection brought which is lost meanwhile", () =>
    Effect.gen(function*() {
      const lost = yield* Deferred.make<void>()
      const got = yield* Queue.unbounded<string>()
      const closed = new KosmonautError.ConnectionError({
        reason: new KosmonautError.ConnectionClosedError({ address: "nowhere" })
      })
      const batch = [["HB"], ...["a", "b", "c", "d", "e"].map((event) => ["TR", `{"${event}":{}}`])].map((frames) => ({
        envelope: "",
        frames
      }))
      let pulls = 0
      let heartbeats = 0
      const transport = FakeTransport.make(() =>
        Effect.map(FakeTransport.connection, ({ connection }) => ({
          ...connection,
          sendUnsafe: ([{ frames: [command] }], settled) => {
            if (command !== "HB") return settled()
            if (++heartbeats === 3) Deferred.doneUnsafe(lost, Effect.void)
            settled(closed)
          },
          pull: Effect.suspend(() => Arr.isArrayNonEmpty(batch) && pulls++ === 0 ? Effect.succeed(batch) : Effect.never)
        }))
      )
      const worker = yield* Effect.provideService(
        Worker.make({ url: `wr://${token}@127.0.0.1/test`, bufferSize: 1, heartbeatInterval: "10 millis" }),
        Transport.Transport,
        transport
      )
      yield* Effect.forkScoped(
        worker.listen({ onMessage: ({ event }) => Effect.andThen(Deferred.await(lost), Queue.offer(got, event)) })
      )
      for (const event of ["a", "b", "c", "d", "e"]) assert.strictEqual(yield* Queue.take(got), event)
    }))

  it.effect.each<NonNullable<Kosmonaut.Options["worker"]>>([
    { concurrency: 0 },
    { concurrency: NaN },
    { concurrency: 1.5 },
    { bufferSize: 0 },
    { prefetch: 0 },
    { maxAttempts: 0 },
    { drainTimeout: -1 },
    { heartbeatInterval: 0 },
    { silenceTimeout: "soon" as "1 second" }
  ])(
    "fails with an option that is wrong: %o",
    (options) =>
      Effect.gen(function*() {
        const url = `wr://${token}@127.0.0.1/test`
        const error = yield* Effect.flip(Effect.provide(Worker.Worker, Kosmonaut.layer({ url, worker: options })))
        assert.deepInclude(error, { _tag: "InvalidOptionError", option: Object.keys(options)[0] })
      })
  )
})
