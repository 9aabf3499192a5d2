/** How long broadcasts and events take, as the broker measures and exports it. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Metric } from "effect"
import type { Browser as Subscriber } from "../../src/server/domain/Browser.ts"
import * as Lags from "../../src/server/engine/internal/lags.ts"
import { sendAsStranger } from "../harness/admin.ts"
import { ackingWorker, delivery, enqueue, event, transports } from "../harness/backends.ts"
import * as Browser from "../harness/Browser.ts"
import { eventually } from "../harness/eventually.ts"
import * as Prometheus from "../harness/prometheus.ts"
import { TestBroker } from "../harness/TestBroker.ts"
import * as Vhost from "../harness/vhost.ts"
import { withBroker } from "../harness/withBroker.ts"

const broadcastLag = "kosmonaut_broker_broadcast_lag_seconds"
const eventLag = "kosmonaut_broker_event_lag_seconds"

const broker = withBroker({ admin: { port: 0 }, channelRules: [{ pattern: "room", history: true }] })

/** Metrics that are not those of other tests. */
const alone = Effect.provideService(Metric.MetricRegistry, new Map())

/** What `/metrics` has of a histogram, by its labels. */
const read = (name: string) =>
  Effect.map(sendAsStranger("GET", "/metrics"), ({ body }) => {
    const { samples, type } = Prometheus.parse(body).get(name)!
    assert.strictEqual(type, "histogram")
    return (series: string) => samples.get(series)
  })

describe("lags", () => {
  it.live("of broadcasts are measured by the rule of the channel, one delivery of each", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* TestBroker
      const browsers = [yield* Browser.connect(urls.websocket), yield* Browser.connect(`${urls.websocket}?v=1`)]
      for (const channel of ["room", "private-room"]) yield* vhost.channels.broadcast(channel, "said", {})
      for (const browser of browsers) {
        yield* browser.send({ subscribe: { channel: "room" } })
        yield* browser.nextOf(":subscribed")
      }
      const before = yield* read(broadcastLag)
      assert.strictEqual(before(`_countrule="none"`), 0)
      for (let n = 0; n < 20; n++) {
        yield* vhost.channels.broadcast("room", "said", { n })
        for (const browser of browsers) yield* browser.nextOf("said")
      }
      const after = yield* read(broadcastLag)
      // The two broadcasts without subscribers are not measured.
      assert.strictEqual(after(`_countrule="room"`), 20)
      assert.strictEqual(after(`_bucketrule="room",le="10"`), 20)
      assert.isAbove(after(`_sumrule="room"`)!, 0)
      assert.strictEqual(after(`_countrule="none"`), 0)
    }).pipe(Effect.scoped, broker, alone))

  it.live("of events are measured from the trigger to the ack, by lane", () =>
    Effect.gen(function*() {
      const { connect } = transports[0]!
      yield* enqueue(event(1))
      const begun = performance.now()
      yield* eventually(Effect.sync(() => performance.now() - begun), (passed) => passed > 30)
      const worker = yield* ackingWorker(connect, 10)
      const id = yield* delivery(worker, event(1), 1)
      yield* worker.send("AK", id)
      const lag = yield* eventually(read(eventLag), (lag) => lag(`_countlane="events"`) === 1)
      assert.isAtLeast(lag(`_sumlane="events"`)!, 0.03)
      assert.strictEqual(lag(`_bucketlane="events",le="0.025"`), 0)
      assert.strictEqual(lag(`_countlane="requests"`), 0)
      yield* enqueue(event(2))
      yield* worker.send("NK", yield* delivery(worker, event(2), 1), "no")
      yield* worker.send("AK", yield* delivery(worker, event(2), 2))
      // The failed attempt is part of the time until the event is handled, and no measurement of its own.
      yield* eventually(read(eventLag), (lag) => lag(`_countlane="events"`) === 2)
    }).pipe(Effect.scoped, broker, alone))

  it.effect("of broadcasts are those of all subscribers in turn", () =>
    Effect.gen(function*() {
      const measured = Array.from({ length: 8 }, () => 0)
      const added: Array<number> = []
      const { channels } = Vhost.make({ lags: { ofRule: () => ({ addUnsafe: (millis) => added.push(millis) }) } })
      yield* channels.open("room")
      for (const index of measured.keys()) {
        const browser: Subscriber = {
          sid: String(index),
          version: 0,
          sendUnsafe: () => {},
          closeUnsafe: () => {},
          measureUnsafe: (lag, since = performance.now()) => {
            measured[index]!++
            lag.addUnsafe(performance.now() - since)
          }
        }
        yield* channels.subscribe("room", browser, { permission: undefined, hidden: false, data: {} })
      }
      for (let n = 0; n < 800; n++) yield* channels.broadcast("room", "said", { n })
      assert.strictEqual(added.length, 800)
      for (const count of measured) assert.isAbove(count, 40)
    }))

  it("have a series for each of 100 patterns, and one for the rest", () => {
    const context = Context.make(Metric.MetricRegistry, new Map())
    const lags = Lags.make(context)
    for (let n = 0; n < 150; n++) lags.ofRule(`pattern-${n}`).addUnsafe(1)
    lags.ofRule("x".repeat(201)).addUnsafe(1)
    lags.ofRule(undefined).addUnsafe(2)
    const counts = new Map(
      Metric.snapshotUnsafe(context).flatMap(({ attributes, state }) =>
        attributes?.["rule"] !== undefined && "buckets" in state ? [[attributes["rule"], state.count]] : []
      )
    )
    assert.strictEqual(counts.size, 102)
    assert.deepEqual([counts.get("pattern-0"), counts.get("other"), counts.get("none")], [1, 51, 1])
  })
})
