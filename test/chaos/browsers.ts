/**
 * Browsers that trigger numbered events and write down what became of each, and browsers that write down what they
 * receive. Their connections end now and then; they come back.
 */
import { type Cause, Deferred, Effect, Exit, Fiber, Redacted } from "effect"
import { Client } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import type { Subscription } from "./checker.ts"
import { tick } from "./clock.ts"

/** The channels of the vhost. The last is for the browsers' own questions. */
export const channels = ["red", "green", "sync"] as const

/** One connection after the other, as long as `goesOn`. */
const again = <E, R>(connection: Effect.Effect<void, E, R>, goesOn: () => boolean) =>
  Effect.whileLoop({
    while: goesOn,
    body: () => Effect.catch(Effect.scoped(connection), () => Effect.sleep("50 millis")),
    step: () => {}
  })

/** How many browsers trigger, and how many events each at once. */
const browsers = 3
const burst = 10

/**
 * Browsers that trigger events and wait for `pause` milliseconds after each burst, until they are told to end. `client` gets them their
 * tokens.
 */
export const beginTriggering = Effect.fnUntraced(function*(
  url: string,
  client: Client.Client["Service"],
  pause: number
) {
  const triggered = new Map<number, number>()
  const confirmed = new Map<number, number>()
  const refused = new Set<number>()
  const unknown = new Set<number>()
  let enough = false
  let next = 0

  const trigger = Effect.fnUntraced(function*(browser: Browser.Browser) {
    const waiting = new Set(Array.from({ length: burst }, () => next++))
    for (const n of waiting) {
      triggered.set(n, Date.now())
      // Until it is known.
      unknown.add(n)
      yield* browser.send({ trigger: { event: "count", data: { n }, id: n } })
    }
    while (waiting.size > 0) {
      const { n, outcome } = yield* nextAnswer(browser)
      waiting.delete(n)
      if (outcome !== "unknown") unknown.delete(n)
      if (outcome === "confirmed") confirmed.set(n, Date.now())
      if (outcome === "refused") refused.add(n)
    }
    yield* Effect.sleep(pause)
  })
  const connection = Effect.gen(function*() {
    const token = yield* client.requestSingleAccessToken("joe", ".*")
    const browser = yield* Browser.connect(url)
    yield* browser.send({ auth: { token: Redacted.value(token) } })
    yield* authenticated(browser)
    while (!enough) yield* trigger(browser)
  })
  const fibers = yield* Effect.replicateEffect(Effect.forkScoped(again(connection, () => !enough)), browsers)
  return {
    triggered,
    confirmed,
    refused,
    unknown,
    end: Effect.suspend(() => {
      enough = true
      return Fiber.joinAll(fibers)
    })
  }
})

// A node that does not reach Redis answers with an error; maybe another one does.
const authenticated = (browser: Browser.Browser): Effect.Effect<void, unknown> =>
  Effect.flatMap(browser.next, (message) =>
    ":authenticated" in message
      ? Effect.void
      : ":error" in message
      ? Effect.fail(message)
      : authenticated(browser))

interface Answer {
  readonly n: number
  readonly outcome: "confirmed" | "refused" | "unknown"
}

const nextAnswer = (browser: Browser.Browser): Effect.Effect<Answer, Cause.Done> =>
  Effect.flatMap(browser.next, (message) => {
    const about = (message[":triggered"] ?? message[":error"]) as
      | { readonly id?: unknown; readonly reason?: string }
      | undefined
    if (typeof about?.id !== "number") return nextAnswer(browser)
    // A node that does not reach the others may not know.
    const failed = about.reason?.includes("may be queued") === true ? "unknown" : "refused"
    return Effect.succeed({ n: about.id, outcome: ":triggered" in message ? "confirmed" : failed })
  })

/** Browsers that receive what is broadcast, one of them on one channel only, until they are told to end. */
export const beginReceiving = Effect.fnUntraced(function*(url: string, browsers: number) {
  const subscriptions: Array<Subscription> = []
  let enough = false

  const connection = (number: number) =>
    Effect.gen(function*() {
      const browser = yield* Browser.connect(url)
      const name = `browser ${number}, connection ${subscriptions.length}`
      const on = number === 0 ? [channels[0]] : channels.slice(0, 2)
      const receiving = receiveOn(browser, { name, channels: on, asked: tick() })
      subscriptions.push(receiving.subscription)
      yield* Effect.raceFirst(receiving.receive, Effect.andThen(receiving.begin, receiving.sync(() => enough)))
    })
  const fibers = yield* Effect.forEach(
    Array.from({ length: browsers }, (_, number) => number),
    (number) => Effect.forkScoped(again(connection(number), () => !enough))
  )
  return {
    subscriptions,
    /** Ends them; each has received then what the broker had for it. */
    end: Effect.suspend(() => {
      enough = true
      return Fiber.joinAll(fibers)
    })
  }
})

/** Receives on one connection, and asks the broker for what it answers in any case, after all that it had for this browser. */
const receiveOn = (browser: Browser.Browser, who: Pick<Subscription, "name" | "channels" | "asked">) => {
  const received: Array<Subscription["received"][number]> = []
  const subscription = { ...who, subscribed: Infinity, synced: -1, received }
  let waits: { readonly answer: string; readonly channel: string; readonly done: Deferred.Deferred<void> } | undefined

  const receive = Effect.forever(Effect.flatMap(browser.next, (message) => {
    const [event, data] = Object.entries(message)[0]! as [string, Record<string, unknown>]
    if (event === "count") received.push(data as unknown as Subscription["received"][number])
    if (event === waits?.answer && data["channel"] === waits.channel) Deferred.doneUnsafe(waits.done, Exit.void)
    // Its node does not reach the others; maybe another one does.
    return event === ":error" ? Effect.fail(data) : Effect.void
  }))
  const ask = Effect.fnUntraced(function*(question: string, channel: string) {
    const done = yield* Deferred.make<void>()
    waits = { answer: `:${question}d`, channel, done }
    yield* browser.send({ [question]: { channel } })
    yield* Deferred.await(done)
  })
  const begin = Effect.gen(function*() {
    for (const channel of who.channels) yield* ask("subscribe", channel)
    subscription.subscribed = tick()
  })
  const sync = Effect.fnUntraced(function*(isLast: () => boolean) {
    for (let last = false, subscribed = false; !last; subscribed = !subscribed) {
      last = isLast()
      const at = tick()
      yield* ask(subscribed ? "unsubscribe" : "subscribe", channels[2])
      subscription.synced = at
      if (!last) yield* Effect.sleep("50 millis")
    }
  })
  return { subscription, receive, begin, sync }
}
