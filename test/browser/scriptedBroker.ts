/**
 * A broker that a test plays: it sees what a browser sends, and says what the test says.
 */
import { Effect, Queue } from "effect"
import { Browser } from "../../src/browser/index.ts"

type Listener = Parameters<ReturnType<Browser.WebSocketConstructor>["addEventListener"]>[1]

/** The broker's end of the connections, of which the last one counts. */
export interface ScriptedBroker {
  readonly open: Browser.WebSocketConstructor
  /** The next message of the browser: its name and its payload. */
  readonly received: Effect.Effect<readonly [name: string, payload: Record<string, unknown>]>
  readonly send: (name: string, payload: object) => Effect.Effect<void>
  /** Accepts the connection, and the user. */
  readonly accept: Effect.Effect<void>
  readonly close: (code: number) => Effect.Effect<void>
}

/** Makes a broker that waits for connections. */
export const make = Effect.gen(function*() {
  const messages = yield* Queue.unbounded<string>()
  let listeners = new Map<string, Listener>()
  const received = Effect.map(
    Queue.take(messages),
    (text) => Object.entries(JSON.parse(text) as object)[0]! as [string, Record<string, unknown>]
  )
  const send = (name: string, payload: object) =>
    Effect.sync(() => listeners.get("message")?.({ data: JSON.stringify({ [name]: payload }) }))
  const broker: ScriptedBroker = {
    open: () => {
      const own = new Map<string, Listener>()
      listeners = own
      return {
        readyState: 1,
        addEventListener: (type, listener) => void own.set(type, listener),
        removeEventListener: () => {},
        close: () => own.clear(),
        send: (text) => {
          const parsed: unknown = JSON.parse(String(text))
          for (const message of [parsed].flat()) Queue.offerUnsafe(messages, JSON.stringify(message))
        }
      }
    },
    received,
    send,
    accept: Effect.gen(function*() {
      yield* send(":connected", { sid: "sid", v: 1 })
      const [name] = yield* received
      if (name !== "auth") return yield* Effect.die(new Error(`the browser has sent ${name}`))
      yield* send(":authenticated", { uid: "joe" })
    }),
    close: (code) => Effect.sync(() => listeners.get("close")?.({ code, reason: "" }))
  }
  return broker
})

/** A browser of this broker, with a user. */
export const connect = (broker: ScriptedBroker, options: Omit<Browser.Options, "url"> = {}) =>
  Browser.make({ url: "ws://scripted/test", token: Effect.succeed("token"), ...options }).pipe(
    Effect.provideService(Browser.WebSocketConstructor, broker.open)
  )
