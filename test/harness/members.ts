/**
 * Members of `presence-room`: browsers with the library, on the broker of the test kit.
 */
import { Effect, Layer } from "effect"
import { Channel, Event, EventGroup } from "../../src/events/index.ts"
import type { JsonObject } from "../../src/protocol/Json.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { eventually } from "./eventually.ts"

class Talk extends EventGroup.make("talk", Event.make("said")) {}

const Room = Channel.make("room", { kind: "presence", events: Talk })

/** A user's browser that has subscribed. */
export const subscribedAs = Effect.fnUntraced(function*(
  uid: string,
  options: { readonly info?: JsonObject; readonly data?: object; readonly hidden?: boolean }
) {
  const { browser, vhost } = yield* TestBroker.TestBroker
  const joined = yield* browser({ token: vhost.issueToken(uid, ".*", { info: options.info }) })
  const room = yield* joined.subscribe(Room, options)
  const state = yield* eventually(joined.state, ({ _tag }) => _tag === "Connected")
  return { browser: joined, room, sid: state._tag === "Connected" ? state.sid : "" }
})

/** Runs a test with a broker of its own. */
export const within = (options: TestBroker.BackendOptions = {}) =>
  Effect.provide(Layer.fresh(TestBroker.layerBackend({ channels: ["presence-room", "room"], ...options })))
