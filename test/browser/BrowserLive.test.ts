/**
 * Browsers with the WebSocket of the platform, and a broker with sockets.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Queue, Schema } from "effect"
import { Browser } from "../../src/browser/index.ts"
import { Channel, Event, EventGroup } from "../../src/index.ts"
import { layer, TestBroker } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"
import { untilState } from "./untilState.ts"

class Talk extends EventGroup.make("talk", Event.make("said", { payload: { text: Schema.String } })) {}
const Room = Channel.make("room", { kind: "presence", events: Talk })

describe("a browser", () => {
  it.live("subscribes, broadcasts and triggers over a WebSocket", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* TestBroker
      const handled = yield* Queue.unbounded<unknown>()
      const browser = yield* Browser.Browser.pipe(
        Effect.provide(
          yield* Layer.build(Browser.layer({
            url: urls.websocket,
            token: vhost.accessTokens.issue("joe", ".*")
          }))
        )
      )
      const room = yield* browser.subscribe(Room)
      yield* room.on("said", (data, { sid }) => Queue.offer(handled, [data, sid]))
      yield* browser.broadcast(Room, "said", { text: "hello" })
      const { sid } = yield* untilState(browser, "Connected")
      assert.deepStrictEqual(yield* Queue.take(handled), [{ text: "hello" }, sid])
      assert.deepStrictEqual((yield* room.members.get).map(({ uid }) => uid), ["joe"])
      yield* browser.trigger(Talk.events.said, { text: "queued" })
      assert.strictEqual((yield* vhost.lobby.info).queued, 1)
    }).pipe(withBroker()))

  it.live("is back when the broker is", () =>
    Effect.gen(function*() {
      const websocketPort = yield* Effect.scoped(
        Effect.gen(function*() {
          const { broker } = yield* TestBroker
          return broker.websocketPort
        }).pipe(Effect.provide(layer()))
      )
      const options = {
        url: `ws://127.0.0.1:${websocketPort}/test`,
        minBackoff: "10 millis",
        maxBackoff: "50 millis"
      } as const
      const browser = yield* Effect.provide(Browser.Browser, yield* Layer.build(Browser.layer(options)))
      assert.strictEqual((yield* untilState(browser, "Disconnected")).code, 1006)
      const first = yield* Effect.gen(function*() {
        return yield* untilState(browser, "Connected")
      }).pipe(Effect.provide(layer({ websocketPort })))
      yield* untilState(browser, "Disconnected")
      const second = yield* untilState(browser, "Connected").pipe(Effect.provide(layer({ websocketPort })))
      assert.notStrictEqual(first.sid, second.sid)
    }).pipe(Effect.scoped))
})
