/** Who waits until a broadcast is stored, and who does not. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Result } from "effect"
import { Client } from "../../src/index.ts"
import * as BrowserSession from "../../src/server/endpoint/BrowserSession.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeBrowser from "../harness/FakeBrowser.ts"
import { diskFull, hesitating } from "../harness/hesitating.ts"
import { tagOf } from "../harness/tagOf.ts"

const broker = hesitating({
  channels: ["room", "other"],
  channelRules: [{ pattern: "room", history: true }],
  browsers: { broadcast: true }
})

/** A browser on both channels. */
const subscribed = Effect.gen(function*() {
  const { vhost } = yield* testBroker
  const browser = FakeBrowser.make("joe", undefined, 1)
  const session = BrowserSession.make(vhost, browser)
  for (const channel of ["room", "other"]) yield* session.handle(JSON.stringify({ subscribe: { channel } }))
  browser.received()
  return { browser, send: (event: string, payload: object) => session.handle(JSON.stringify({ [event]: payload })) }
})

const outcomes = [
  { name: "is stored", exit: Effect.void, answer: undefined, codes: ["ok", "ok", "ChannelNotFoundError"] },
  {
    name: "cannot be stored",
    exit: Effect.fail(diskFull),
    answer: "ProtocolError/InternalError",
    codes: ["ProtocolError/InternalError", "ok", "ChannelNotFoundError"]
  }
]

/** The outcome of a call, and whether there is one. */
const begin = <A>(call: Effect.Effect<A, { readonly _tag: string }>) =>
  Effect.forkScoped(Effect.match(call, { onFailure: tagOf, onSuccess: (value) => value }), { startImmediately: true })

describe("a broadcast on a channel with history", () => {
  it.effect.each(outcomes)(
    "is delivered at once, and its Client has the response when it $name",
    ({ answer, exit }) =>
      Effect.gen(function*() {
        const { context, gate } = yield* broker
        yield* Effect.gen(function*() {
          const client = yield* Client.Client
          const { browser } = yield* subscribed
          const waiting = yield* begin(client.broadcast("room", "said", { n: 1 }))
          // Later ones on the same connection, without history, do not wait.
          yield* client.broadcast("other", "said", { n: 2 })
          expect(waiting.pollUnsafe()).toBe(undefined)
          expect(browser.received()).toMatchObject([{ said: { n: 1 } }, { said: { n: 2 } }])
          yield* Deferred.done(gate, yield* Effect.exit(exit))
          expect(yield* Fiber.join(waiting)).toBe(answer)
        }).pipe(Effect.provide(context))
      })
  )

  it.effect.each(outcomes)(
    "has a code of its own among many, when it $name",
    ({ codes, exit }) =>
      Effect.gen(function*() {
        const { context, gate } = yield* broker
        yield* Effect.gen(function*() {
          const client = yield* Client.Client
          const { browser } = yield* subscribed
          const broadcasts = ["room", "other", "missing"].map((channel) => ({ channel, event: "said", data: {} }))
          const waiting = yield* begin(Effect.map(
            client.broadcastAll(broadcasts),
            (results) => results.map((result) => Result.isSuccess(result) ? "ok" : tagOf(result.failure))
          ))
          yield* eventually(Effect.sync(() => browser.received().length), (count) => count > 0)
          expect(waiting.pollUnsafe()).toBe(undefined)
          yield* Deferred.done(gate, yield* Effect.exit(exit))
          expect(yield* Fiber.join(waiting)).toEqual(codes)
        }).pipe(Effect.provide(context))
      })
  )

  it.effect.each(outcomes)(
    "is confirmed to the browser that sends it when it $name",
    ({ answer, exit }) =>
      Effect.gen(function*() {
        const { context, gate } = yield* broker
        yield* Effect.gen(function*() {
          const { vhost } = yield* testBroker
          const { browser, send } = yield* subscribed
          yield* send("broadcast", { channel: "room", event: "said", data: { n: 1 }, id: 1 })
          expect(browser.received()).toMatchObject([{ said: { n: 1 } }])
          // Without history it is confirmed at once.
          yield* send("broadcast", { channel: "other", event: "said", data: { n: 2 }, id: 2 })
          expect(browser.received()).toMatchObject([{ said: { n: 2 } }, { ":triggered": { id: 2 } }])
          const persisted = yield* Effect.forkScoped(Effect.exit(vhost.journal.persisted), { startImmediately: true })
          yield* Deferred.done(gate, yield* Effect.exit(exit))
          yield* Fiber.join(persisted)
          expect(browser.received()).toMatchObject([
            answer === undefined ? { ":triggered": { id: 1 } } : { ":error": { code: 597, event: "broadcast", id: 1 } }
          ])
        }).pipe(Effect.provide(context))
      })
  )
})
