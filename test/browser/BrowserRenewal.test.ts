/**
 * Authentications that end, in the library and in the script: they are renewed on the same connection, and where that is not
 * possible the browser comes back with another token.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Queue, Redacted, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Browser } from "../../src/browser/index.ts"
import { Channel, Client, Event, EventGroup } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { connect } from "../harness/Browser.ts"
import { engineOf } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import { secret, sign } from "../harness/signedTokens.ts"
import * as Real from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"
import { untilState } from "./untilState.ts"

class Talk extends EventGroup.make("talk", Event.make("said", { payload: { text: Schema.String } })) {}
const Room = Channel.make("room", { kind: "presence", events: Talk })

const within = Effect.provide(
  TestBroker.layerBackend({ channels: ["presence-room"], browsers: { broadcast: true } })
)

/** Time passes in small steps, in which messages travel. */
const pass = (time: Duration.Input) =>
  Effect.forEach(
    Array.from({ length: Duration.toSeconds(Duration.fromInputUnsafe(time)) / 10 }),
    () => TestClock.adjust("10 seconds"),
    { discard: true }
  )

/** Tokens that end after ten minutes, and how many were fetched. While `fails` is set none can be. */
const tenMinutes = Effect.gen(function*() {
  const { vhost } = yield* TestBroker.TestBroker
  const fetched = yield* Ref.make(0)
  const fails = yield* Ref.make(false)
  const token = Effect.gen(function*() {
    yield* Ref.update(fetched, (n) => n + 1)
    if (yield* Ref.get(fails)) return yield* Effect.fail("the endpoint is down")
    return yield* vhost.issueToken("joe", ".*", { expiresIn: "10 minutes" })
  })
  return { fetched, fails, token }
})

describe("a browser whose authentication ends", () => {
  it.effect("renews it before, and stays subscribed on the same connection", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const { fetched, token } = yield* tenMinutes
      const joe = yield* browser({ token })
      const room = yield* joe.subscribe(Room)
      const said = yield* Queue.unbounded<string>()
      yield* room.on("said", ({ text }) => Queue.offer(said, text))
      const { sid } = yield* untilState(joe, "Connected")
      for (let times = 1; times <= 3; times++) {
        yield* pass("470 seconds")
        assert.strictEqual(yield* Ref.get(fetched), times)
        yield* pass("10 seconds")
        assert.strictEqual(yield* Ref.get(fetched), times + 1)
        yield* client.broadcast(Room, "said", { text: `${times}` })
        assert.strictEqual(yield* Queue.take(said), `${times}`)
      }
      assert.strictEqual((yield* untilState(joe, "Connected")).sid, sid)
    }).pipe(within))

  it.effect("comes back with another token if none could be fetched in time", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const { fails, token } = yield* tenMinutes
      const joe = yield* browser({ token, onError: () => Effect.void })
      yield* joe.subscribe(Room)
      const { sid } = yield* untilState(joe, "Connected")
      const lost = yield* Effect.forkChild(untilState(joe, "Disconnected"), { startImmediately: true })
      yield* Ref.set(fails, true)
      yield* pass("590 seconds")
      assert.strictEqual((yield* untilState(joe, "Connected")).isAuthenticated, true)
      yield* pass("10 seconds")
      assert.deepInclude(yield* Fiber.join(lost), { code: 4501, reason: "the authentication has expired" })
      assert.strictEqual((yield* vhost.counts).subscriptions, 0)
      yield* Ref.set(fails, false)
      yield* pass("1 minute")
      assert.notStrictEqual((yield* untilState(joe, "Connected")).sid, sid)
      yield* eventually(vhost.counts, ({ subscriptions }) => subscriptions === 1)
    }).pipe(within))

  it.effect("renews a stateless token, which the broker verifies, however short the rest of its time is", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const fetched = yield* Ref.make(0)
      const token = Effect.gen(function*() {
        const count = yield* Ref.updateAndGet(fetched, (n) => n + 1)
        const jwt = yield* sign({ sub: "joe", exp: [600, 601][count - 1] ?? 1200, pattern: ".*" })
        return { jwt: Redacted.make(jwt) }
      })
      const joe = yield* browser({ token })
      yield* joe.subscribe(Room)
      const { sid, uid } = yield* untilState(joe, "Connected")
      assert.strictEqual(uid, "joe")
      // Signatures are verified in real time, in which the clock must stand still.
      const { authentications } = engineOf(vhost)
      const begin = authentications.nextDue()!
      const endsLater = (millis: number) =>
        eventually(Effect.sync(() => authentications.nextDue()), (due) => due === begin + millis)
      yield* pass("480 seconds")
      assert.strictEqual(yield* Ref.get(fetched), 1)
      // 80 % of 610 seconds, and of what then is left.
      yield* pass("10 seconds")
      yield* endsLater(1000)
      yield* pass("100 seconds")
      yield* endsLater(600_000)
      assert.strictEqual(yield* Ref.get(fetched), 3)
      yield* pass("5 minutes")
      assert.strictEqual((yield* untilState(joe, "Connected")).sid, sid)
      assert.strictEqual((yield* vhost.counts).subscriptions, 1)
    }).pipe(Effect.provide(TestBroker.layer({ channels: ["presence-room"], jwt: { secret, anyVhost: true } }))))

  it.effect("fetches another token if the first one has expired on its way", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const fetched = yield* Ref.make(0)
      const token = Effect.gen(function*() {
        const isFirst = (yield* Ref.updateAndGet(fetched, (n) => n + 1)) === 1
        const issued = yield* vhost.issueToken("joe", ".*", { expiresIn: "1 second" })
        if (isFirst) yield* Effect.sleep("2 seconds")
        return issued
      })
      const joe = yield* browser({ token })
      const subscribed = yield* Effect.forkChild(joe.subscribe(Room))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(subscribed)
      assert.strictEqual(yield* Ref.get(fetched), 2)
    }).pipe(within))

  it.effect("loses the channels that its next token does not allow, and hears of it", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const pattern = yield* Ref.make(".*")
      const token = Effect.flatMap(Ref.get(pattern), (pattern) =>
        vhost.issueToken("joe", pattern, { expiresIn: "10 minutes" }))
      const joe = yield* browser({ token })
      const { state } = yield* joe.subscribe(Room)
      const tags = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(
        Stream.runForEach(state.changes, ({ _tag }) =>
          Queue.offer(tags, _tag)),
        { startImmediately: true }
      )
      assert.strictEqual(yield* Queue.take(tags), "Subscribed")
      yield* Ref.set(pattern, "nothing")
      yield* pass("8 minutes")
      assert.strictEqual(yield* Queue.take(tags), "Failed")
      assert.strictEqual((yield* vhost.counts).subscriptions, 0)
      yield* Ref.set(pattern, ".*")
      yield* pass("8 minutes")
      assert.strictEqual(yield* Queue.take(tags), "Subscribed")
    }).pipe(within))

  it.live("renews it over a WebSocket", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* Real.TestBroker
      const renewedTwice = yield* Deferred.make<void>()
      const fetched = yield* Ref.make(0)
      const options = {
        url: urls.websocket,
        token: Effect.gen(function*() {
          if ((yield* Ref.updateAndGet(fetched, (n) => n + 1)) === 4) yield* Deferred.succeed(renewedTwice, undefined)
          return yield* vhost.accessTokens.issue("joe", ".*", { expiresIn: 1000 })
        })
      }
      const joe = yield* Effect.provide(Browser.Browser, yield* Layer.build(Browser.layer(options)))
      const room = yield* joe.subscribe(Room)
      const { sid } = yield* untilState(joe, "Connected")
      // After 1.6 seconds two of them have ended.
      yield* Deferred.await(renewedTwice)
      const said = yield* Queue.unbounded<string>()
      yield* room.on("said", ({ text }) => Queue.offer(said, text))
      yield* vhost.channels.broadcast(Room.name, "talk/said", { text: "hello" })
      assert.strictEqual(yield* Queue.take(said), "hello")
      assert.strictEqual((yield* untilState(joe, "Connected")).sid, sid)
    }).pipe(withBroker()))
})

describe("a stranger", () => {
  it.live("gains nothing by a token that it has seen", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* Real.TestBroker
      const issue = (uid: string, expiresIn: number) =>
        Effect.map(vhost.accessTokens.issue(uid, ".*", { expiresIn }), Redacted.value)
      const [joe, stranger] = [yield* connect(`${urls.websocket}?v=1`), yield* connect(`${urls.websocket}?v=1`)]
      const token = yield* issue("joe", 2000)
      yield* joe.send({ auth: { token } })
      yield* joe.nextOf(":authenticated")
      yield* stranger.send({ auth: { token: yield* issue("eve", 60_000) } })
      yield* stranger.nextOf(":authenticated")
      // Neither renews with a token that is used, and the stranger stays who it is.
      for (const browser of [joe, stranger]) {
        yield* browser.send({ auth: { token } })
        assert.deepInclude(yield* browser.nextOf(":error"), { code: 402, event: "auth" })
      }
      yield* stranger.send({ subscribe: { channel: Room.name } })
      assert.deepInclude(yield* stranger.nextOf(":subscribed"), { uid: "eve" })
      // A token that has ended before it was used.
      const late = yield* issue("joe", 200)
      assert.strictEqual(yield* joe.closed, 4501)
      yield* stranger.send({ auth: { token: late } })
      assert.deepInclude(yield* stranger.nextOf(":error"), { code: 402, event: "auth" })
      yield* stranger.send({ ping: {} })
      yield* stranger.nextOf(":pong")
    }).pipe(withBroker()))
})
