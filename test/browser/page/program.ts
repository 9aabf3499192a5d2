/** What a page does with `kosmonaut/browser`, bundled for a test. */
import { DateTime, Effect, Stream } from "effect"
import { Browser } from "../../../src/browser/index.ts"
import { Chat, Room } from "./events.ts"

/** Subscribes, requests, triggers and broadcasts, and gives what became of it. */
const program = Effect.gen(function*() {
  const browser = yield* Browser.Browser
  const room = yield* browser.subscribe(Room)
  const at = DateTime.makeUnsafe("2026-01-01T00:00:00Z")
  const day = DateTime.getPartUtc(yield* browser.request(Chat.events.when, { at }), "day")
  const taken = yield* browser.request(Chat.events.rename, { to: "ann" }).pipe(
    Effect.as(""),
    Effect.catchTag("Taken", ({ by }) => Effect.succeed(by))
  )
  const crashed = yield* Effect.flip(browser.request(Chat.events.crash))
  yield* browser.trigger(Chat.events.say, { n: 5 })
  yield* browser.broadcast(Room, "said", { n: 7 })
  const said = yield* Stream.runCollect(Stream.take(room.events, 1))
  const members = yield* room.members.get
  return {
    day,
    taken,
    crashed: crashed._tag,
    said: said.map(({ data }) => data.n),
    members: members.map(({ uid }) => uid)
  }
})

const token = Effect.promise(() => fetch("/token?ann").then((response) => response.text()))

/** Runs it. */
export const outcome = (url: string) =>
  Effect.runPromise(Effect.provide(Effect.scoped(program), Browser.layer({ url, token })))
