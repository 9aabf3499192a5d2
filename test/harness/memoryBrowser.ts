/**
 * The browser of `Browser.ts`, connected to the broker of the test kit, without a socket.
 */
import { Effect } from "effect"
import { TestBroker } from "../../src/testing/index.ts"
import { eventually } from "./eventually.ts"

/** Connects. `next` and `nextOf` return each message once, in order. */
export const connect = Effect.gen(function*() {
  const { rawBrowser } = yield* TestBroker.TestBroker
  const { allReceived, send, sid } = yield* rawBrowser()
  // The first is `:connected`.
  let heard = 1
  const next = Effect.map(
    eventually(allReceived, (events) => events.length > heard),
    (events): Record<string, unknown> => {
      const { data, event } = events[heard++]!
      return { [event]: data }
    }
  )
  const nextOf = (event: string): Effect.Effect<unknown, Effect.Error<typeof next>> =>
    Effect.flatMap(next, (message) => Object.hasOwn(message, event) ? Effect.succeed(message[event]) : nextOf(event))
  return { sid, send, next, nextOf }
})
