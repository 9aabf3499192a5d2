/**
 * What a served broker sends to a collector, what it costs when there is none, and how it writes its log.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as Telemetry from "../../src/cli/Telemetry.ts"
import * as Collector from "../harness/collector.ts"
import { eventually } from "../harness/eventually.ts"
import { logged } from "../harness/logged.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"
import { token } from "../harness/TestBroker.ts"
import { assertWrong, run, serve, serveWith } from "./program.ts"

/** A browser that is refused, which is logged. */
const beRefused = (websocket: string) =>
  RawWebSocket.connect(Number(new URL(websocket).port), "/app", { headers: { Origin: "https://evil.example" } })

/** The telemetry with these variables, whose lines are kept. */
const make = Effect.fnUntraced(function*(url: string, env: Record<string, string> = {}) {
  const { layer, lines } = logged("Info")
  const context = yield* Layer.build(Layer.provideMerge(Telemetry.layer(url), layer)).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
  )
  return { context, lines }
})

const log = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.logInfo("x"), { discard: true })

describe("a collector", { timeout: 120_000 }, () => {
  it.live("gets the traces, the metrics and the log of a served broker, at its end at the latest", () =>
    Effect.gen(function*() {
      const collector = yield* Collector.make
      const env = {
        KOSMONAUT_OTLP_URL: collector.url,
        KOSMONAUT_TOKEN: token,
        OTEL_EXPORTER_OTLP_HEADERS: "x-key=a%20b"
      }
      const { program, ready } = yield* serveWith(env)
      const url = `${ready.backend.replace("://", `://${token}@`)}/app`
      assert.strictEqual((yield* run(["open", "room"], { env: { KOSMONAUT_URL: url } })).status, 0)
      yield* beRefused(ready.websocket)
      yield* program.says("stderr", /Rejected/)
      yield* program.kill("SIGTERM")
      assert.strictEqual((yield* program.output).status, 0)
      assert.include(collector.sent("traces"), `"Broker.openChannel"`)
      assert.include(collector.sent("metrics"), "kosmonaut_broker_requests")
      assert.include(collector.sent("logs"), "Rejected 1 browser")
      for (const { body, headers } of collector.received) {
        assert.strictEqual(headers["x-key"], "a b")
        for (const name of ["service.name", "service.version", "service.instance.id", "host.name"]) {
          assert.include(body, `"${name}"`)
        }
        assert.include(body, `"kosmonaut"`)
        assert.notInclude(body, token)
      }
    }).pipe(Effect.scoped))

  it.live("that is not there costs a line for each signal, and nothing else", () =>
    Effect.gen(function*() {
      const { program, ready } = yield* serve("--otlp-url", "http://127.0.0.1:1")
      yield* beRefused(ready.websocket)
      yield* program.says("stderr", /does not take logs/)
      yield* program.kill("SIGTERM")
      const { status, stderr } = yield* program.output
      assert.strictEqual(status, 0)
      assert.match(stderr, /The collector at 127\.0\.0\.1:1 does not take logs, which are dropped until it does: \S/)
      for (const signal of ["logs", "metrics", "traces"]) {
        assert.isAtMost(stderr.split(`does not take ${signal}`).length, 2, stderr)
      }
    }).pipe(Effect.scoped))

  it.effect("that fails is told of once, and again when it is back", () =>
    Effect.gen(function*() {
      const collector = yield* Collector.make
      collector.answers((response) => void response.writeHead(401).end())
      const { context, lines } = yield* make(collector.url)
      const send = Effect.gen(function*() {
        const before = collector.received.length
        yield* Effect.provideContext(log(1), context)
        yield* TestClock.adjust("1 second")
        yield* eventually(Effect.sync(() => collector.received.length), (count) => count > before)
      })
      yield* send
      yield* eventually(Effect.sync(() => lines), (lines) => lines.some((line) => line.includes("does not take")))
      // For a minute nothing is sent.
      const before = collector.received.length
      yield* Effect.provideContext(log(10), context)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(collector.received.filter(({ path }) => path === "/v1/logs").length, before)
      collector.answers((response) => response.end("{}"))
      yield* TestClock.adjust("2 seconds")
      yield* send
      yield* eventually(Effect.sync(() => lines), (lines) => lines.some((line) => line.includes("takes logs again")))
      const own = lines.filter((line) => line.includes("logs"))
      const host = new URL(collector.url).host
      expect(own).toEqual([
        `WARN The collector at ${host} does not take logs, which are dropped until it does: the status is 401`,
        `INFO The collector at ${host} takes logs again`
      ])
    }))

  it.live("that is too slow has four requests, and what is more is dropped", () =>
    Effect.gen(function*() {
      const collector = yield* Collector.make
      collector.answers(() => {})
      const { context } = yield* make(collector.url)
      yield* Effect.provideContext(log(20_000), context)
      const requests = Effect.sync(() => collector.received.length)
      yield* eventually(requests, (count) => count === 4, 15_000)
      yield* Effect.provideContext(log(20_000), context)
      assert.strictEqual(yield* requests, 4)
      assert.strictEqual(JSON.stringify(collector.received).split(`"x`).length > 1, true)
    }))
})

describe("the log of a served broker", { timeout: 120_000 }, () => {
  it.live("is an object on each line, if that is wanted", () =>
    Effect.gen(function*() {
      for (const [args, env] of [[["--log-format", "json"], {}], [[], { KOSMONAUT_LOG_FORMAT: "json" }]] as const) {
        const { program, ready } = yield* serveWith(env, ...args)
        yield* beRefused(ready.websocket)
        yield* program.says("stderr", /Rejected.*\n/)
        yield* program.kill("SIGTERM")
        const { stderr, stdout } = yield* program.output
        assert.match(stdout, /^ready \{[^\n]*\n$/)
        const lines = stderr.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)
        expect(lines).toMatchObject([
          { level: "INFO", message: expect.stringMatching(/^Nobody knows the cookie of administrators, at http:/) },
          { level: "WARN", message: expect.stringContaining("Rejected 1 browser") }
        ])
      }
    }).pipe(Effect.scoped))

  it.live.each([
    [["serve", "--log-format", "xml"], "--log-format"],
    [["serve", "--otlp-url", "127.0.0.1:4318"], "an http: or https: URL"],
    [["serve", "--otlp-url", "ftp://x"], "an http: or https: URL"],
    [["serve", "--otlp-url", "http://joe:secret@127.0.0.1:4318"], "$OTEL_EXPORTER_OTLP_HEADERS"]
  ])("is told what it cannot be: %j", ([args, part]) =>
    Effect.gen(function*() {
      const output = yield* run(args as Array<string>)
      assertWrong(output, part as string)
      assert.notInclude(output.stderr, "secret")
    }))
})
