/**
 * Pages whose broker is killed, frozen and cut off: nothing that is confirmed is lost, and nothing is handled twice that need not be.
 */
import { type Duration, Effect } from "effect"
import { expect } from "vitest"
import { describeInChromium } from "../harness/chromium.ts"
import { eventually } from "../harness/eventually.ts"
import * as Site from "../harness/site.ts"
import { idle, subscribed, waiting, work, type World } from "./page/world.ts"

/** Cuts the network once a page is connected, for this long and until the page has noticed. */
const outage = Effect.fnUntraced(function*(site: World, duration: Duration.Input) {
  const handled = yield* work(site)
  const joe = yield* site.open("joe")
  const ann = yield* site.open("ann")
  for (const tab of [joe, ann]) yield* tab.until(`uids().length === 2`)
  yield* site.network.stall
  // In flight, so that the broker may get it twice.
  yield* joe.run("for (let n = 0; n < 20; n++) say(n)")
  yield* Effect.sleep(duration)
  yield* joe.until(`connection.state._tag !== "Connected"`)
  yield* joe.run("for (let n = 20; n < 40; n++) say(n)")
  yield* site.network.goOn
  for (const tab of [joe, ann]) yield* tab.until(subscribed)
  expect(yield* joe.run("Promise.all(calls)")).toEqual(Array.from({ length: 40 }, () => ({ data: null })))
  yield* eventually(Effect.sync(() => handled.length), (count) => count >= 40)
  yield* idle(site)
  expect(handled.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n))
  for (const tab of [joe, ann]) yield* tab.until(`uids().length === 2`)
  yield* joe.run(`room.broadcast("talk/said", { n: 1 })`)
  yield* ann.until(`log.said.join() === "1"`)
  expect([...joe.faults, ...ann.faults]).toEqual([])
})

/** A channel with history, and a page that writes down what it hears there, over its reloads. */
const history = { channelRules: [{ pattern: "feed", openOnDemand: true, history: { count: 2000, size: 10_000_000 } }] }
const listens = `
  const heard = []
  const gaps = []
  const kept = localStorage.getItem("cursor")
  const feed = connection.subscribe("feed", kept === null ? {} : { since: JSON.parse(kept) })
  feed.on("count", ({ n }, cursor) => {
    heard.push(n)
    localStorage.setItem("cursor", JSON.stringify(cursor))
  })
  feed.onGap((reason) => gaps.push(reason))
`
const listening = `feed.state._tag === "Subscribed"`

const broadcast = ({ client }: World, from: number, count: number) =>
  Effect.forEach(
    Array.from({ length: count }, (_, index) => from + index),
    (n) => client.broadcast("feed", "count", { n }),
    { concurrency: "unbounded", discard: true }
  )

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)

/** Cuts the network of a page that listens, for this long and until the page has noticed, while much is broadcast. */
const away = Effect.fnUntraced(function*(site: World, duration: Duration.Input) {
  const joe = yield* site.open("joe", listens)
  yield* joe.until(listening)
  yield* broadcast(site, 0, 10)
  yield* joe.until(`heard.length === 10`)
  yield* site.network.stall
  yield* broadcast(site, 10, 1000)
  yield* Effect.sleep(duration)
  yield* joe.until(`connection.state._tag !== "Connected"`)
  yield* site.network.cut("all")
  yield* site.network.goOn
  yield* joe.until(`heard.length >= 1010`)
  yield* broadcast(site, 1010, 10)
  yield* joe.until(`heard.length >= 1020`)
  expect(yield* joe.run("heard")).toEqual(numbers(1020))
  expect(yield* joe.run("gaps")).toEqual([])
  expect(joe.faults).toEqual([])
})

describeInChromium("pages", (it) => {
  it.effect("hear all that was broadcast while the network was cut, in order and once", () =>
    Effect.flatMap(Site.make({ ...history, browsers: { pingInterval: 1000 } }), (site) => away(site, "0 millis")))

  it.effect(
    "hear all that was broadcast while the network was cut for 30 seconds, by the default options",
    ({ skip }) =>
      process.env["LONG_TESTS"] === undefined
        ? Effect.sync(() => skip("it takes a minute: run npm run test-long"))
        : Effect.flatMap(Site.make(history), (site) => away(site, "30 seconds")),
    120_000
  )

  it.effect("hear all that was broadcast while they were loaded again, if they have kept the cursor", () =>
    Effect.gen(function*() {
      const site = yield* Site.make(history)
      const joe = yield* site.open("joe", listens)
      yield* joe.until(listening)
      yield* broadcast(site, 0, 10)
      yield* joe.until(`heard.length === 10`)
      const address = joe.page.url()
      yield* Effect.promise(() => joe.page.goto(`${site.pages.origin}/token?nobody`))
      yield* broadcast(site, 10, 50)
      yield* Effect.promise(() => joe.page.goto(address))
      yield* joe.until(`heard.length >= 50`)
      yield* broadcast(site, 60, 10)
      yield* joe.until(`heard.length >= 60`)
      expect(yield* joe.run("heard")).toEqual(numbers(70).slice(10))
      expect(yield* joe.run("gaps")).toEqual([])
      expect(joe.faults).toEqual([])
    }))

  it.effect("hear what was broadcast before the broker was killed, when it is back", () =>
    Effect.gen(function*() {
      const site = yield* Site.make(history)
      const joe = yield* site.open("joe", listens)
      yield* joe.until(listening)
      yield* broadcast(site, 0, 10)
      yield* joe.until(`heard.length === 10`)
      yield* site.network.stall
      yield* broadcast(site, 10, 100)
      yield* site.broker.killAndStart
      yield* site.network.cut("all")
      yield* site.network.goOn
      yield* joe.until(`heard.length >= 110`)
      expect(yield* joe.run("heard")).toEqual(numbers(110))
      expect(yield* joe.run("gaps")).toEqual([])
      expect(joe.faults).toEqual([])
    }))

  it.effect("are back when a killed broker is, with what they triggered meanwhile", () =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      const handled = yield* work(site)
      const joe = yield* site.open("joe")
      const ann = yield* site.open("ann")
      for (const tab of [joe, ann]) yield* tab.until(`uids().length === 2`)
      // Some of it in flight, when nobody can say whether it has happened.
      yield* joe.run("for (let n = 0; n < 50; n++) say(n)")
      site.broker.tell("SIGKILL")
      yield* joe.until(waiting)
      yield* joe.run("for (let n = 50; n < 100; n++) say(n)")
      yield* site.broker.killAndStart
      for (const tab of [joe, ann]) yield* tab.until(subscribed)
      for (const tab of [joe, ann]) yield* tab.until(`uids().length === 2`)
      const outcomes = yield* joe.run<Array<object>>("Promise.all(calls)")
      expect(outcomes).toEqual(Array.from({ length: 100 }, () => ({ data: null })))
      yield* eventually(Effect.sync(() => new Set(handled).size), (size) => size === 100)
      yield* idle(site)
      expect(handled.filter((n) => n >= 50).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 50 }, (_, n) => n + 50)
      )
      yield* joe.run(`room.broadcast("talk/said", { n: 1 })`)
      yield* ann.until(`log.said.join() === "1"`)
      expect([...joe.faults, ...ann.faults]).toEqual([])
    }))

  it.effect("outlast a network that is cut, and lose nothing that is confirmed", () =>
    Effect.gen(function*() {
      const site = yield* Site.make({ browsers: { pingInterval: 1000 } })
      yield* outage(site, "0 millis")
    }))

  it.effect(
    "outlast a network that is cut for 30 seconds, by the default options",
    ({ skip }) =>
      process.env["LONG_TESTS"] === undefined
        ? Effect.sync(() => skip("it takes a minute: run npm run test-long"))
        : Effect.flatMap(Site.make(), (site) => outage(site, "30 seconds")),
    120_000
  )

  it.effect("are still connected after the broker was frozen for 4 seconds", () =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      const handled = yield* work(site)
      const joe = yield* site.open("joe")
      yield* joe.until(subscribed)
      const states = yield* joe.run("log.states.length")
      site.broker.tell("SIGSTOP")
      yield* joe.run(`for (let n = 0; n < 20; n++) say(n); void room.broadcast("talk/said", { n: 1 })`)
      yield* Effect.sleep("4 seconds")
      expect(handled).toEqual([])
      site.broker.tell("SIGCONT")
      expect(yield* joe.run("Promise.all(calls)")).toEqual(Array.from({ length: 20 }, () => ({ data: null })))
      yield* joe.until(`log.said.join() === "1"`)
      yield* eventually(Effect.sync(() => handled.length), (count) => count >= 20)
      yield* idle(site)
      expect(handled.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n))
      expect(yield* joe.run("log.states.length")).toBe(states)
      expect(joe.faults).toEqual([])
    }))
})
