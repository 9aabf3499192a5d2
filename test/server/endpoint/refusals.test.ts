/**
 * Browsers that are refused: how they are told, what it costs, and who is not refused.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Metric, Scope } from "effect"
import { type BrokerConfig, BrokerMetrics } from "../../../src/server/index.ts"
import * as BrokerSide from "../../harness/brokerSide.ts"
import { eventually } from "../../harness/eventually.ts"
import { logged } from "../../harness/logged.ts"
import * as RawTcp from "../../harness/RawTcp.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { layer as testBroker, TestBroker } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

type Headers = Record<string, string>

const connect = (path: string, headers?: Headers) =>
  Effect.flatMap(
    TestBroker,
    ({ broker }) => RawWebSocket.connect(broker.websocketPort, path, headers === undefined ? {} : { headers })
  )

/** What a browser is told: `open`, the status, or the close code and its reason. */
const outcome = Effect.fnUntraced(function*(path: string, headers?: Headers) {
  const raw = yield* connect(path, headers)
  const [, status] = /^HTTP\/1\.1 (\d+) /.exec(raw.head) ?? []
  if (status !== "101") return status
  const { opcode, payload } = yield* raw.next
  return opcode === 8 ? `${payload.readUInt16BE(0)} ${payload.toString("utf8", 2)}` : "open"
})

const answered: ReadonlyArray<readonly [string, string]> = [
  ["an unknown vhost", RawWebSocket.upgrade("/nope")],
  ["an unknown vhost, by a close code", RawWebSocket.upgrade("/nope?v=1")],
  ["another version", RawWebSocket.upgrade("/test?v=2")],
  ["another protocol", RawWebSocket.upgrade("/test", { Upgrade: "h2c" })],
  ["another method", RawWebSocket.upgrade("/test", {}, "POST")],
  ["a bad key", RawWebSocket.upgrade("/test", { "Sec-WebSocket-Key": "short" })],
  ["an origin", RawWebSocket.upgrade("/test", { Origin: "https://evil.example" })],
  ["many requests", "GET /test HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20_000)],
  [
    "many requests, and then an upgrade",
    `${"GET /test HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5000)}${RawWebSocket.upgrade("/nope")}`
  ]
]

describe("a browser that is rejected", { concurrent: true }, () => {
  it.live.each<[string, Headers, string]>([
    ["/test", {}, "open"],
    ["/test?v=1", {}, "open"],
    ["/test?a=b&v=1", {}, "open"],
    ["/test?version=2", {}, "open"],
    ["/nope", {}, "404"],
    ["/nope?v=1", {}, "4404 There is no vhost at this path."],
    ["/test?v=2", {}, "4400 This broker knows version 1 of the browsers' protocol."],
    ["/test?v=", {}, "4400 This broker knows version 1 of the browsers' protocol."],
    ["/test", { Origin: "https://evil.example" }, "403"],
    ["/test?v=1", { Origin: "https://evil.example" }, "4405 Browsers of this origin may not connect."],
    ["/test", { Origin: "null" }, "403"],
    ["/test", { Origin: "http://127.0.0.1:3000" }, "open"]
  ])("gets the reason: %s %o %s", ([path, headers, expected]) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(path, headers), expected)
    }).pipe(withBroker()))

  it.live("gets a sentence, and `Retry-After` if a retry may help", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      yield* connect("/test")
      const raw = yield* RawTcp.halfOpen(broker.websocketPort, RawWebSocket.upgrade("/test"))
      const text = yield* Effect.callback<string>((resume) => {
        let text = ""
        raw.on("data", (chunk) => text += chunk.toString())
        raw.on("end", () => resume(Effect.succeed(text)))
      })
      assert.match(text, /^HTTP\/1\.1 503 Service Unavailable\r\n/)
      assert.match(text, /\r\nretry-after: 5\r\n/)
      assert.match(text, /\r\n\r\nThe broker has reached its limit of browsers\.\n$/)
    }).pipe(withBroker({ browsers: { max: 1 } })))

  it.live.each(answered)("is closed in time, whatever it does: %s", ([_, bytes]) =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const { open } = yield* BrokerSide.watch
      yield* RawTcp.halfOpen(broker.websocketPort, bytes)
      yield* eventually(Effect.sync(() => open(broker.websocketPort)), (count) => count === 1)
      yield* eventually(Effect.sync(() => open(broker.websocketPort)), (count) => count === 0)
    }).pipe(withBroker()))

  it.live("does not keep the broker from ending", () =>
    Effect.gen(function*() {
      const { open } = yield* BrokerSide.watch
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(testBroker({ shutdownTimeout: "200 millis" }), scope)
      const { broker } = yield* Effect.provide(TestBroker, context)
      for (const [_, bytes] of answered) yield* RawTcp.halfOpen(broker.websocketPort, bytes)
      yield* RawTcp.halfOpen(broker.websocketPort, RawWebSocket.upgrade("/test"))
      yield* eventually(Effect.sync(() => open(broker.websocketPort)), (count) => count >= 1)
      const start = performance.now()
      yield* Scope.close(scope, Exit.void)
      // Without a bound it would take as long as the peers like.
      assert.isBelow(performance.now() - start, 10_000)
      yield* eventually(Effect.sync(() => open(broker.websocketPort)), (count) => count === 0)
    }))

  it.live("never waits for its end together with many others", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const { open } = yield* BrokerSide.watch
      for (let n = 0; n < 400; n++) {
        yield* RawTcp.halfOpen(broker.websocketPort, RawWebSocket.upgrade(n % 2 === 0 ? "/nope" : "/nope?v=1"))
      }
      assert.isAtMost(open(broker.websocketPort), 300)
    }).pipe(withBroker()))
})

describe("limits of browsers", { concurrent: true }, () => {
  const from = (address: string) => ({ "X-Forwarded-For": address })

  it.live.each<[string, BrokerConfig.Options, string, string]>([
    ["of the broker", { browsers: { max: 2 } }, "503", "1013 The broker has reached its limit of browsers."],
    ["of a vhost", { browsers: { maxPerVhost: 2 } }, "503", "1013 The vhost has reached its limit of browsers."],
    [
      "of an address",
      { browsers: { maxPerAddress: 2, trustedProxies: [] } },
      "429",
      "1013 Too many browsers connect from this address."
    ]
  ])("%s count those that are connected", ([_, options, status, code]) =>
    Effect.gen(function*() {
      const { broker, vhost } = yield* TestBroker
      const { open } = yield* BrokerSide.watch
      const some = [yield* connect("/test"), yield* connect("/test")]
      assert.strictEqual(yield* outcome("/test"), status)
      assert.strictEqual(yield* outcome("/test?v=1"), code)
      assert.strictEqual(vhost.browsers.count(), 2)
      some[0]!.socket.destroy()
      yield* eventually(Effect.sync(vhost.browsers.count), (count) => count === 1)
      yield* eventually(Effect.sync(() => open(broker.websocketPort)), (count) => count === 1)
      assert.strictEqual(yield* outcome("/test"), "open")
      // A handshake that fails takes no place.
      some[1]!.socket.destroy()
      yield* eventually(Effect.sync(vhost.browsers.count), (count) => count === 1)
      for (let n = 0; n < 3; n++) assert.strictEqual(yield* outcome("/test", { "Sec-WebSocket-Key": "short" }), "400")
      assert.strictEqual(yield* outcome("/test"), "open")
    }).pipe(withBroker(options)))

  it.live("of an address count what a trusted proxy says", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome("/test", from("192.0.2.1")), "open")
      assert.strictEqual(yield* outcome("/test", from("198.51.100.9, 192.0.2.1")), "429")
      assert.strictEqual(yield* outcome("/test", from("192.0.2.2")), "open")
      assert.strictEqual(yield* outcome("/test", from("2001:db8::1")), "open")
      assert.strictEqual(yield* outcome("/test", from("2001:db8::2")), "429")
      for (let n = 0; n < 3; n++) assert.strictEqual(yield* outcome("/test"), "open")
    }).pipe(withBroker({ browsers: { maxPerAddress: 1 } })))

  it.live("are counted by the reason, and logged once for many", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      const read = Effect.map(
        Metric.snapshot,
        (all) =>
          Object.fromEntries(all.flatMap((metric) =>
            metric.id === "kosmonaut_broker_refused_browsers_total"
              ? [[metric.attributes?.["reason"], (metric.state as { readonly count: number }).count]]
              : []
          ))
      )
      yield* outcome("/test", from("192.0.2.1"))
      for (let n = 0; n < 20; n++) yield* outcome("/test?v=1", from("192.0.2.1"))
      for (let n = 0; n < 5; n++) yield* outcome("/test", { Origin: "https://evil.example" })
      yield* outcome("/nope")
      yield* outcome("/test?v=7")
      const counts = yield* read
      assert.deepInclude(counts, { address: 20, origin: 5, vhost: 1, version: 1 })
      const warnings = lines.filter((line) => line.startsWith("WARN"))
      assert.deepStrictEqual(warnings, [
        "WARN Rejected 1 browser, the last from 192.0.2.1: 1 are connected from there, see the option browsers.maxPerAddress. If that is a reverse proxy, add it to browsers.trustedProxies",
        `WARN Rejected 1 browser, the last with Origin "https://evil.example": if it may connect, add it to the option browsers.origins`
      ])
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.provideMerge(testBroker({ browsers: { maxPerAddress: 1 } }), layer)),
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  })

  it.live.each<[BrokerConfig.Options, string]>([
    [{ browsers: { origins: ["example.com"] } }, "browsers.origins"],
    [{ browsers: { trustedProxies: ["10.0.0.0/99"] } }, "browsers.trustedProxies"]
  ])("cannot be invalid: %o", ([options, option]) =>
    Effect.gen(function*() {
      const failure = yield* Effect.flip(Effect.scoped(Layer.build(testBroker(options))))
      assert.strictEqual(failure._tag, "InvalidOptionError")
      assert.include(failure.message, option)
    }))

  it.live("add up over the brokers of a process", () =>
    Effect.gen(function*() {
      for (const path of ["/nope", "/nope?v=1"]) {
        yield* outcome(path).pipe(Effect.scoped, Effect.provide(Layer.fresh(testBroker())))
      }
      const { count } = yield* Metric.value(
        Metric.withAttributes(BrokerMetrics.refusedBrowsers, { reason: "vhost" })
      )
      assert.strictEqual(count, 2)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
