/**
 * The browser's side of the chat of `chat.ts`, for a front end with Effect.
 */
import { Console, Duration, Effect, Stream } from "effect"
import { Browser, ConnectionState } from "kosmonaut/browser"
import { Chat, Room } from "./chat-events.ts"

/** The connection. A backend of yours responds to `/token` with a single access token of the user. */
export const BrowserLive = Browser.layer({
  url: "wss://example.com/chat",
  token: Effect.tryPromise(() => fetch("/token").then((response) => response.text()))
})

export const chat = Effect.gen(function*() {
  const browser = yield* Browser.Browser
  const room = yield* browser.subscribe(Room, { data: { name: "Ann" } })
  yield* room.on("said", ({ by, text }) => Console.log(`${by}: ${text}`))
  yield* browser.trigger(Chat.events.say, { text: "hello" })
  return yield* Effect.never
})

export const main = chat.pipe(Effect.scoped, Effect.provide(BrowserLive))

/** What was said before, if this browser came later. */
export const history = Effect.gen(function*() {
  const browser = yield* Browser.Browser
  return yield* browser.request(Chat.events.history)
})

/** Shows how the connection stands. */
export const showState = Effect.gen(function*() {
  const browser = yield* Browser.Browser
  const text = ConnectionState.ConnectionState.$match({
    Connecting: () => "connecting …",
    Connected: ({ uid }) => `connected as ${uid ?? "nobody"}`,
    Disconnected: ({ retryAfter }) => `connecting again in ${Duration.format(retryAfter)}`,
    Closed: ({ reason }) => `closed: ${reason}`
  })
  yield* Stream.runForEach(browser.changes, (state) => Console.log(text(state)))
})

/** Shows who is there, again whenever somebody joins or leaves. */
export const showMembers = Effect.gen(function*() {
  const browser = yield* Browser.Browser
  const room = yield* browser.subscribe(Room)
  yield* Stream.runForEach(
    room.members.changes,
    (members) => Console.log(members.map(({ uid }) => uid).join(", "))
  )
})

/** Says something, and what became of it if that failed. */
export const say = Effect.fnUntraced(function*(text: string) {
  const browser = yield* Browser.Browser
  return yield* browser.trigger(Chat.events.say, { text }, { timeout: "30 seconds" }).pipe(
    Effect.as("sent"),
    Effect.catchTags({
      RequestTimeoutError: ({ wasSent }) => Effect.succeed(wasSent === "no" ? "not sent" : "perhaps sent"),
      UnauthorizedError: () => Effect.succeed("please log in"),
      ProtocolError: ({ message }) => Effect.succeed(message)
    })
  )
})
