/**
 * Browsers at the WebSocket port of a test's broker.
 */
import { expect } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Browser from "./Browser.ts"
import * as RawWebSocket from "./RawWebSocket.ts"
import { TestBroker } from "./TestBroker.ts"

/** A browser with the test's vhost. */
export const connectBrowser = Effect.flatMap(TestBroker, ({ urls }) => Browser.connect(urls.websocket))

/** A browser made by hand, past its greeting. */
export const rawBrowser = Effect.gen(function*() {
  const { broker } = yield* TestBroker
  const raw = yield* RawWebSocket.connect(broker.websocketPort, "/test")
  yield* raw.next
  return raw
})

export const grant = (uid: string, pattern = ".*") =>
  Effect.flatMap(TestBroker, ({ vhost }) => Effect.map(vhost.accessTokens.issue(uid, pattern), Redacted.value))

export const subscribe = Effect.fnUntraced(function*(browser: Browser.Browser, channel: string) {
  yield* browser.send({ subscribe: { channel } })
  yield* browser.nextOf(":subscribed")
})

/** How many browsers are on a channel. */
export const subscribers = (name: string) =>
  Effect.flatMap(
    TestBroker,
    ({ vhost }) => Effect.map(vhost.channels.list, (list) => list.find((channel) => channel.name === name)?.subscribers)
  )

/** That the broker still serves: a fresh browser can join and speak. */
export const stillServes = Effect.scoped(Effect.gen(function*() {
  const browser = yield* connectBrowser
  yield* subscribe(browser, "room")
  yield* browser.send({ broadcast: { channel: "room", event: "still", data: {} } })
  expect(yield* browser.nextOf("still")).toEqual({ channel: "room", sid: browser.sid })
}))
