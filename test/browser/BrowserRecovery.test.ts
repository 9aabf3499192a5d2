/**
 * Recovery on channels with history, by `kosmonaut/browser` and the broker.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Option, Queue, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Browser, BrowserError, Subscription } from "../../src/browser/index.ts"
import { Channel, Client, Event, EventGroup } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { eventually } from "../harness/eventually.ts"
import { costly, int, pick } from "../protocol/arbitraries.ts"
import { reconnect, untilState } from "./untilState.ts"

class Talk extends EventGroup.make("talk", Event.make("said", { payload: { n: Schema.Number } })) {}
const News = Channel.make("news", { events: Talk })

const news = [{ pattern: "news", history: true }]

const within = (options?: TestBroker.BackendOptions) =>
  Effect.provide(TestBroker.layerBackend({ channels: ["news"], channelRules: news, ...options }))

/** Broadcasts the numbers of a range. */
const say = (from: number, to = from) =>
  Client.Client.use((client) =>
    Effect.forEach(range(from, to), (n) => client.broadcast(News, "said", { n }), { discard: true })
  )

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** Collects what a subscription gives. */
const listen = Effect.fnUntraced(function*({ events, gaps }: Subscription.Subscription<typeof Talk.events>) {
  const heard = yield* Ref.make<ReadonlyArray<number | string>>([])
  const cursors = yield* Queue.unbounded<Subscription.Cursor | undefined>()
  yield* Effect.forkScoped(Stream.runForEach(gaps, ({ reason }) => Ref.update(heard, (all) => [...all, reason])))
  yield* Effect.forkScoped(
    Stream.runForEach(
      events,
      ({ cursor, data }) => Effect.andThen(Queue.offer(cursors, cursor), Ref.update(heard, (all) => [...all, data.n]))
    )
  )
  const look = Effect.andThen(TestClock.adjust("1 second"), Ref.get(heard))
  return {
    cursors,
    until: (last: number) => eventually(look, (all) => all.includes(last)),
    /** Until this one was heard, or a gap that it may be in. */
    untilOrGap: (last: number) => eventually(look, (all) => all.includes(last) || typeof all.at(-1) === "string")
  }
})

const away = (browser: Browser.Browser["Service"]) =>
  Effect.gen(function*() {
    const { browserNetwork } = yield* TestBroker.TestBroker
    yield* browserNetwork.cut
    yield* untilState(browser, "Disconnected")
  })

describe("a subscription of a channel with history", () => {
  it.effect("goes on after a lost connection as if nothing had happened", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const joe = yield* browser()
      const { until } = yield* listen(yield* joe.subscribe(News))
      yield* say(1, 2)
      yield* until(2)
      yield* away(joe)
      yield* say(3, 200)
      yield* reconnect(joe)
      yield* say(201)
      assert.deepStrictEqual(yield* until(201), range(1, 201))
      // In parts of a quarter of this.
    }).pipe(within({ browsers: { outboxSize: 20_000 } })))

  it.effect("tells of a gap, by the stream and to onError, when the broker no longer has all", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const errors = yield* Queue.unbounded<BrowserError.ReportedError>()
      const joe = yield* browser({ onError: (error) => Queue.offer(errors, error) })
      const { until, untilOrGap } = yield* listen(yield* joe.subscribe(News))
      yield* away(joe)
      yield* say(1, 4)
      yield* reconnect(joe)
      yield* untilOrGap(4)
      yield* say(5)
      assert.deepStrictEqual(yield* until(5), ["dropped", 5])
      const error = Option.getOrThrow(yield* Queue.poll(errors))
      assert.strictEqual(error._tag, "EventsMissedError")
      assert.strictEqual(error.message, "Events on \"news\" may have been missed: the broker no longer has all of them")
    }).pipe(within({ history: { count: 3 } })))

  it.effect("begins with the last events, or after a cursor that was kept", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      yield* say(1, 5)
      const kept = yield* Effect.scoped(Effect.gen(function*() {
        const joe = yield* browser()
        const { cursors, until } = yield* listen(yield* joe.subscribe(News, { rewind: 3 }))
        assert.deepStrictEqual(yield* until(5), [3, 4, 5])
        return (yield* Queue.takeAll(cursors))[1]
      }))
      yield* say(6)
      const joe = yield* browser()
      const news = yield* joe.subscribe(News, { since: JSON.parse(JSON.stringify(kept)) })
      assert.deepStrictEqual(yield* (yield* listen(news)).until(6), [5, 6])
    }).pipe(within()))

  it.effect("has a cursor before the first event", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const cursor = yield* Effect.scoped(Effect.gen(function*() {
        const joe = yield* browser()
        const news = yield* joe.subscribe(News)
        const state = yield* news.state.get
        return state._tag === "Subscribed" ? state.cursor : undefined
      }))
      yield* say(1)
      const joe = yield* browser()
      assert.deepStrictEqual(yield* (yield* listen(yield* joe.subscribe(News, { since: cursor }))).until(1), [1])
    }).pipe(within()))

  it.effect.prop("hears exactly what was broadcast, or of a gap, whatever the network does", [
    Arbitrary.array(
      Arbitrary.all({ does: pick(["say", "say", "cut", "drop", "restore", "pass"] as const), which: int(1, 9) }),
      { maxLength: 25 }
    ),
    pick([5, 1000])
  ], ([steps, count]) =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const joe = yield* browser({ onError: () => Effect.void })
      const { untilOrGap } = yield* listen(yield* joe.subscribe(News))
      let said = 0
      for (const { does, which } of steps) {
        if (does === "say") {
          yield* say(said + 1, said + which)
          said += which
        } else if (does === "cut") yield* browserNetwork.cut
        else if (does === "drop") yield* browserNetwork.disconnect()
        else if (does === "restore") yield* browserNetwork.restore
        else yield* TestClock.adjust(`${which} seconds`)
      }
      yield* browserNetwork.restore
      yield* say(said + 1)
      const heard = yield* untilOrGap(said + 1)
      const numbers = heard.filter((one) => typeof one === "number")
      assert.deepStrictEqual(numbers, numbers.toSorted((one, other) => one - other))
      if (numbers.length === heard.length) assert.deepStrictEqual(numbers, range(1, said + 1))
      assert.strictEqual(new Set(numbers).size, numbers.length)
      if (count === 1000) assert.strictEqual(heard.length, said + 1)
    }).pipe(Effect.scoped, within({ history: { count }, browsers: { outboxSize: 8000 } })), costly(25, 25))
})
