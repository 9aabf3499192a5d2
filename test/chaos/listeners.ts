/**
 * Browsers that are the library, on a channel with history: the script and `kosmonaut/browser`. They write down what they hear
 * and where they are told that something is missing. Reconnecting and recovering are theirs alone.
 */
import { type Duration, Effect, Schema, Stream } from "effect"
import * as Socket from "effect/socket/Socket"
import { Browser } from "../../src/browser/index.ts"
import * as Script from "../../src/browser/script.ts"
import { Channel, type Client, Event, EventGroup } from "../../src/index.ts"
import { eventually } from "../harness/eventually.ts"
import type { Listener } from "./checker.ts"
import { tick } from "./clock.ts"

class Numbers
  extends EventGroup.make("kept", Event.make("count", { payload: { sender: Schema.String, n: Schema.Number } }))
{}
/** The channel that they are on. */
export const Kept = Channel.make("kept", { events: Numbers })

interface Heard extends Listener {
  readonly heard: Array<Listener["heard"][number]>
  since: number
}

const makeListener = (name: string): Heard => ({ name, heard: [], since: Infinity })

const byScript = Effect.fnUntraced(function*(url: string, listener: Heard) {
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => Script.connect(url)),
    ({ close }) => Effect.sync(close)
  )
  const subscription = connection.subscribe<typeof Kept>("kept")
  subscription.onState(({ _tag }) => begin(listener, _tag))
  subscription.on("kept/count", ({ n, sender }) => void listener.heard.push({ sender, n }))
  subscription.onGap((reason) => void listener.heard.push({ gap: reason }))
})

// Its gaps are a stream of their own: where they are among the events is known only by their order of arrival here.
const byBrowser = Effect.fnUntraced(function*(url: string, listener: Heard) {
  const browser = yield* Effect.provide(Browser.make({ url }), Socket.layerWebSocketConstructorGlobal)
  const subscription = yield* browser.subscribe(Kept)
  const watch = <A>(values: Stream.Stream<A>, write: (value: A) => unknown) =>
    Effect.forkScoped(Stream.runForEach(values, (value) => Effect.sync(() => write(value))))
  yield* watch(subscription.gaps, ({ reason }) => listener.heard.push({ gap: reason }))
  yield* watch(subscription.state.changes, ({ _tag }) => begin(listener, _tag))
  yield* subscription.on("count", ({ n, sender }) => Effect.sync(() => listener.heard.push({ sender, n })))
})

const begin = (listener: Heard, state: string) => {
  if (state === "Subscribed" && listener.since === Infinity) listener.since = tick()
}

/** Listens until the scope ends. */
export const beginListening = Effect.fnUntraced(function*(url: string) {
  const listeners = [makeListener("script 1"), makeListener("script 2"), makeListener("kosmonaut/browser")]
  yield* byScript(url, listeners[0]!)
  yield* byScript(url, listeners[1]!)
  yield* byBrowser(url, listeners[2]!)
  return {
    listeners: () => listeners.map(withoutLast),
    /** Broadcasts a last number until all have heard it. Returns who has not in a while, by default a minute. */
    end: Effect.fnUntraced(function*(client: Client.Client["Service"], patience: Duration.Input = "1 minute") {
      const isDone = ({ heard }: Listener) => heard.some((one) => "sender" in one && one.sender === last.sender)
      const everyone = eventually(Effect.sync(() => listeners.every(isDone)), (are) => are, Infinity)
      const again = Effect.forever(Effect.delay(Effect.ignore(client.broadcast(Kept, "count", last)), "200 millis"))
      yield* Effect.timeoutOption(Effect.raceFirst(everyone, again), patience)
      return listeners.filter((listener) => !isDone(listener))
        .map(({ name }) => `${name} did not hear the last broadcast`)
    })
  }
})

/** What is broadcast last, more than once. */
const last = { sender: "the end", n: 0 }

/** What was heard before. */
const withoutLast = (listener: Listener): Listener => ({
  ...listener,
  heard: listener.heard.filter((one) => "gap" in one || one.sender !== last.sender)
})
