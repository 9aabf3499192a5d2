/**
 * What backends send to users, by `kosmonaut/browser` and the broker.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Queue, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { BrowserError, Subscription } from "../../src/browser/index.ts"
import { Channel, Client, Event, EventGroup } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { eventually } from "../harness/eventually.ts"
import { costly, int, pick } from "../protocol/arbitraries.ts"
import { reconnect, untilState } from "./untilState.ts"

class News extends EventGroup.make("news", Event.make("item", { payload: { n: Schema.Number } })) {}

const within = (options?: TestBroker.BackendOptions) =>
  Effect.provide(
    TestBroker.layerBackend({ channels: [], channelRules: [{ pattern: ":user", history: true }], ...options })
  )

const send = (uid: string, n: number) => Client.Client.use((client) => client.sendToUser(uid, News.events.item, { n }))

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** Collects what an inbox gives: numbers, and the reasons of gaps. */
const listen = Effect.fnUntraced(function*({ events, gaps }: Subscription.Inbox<typeof News.events>) {
  const heard = yield* Ref.make<ReadonlyArray<number | string>>([])
  const hear = (one: number | string) => Ref.update(heard, (all) => [...all, one])
  yield* Effect.forkScoped(Stream.runForEach(gaps, ({ reason }) => hear(reason)))
  yield* Effect.forkScoped(Stream.runForEach(events, ({ data }) => hear(data.n)))
  const look = Effect.andThen(TestClock.adjust("1 second"), Ref.get(heard))
  return {
    until: (last: number) => eventually(look, (all) => all.includes(last)),
    untilOrGap: (last: number) => eventually(look, (all) => all.includes(last) || typeof all.at(-1) === "string")
  }
})

describe("the inbox of a user", () => {
  it.effect("is that of all browsers of the user, typed by a group, and of nobody else", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const [phone, laptop, ann] = yield* Effect.all([
        browser({ uid: "joe", pattern: "none" }),
        browser({ uid: "joe" }),
        browser({ uid: "ann" })
      ])
      const handled = yield* Queue.unbounded<unknown>()
      const onPhone = yield* phone.inbox(News)
      yield* onPhone.on("item", (data, event) => Queue.offer(handled, [data, event.event, event.channel, event.sid]))
      const { until } = yield* listen(yield* laptop.inbox(News))
      const other = yield* listen(yield* ann.inbox(News))
      assert.strictEqual(yield* send("joe", 1), 2)
      assert.strictEqual(yield* send("ann", 2), 1)
      assert.strictEqual(yield* send("nobody", 3), 0)
      assert.deepStrictEqual(yield* Queue.take(handled), [{ n: 1 }, "item", undefined, undefined])
      assert.deepStrictEqual(yield* until(1), [1])
      assert.deepStrictEqual(yield* other.until(2), [2])
    }).pipe(Effect.scoped, within({ channelRules: [] })))

  it.effect("goes on after a lost connection as if nothing had happened, also in parts", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      const { until } = yield* listen(yield* joe.inbox(News))
      yield* send("joe", 1)
      yield* until(1)
      yield* browserNetwork.cut
      yield* untilState(joe, "Disconnected")
      yield* Effect.forEach(range(2, 200), (n) => Effect.andThen(send("joe", n), send("ann", n)))
      yield* reconnect(joe)
      yield* send("joe", 201)
      assert.deepStrictEqual(yield* until(201), range(1, 201))
    }).pipe(Effect.scoped, within({ browsers: { outboxSize: 20_000 } })))

  it.effect("tells of a gap, and begins with the last events or after a cursor that was kept", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const errors = yield* Queue.unbounded<BrowserError.ReportedError>()
      const joe = yield* browser({ uid: "joe", onError: (error) => Queue.offer(errors, error) })
      const { until, untilOrGap } = yield* listen(yield* joe.inbox(News))
      yield* browserNetwork.cut
      yield* untilState(joe, "Disconnected")
      yield* Effect.forEach(range(1, 4), (n) => send("joe", n))
      yield* reconnect(joe)
      yield* untilOrGap(4)
      yield* send("joe", 5)
      assert.deepStrictEqual(yield* until(5), ["dropped", 5])
      const error = yield* Queue.take(errors)
      assert.strictEqual(
        error.message,
        "Events of the inbox may have been missed: the broker no longer has all of them"
      )
      const cursor = yield* Effect.scoped(Effect.gen(function*() {
        const tab = yield* browser({ uid: "joe" })
        const inbox = yield* tab.inbox(News, { rewind: 2 })
        const [first, second] = yield* Stream.runCollect(Stream.take(inbox.events, 2))
        assert.deepStrictEqual([first?.data.n, second?.data.n], [4, 5])
        return first?.cursor
      }))
      const tab = yield* browser({ uid: "joe" })
      const later = yield* listen(yield* tab.inbox(News, { since: JSON.parse(JSON.stringify(cursor)) }))
      assert.deepStrictEqual(yield* later.until(5), [5])
    }).pipe(Effect.scoped, within({ history: { count: 3 } })))

  it.effect("fails without a user", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const nobody = yield* browser()
      assert.strictEqual((yield* Effect.flip(nobody.inbox(News)))._tag, "UnauthorizedError")
    }).pipe(Effect.scoped, within()))

  it.effect("reaches browsers of the original as what is sent to one of them", () =>
    Effect.gen(function*() {
      const { rawBrowser } = yield* TestBroker.TestBroker
      const joe = yield* rawBrowser({ uid: "joe" })
      assert.strictEqual(yield* send("joe", 1), 1)
      assert.deepStrictEqual(yield* joe.received(News.events.item), { n: 1 })
      assert.deepStrictEqual(
        yield* Effect.flip(joe.subscribe(":user")).pipe(Effect.map(({ _tag }) => _tag)),
        "ChannelNotFoundError"
      )
    }).pipe(Effect.scoped, within()))

  it.effect.prop("has each event once and in order for each browser, or tells of a gap, whatever the network does", [
    Arbitrary.array(
      Arbitrary.all({
        does: pick(["say", "say", "say", "cut", "drop", "restore", "pass", "enter", "other"] as const),
        which: int(1, 9)
      }),
      { maxLength: 25 }
    ),
    pick([5, 1000]),
    pick([1, 1000])
  ], ([steps, count, maxUsers]) =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      let said = 0
      const browsers: Array<{ readonly from: number } & Effect.Success<ReturnType<typeof listen>>> = []
      const enter = Effect.gen(function*() {
        if (browsers.length > 2) return
        yield* browserNetwork.restore
        const joe = yield* browser({ uid: "joe", onError: () => Effect.void })
        browsers.push({ from: said, ...yield* listen(yield* joe.inbox(News)) })
      })
      yield* enter
      for (const { does, which } of steps) {
        if (does === "say") yield* Effect.forEach(range(1, which), () => send("joe", ++said))
        else if (does === "enter") yield* enter
        else if (does === "other") yield* Effect.forEach(range(1, which), (n) => send(`other ${n}`, n))
        else if (does === "cut") yield* browserNetwork.cut
        else if (does === "drop") yield* browserNetwork.disconnect()
        else if (does === "restore") yield* browserNetwork.restore
        else yield* TestClock.adjust(`${which} seconds`)
      }
      yield* browserNetwork.restore
      yield* send("joe", ++said)
      for (const { from, untilOrGap } of browsers) {
        const heard = yield* untilOrGap(said)
        const numbers = heard.filter((one) => typeof one === "number")
        assert.deepStrictEqual(numbers, numbers.toSorted((one, other) => one - other))
        assert.strictEqual(new Set(numbers).size, numbers.length)
        if (numbers.length === heard.length) assert.deepStrictEqual(numbers, range(from + 1, said))
        if (count === 1000 && maxUsers === 1000) assert.strictEqual(heard.length, said - from)
      }
    }).pipe(
      Effect.scoped,
      within({ history: { count, maxUsers }, browsers: { outboxSize: 8000 } })
    ), costly(25, 25))
})

class Talk extends EventGroup.make("talk", Event.make("said", { payload: { n: Schema.Number } })) {}
const Room = Channel.make("room", { kind: "private", params: { id: Schema.Number }, events: Talk })

describe("a user that a backend subscribes", () => {
  const withRooms = Effect.provide(TestBroker.layerBackend({
    channels: ["private-room-1", "private-room-2"],
    channelRules: [{ pattern: "private-room-.*", history: true }]
  }))

  it.effect("joins the channel without being allowed to, until it is unsubscribed or reconnects", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser({ uid: "joe", pattern: "none" })
      const { sid } = yield* untilState(joe, "Connected")
      assert.strictEqual((yield* Effect.flip(joe.subscribe(Room({ id: 1 }))))._tag, "ForbiddenError")
      yield* eventually(client.subscribe("joe", Room({ id: 1 })), (subscribed) => subscribed === 1)
      assert.strictEqual(yield* client.subscribe("joe", Room({ id: 1 })), 0)
      const room = yield* joe.subscribe(Room({ id: 1 }))
      const heard = yield* Queue.unbounded<number>()
      yield* room.on("said", ({ n }) => Queue.offer(heard, n))
      yield* client.broadcast(Room({ id: 1 }), "said", { n: 1 })
      assert.strictEqual(yield* Queue.take(heard), 1)
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers(Room({ id: 1 }))), [
        { sid, uid: "joe", info: undefined, data: {}, isAway: false }
      ])
      assert.strictEqual(yield* client.unsubscribe("joe", Room({ id: 1 })), 1)
      assert.match(yield* untilFailed(room), /a backend has unsubscribed this browser/)
      yield* client.subscribe("joe", Room({ id: 1 }))
      yield* browserNetwork.disconnect()
      yield* TestClock.adjust("20 seconds")
      yield* untilFailed(room)
      assert.strictEqual((yield* Effect.flip(client.subscribe("joe", "unknown")))._tag, "ChannelNotFoundError")
      assert.strictEqual((yield* Effect.flip(client.unsubscribe("joe", ":user")))._tag, "ChannelNotFoundError")
    }).pipe(Effect.scoped, withRooms))

  it.effect("is subscribed by its token on every connection, and misses nothing", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser({
        token: client.requestSingleAccessToken({ uid: "joe", subscribe: [Room({ id: 1 }), Room({ id: 2 })] })
      })
      const heard = yield* Queue.unbounded<number>()
      const room = yield* joe.subscribe(Room({ id: 1 }))
      yield* room.on("said", ({ n }) => Queue.offer(heard, n))
      const say = (n: number) => client.broadcast(Room({ id: 1 }), "said", { n })
      yield* say(1)
      assert.strictEqual(yield* Queue.take(heard), 1)
      yield* browserNetwork.cut
      yield* untilState(joe, "Disconnected")
      yield* Effect.forEach(range(2, 100), say)
      yield* reconnect(joe)
      yield* say(101)
      assert.deepStrictEqual(yield* Queue.takeN(heard, 100), range(2, 101))
      assert.strictEqual((yield* client.channel(Room({ id: 2 }))).subscribers, 1)
    }).pipe(Effect.scoped, withRooms))
})

const untilFailed = ({ state }: Subscription.Subscription<typeof Talk.events>) =>
  Effect.map(
    eventually(Effect.andThen(TestClock.adjust("1 second"), state.get), ({ _tag }) => _tag === "Failed"),
    (state) => state._tag === "Failed" ? state.error.message : ""
  )
