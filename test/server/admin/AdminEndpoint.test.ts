import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Logger, Metric, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import { join } from "node:path"
import { Broker, type BrokerConfig, Store, Vhosts } from "../../../src/server/index.ts"
import { bound, header, request, send, sendAsStranger } from "../../harness/admin.ts"
import * as Browser from "../../harness/Browser.ts"
import { cpuTime } from "../../harness/cpuTime.ts"
import { eventually } from "../../harness/eventually.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Prometheus from "../../harness/prometheus.ts"
import * as RawTcp from "../../harness/RawTcp.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { temporaryFolder } from "../../harness/temporaryFolder.ts"
import { TestBroker } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

const broker = withBroker({ admin: { port: 0 } })

const wrong = "0123456789abcdef0123456789abcdef01234567"

const ports = { websocketPort: 0, backendPort: 0, tcpPort: 0 }

/** Builds a broker for the scope, and returns its admin endpoint. */
const start = (options: BrokerConfig.Options) =>
  Effect.map(
    Layer.build(Broker.layer({ ...ports, admin: { port: 0 }, ...options })),
    (services) =>
      Broker.Broker.use(({ admin }) => Effect.succeed(admin!)).pipe(Effect.provide(services), Effect.runSync)
  ).pipe(Effect.provide(Logger.layer([])))

describe("the admin endpoint", () => {
  it.live("is off unless asked for", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      assert.strictEqual(broker.admin, undefined)
      assert.isFalse("admin" in broker.addresses)
    }).pipe(withBroker()))

  it.live("says that the broker is alive, whether it would deliver, and its metrics, to everybody", () =>
    Effect.gen(function*() {
      const { urls } = yield* TestBroker
      const ann = yield* Browser.connect(urls.websocket)
      yield* ann.send({ subscribe: { channel: "room" } })
      yield* ann.nextOf(":subscribed")
      const health = yield* sendAsStranger("GET", "/health")
      assert.deepEqual([health.status, health.body], [200, `{"status":"alive"}`])
      const ready = yield* sendAsStranger("GET", "/ready")
      assert.deepEqual([ready.status, ready.body], [200, `{"status":"ready"}`])
      const metrics = yield* sendAsStranger("GET", "/metrics")
      assert.strictEqual(metrics.status, 200)
      assert.strictEqual(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      assert.match(metrics.body, /^# TYPE kosmonaut_broker_subscriptions gauge\nkosmonaut_broker_subscriptions [1-9]/m)
      const head = yield* sendAsStranger("HEAD", "/health")
      assert.deepEqual([head.status, head.body], [200, ""])
      for (const path of ["/health", "/metrics", "/ready"]) {
        for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
          assert.strictEqual((yield* sendAsStranger(method, path)).status, 403, `${method} ${path}`)
        }
      }
    }).pipe(Effect.scoped, broker))

  it.live("has its metrics in the format of Prometheus, whatever their names and descriptions are", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      yield* Metric.update(
        Metric.counter("some-metric.of an application", {
          description: "A \\ and\na second line",
          attributes: { "a-b": `"quoted" \\ and\na second line` }
        }),
        2
      )
      yield* Metric.update(Metric.histogram("some_durations", { description: "Durations", boundaries: [1, 2] }), 1.5)
      yield* Effect.exit(RawWebSocket.connect(broker.websocketPort, "/none"))
      const { body } = yield* sendAsStranger("GET", "/metrics")
      const families = Prometheus.parse(body)
      const own = [...families.values()].filter(({ name }) => name.startsWith("kosmonaut_broker_"))
      assert.isAbove(own.length, 12)
      for (const { help, name } of own) assert.match(help, /^[A-Z]/, name)
      assert.strictEqual(families.get("kosmonaut_broker_browsers")?.type, "gauge")
      assert.isAtLeast(families.get("kosmonaut_broker_refused_browsers_total")!.samples.get(`reason="vhost"`)!, 1)
      const other = families.get("some_metric_of_an_application")
      assert.strictEqual(other?.help, String.raw`A \\ and\na second line`)
      assert.deepEqual([...other!.samples], [[String.raw`a_b="\"quoted\" \\ and\na second line"`, 2]])
      const { samples } = families.get("some_durations")!
      assert.strictEqual(samples.get(`_bucketle="+Inf"`), 1)
    }).pipe(broker))

  it.live(
    "costs a scrape at most 10 ms of processor time, with 10 000 browsers and as many channels",
    () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const scrape = sendAsStranger("GET", "/metrics")
        const before = yield* scrape
        for (let n = 0; n < 10_000; n++) {
          yield* vhost.channels.open(`hall-${n}`)
          const browser = FakeBrowser.make(`browser-${n}`)
          vhost.browsers.enterUnsafe(browser)
          yield* vhost.channels.subscribe(`hall-${n}`, browser, { permission: undefined, hidden: false, data: {} })
        }
        const costs: Array<number> = []
        for (let n = 0; n < 10; n++) {
          const begun = cpuTime()
          yield* Effect.replicateEffect(scrape, 5, { discard: true })
          costs.push((cpuTime() - begun) / 5)
        }
        // That of the client is in it. What else happens in this process costs, too, but not each time.
        assert.isAtMost(Math.min(...costs), 10)
        const { body } = yield* scrape
        assert.match(body, /^kosmonaut_broker_subscriptions 10000$/m)
        assert.strictEqual(body.split("\n").length, before.body.split("\n").length)
      }).pipe(broker, Effect.provideService(Metric.MetricRegistry, new Map())),
    60_000
  )

  it.live("is not ready while the storage cannot be written to", () =>
    Effect.gen(function*() {
      let error: Store.StoreError | undefined
      const store = Layer.succeed(Store.Store, {
        load: Effect.succeed([]),
        isComplete: true,
        write: () => Effect.suspend(() => error === undefined ? Effect.void : Effect.fail(error))
      })
      const options = { ...ports, admin: { port: 0 }, vhosts: [{ path: "/test" }] }
      yield* Effect.gen(function*() {
        const { admin } = yield* Broker.Broker
        const vhost = yield* Vhosts.Vhosts.use(({ get }) => get("/test"))
        assert.strictEqual((yield* send(admin!.port, "GET", "/ready")).status, 200)
        error = new Store.StoreError({ location: "nowhere", detail: "the disk is full" })
        yield* Effect.exit(vhost.channels.open("room"))
        const { body, status } = yield* send(admin!.port, "GET", "/ready")
        assert.strictEqual(status, 503)
        assert.deepEqual(JSON.parse(body), { status: "not ready", problems: ["the storage cannot be written to"] })
        error = undefined
      }).pipe(Effect.provide(Layer.merge(Layer.provide(Broker.layerNoStore(options), store), Logger.layer([]))))
    }))

  it.live("answers 403 with an empty body to all else without the cookie", () =>
    Effect.gen(function*() {
      const { cookie } = yield* bound
      const paths = [
        "/",
        "/test",
        "/test/channels",
        "//health",
        "/health/",
        "/HEALTH",
        "/health/x",
        "/metrics%20",
        "/api/x"
      ]
      for (const path of paths) {
        for (const method of ["GET", "POST", "PUT", "DELETE", "OPTIONS"]) {
          const { body, headers, status } = yield* sendAsStranger(method, path)
          assert.deepEqual([status, body, headers[header]], [403, "", undefined], `${method} ${path}`)
          assert.isFalse(Object.keys(headers).some((name) => name.startsWith("access-control")))
        }
      }
      for (
        const headers of [{ cookie: `${header}=${Redacted.value(cookie)}` }, { authorization: Redacted.value(cookie) }]
      ) {
        assert.strictEqual(
          (yield* sendAsStranger("GET", `/?${header}=${Redacted.value(cookie)}`, { headers })).status,
          403
        )
      }
    }).pipe(broker))

  it.effect("slows guessing down, and nobody who has the cookie", () =>
    Effect.gen(function*() {
      let [answered, refused] = [0, 0]
      const guess = (index: number) =>
        Effect.onExit(
          Effect.exit(sendAsStranger("GET", "/", { headers: { [header]: index % 2 === 0 ? wrong : "0" } })),
          (exit) => Effect.sync(() => Exit.isSuccess(exit) && Exit.isSuccess(exit.value) ? answered++ : refused++)
        )
      const guesses = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 40 }, (_, index) => index), guess, { concurrency: "unbounded" })
      )
      yield* eventually(Effect.sync(() => refused), (refused) => refused === 24)
      yield* TestClock.adjust("990 millis")
      assert.strictEqual((yield* request("GET", "/")).status, 200)
      assert.strictEqual(answered, 0)
      yield* TestClock.adjust("10 millis")
      const exits = yield* Fiber.join(guesses)
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 16)
      for (const exit of exits) {
        if (Exit.isSuccess(exit)) assert.deepEqual([exit.value.status, exit.value.body], [403, ""])
        else assert.match(Cause.pretty(exit.cause), /ECONNRESET|socket hang up/)
      }
    }).pipe(broker))

  it.live("has room for who has the cookie, however many strangers are connected", () =>
    Effect.gen(function*() {
      const { port } = yield* bound
      const strangers = yield* Effect.forEach(
        Array.from({ length: 256 }),
        () => RawTcp.connect(port),
        { concurrency: 32 }
      )
      assert.strictEqual((yield* request("GET", "/")).status, 200)
      yield* strangers[0]!.ended
      assert.isFalse(yield* strangers[255]!.hasEnded)
    }).pipe(broker))

  it.live.each([
    ["a header that is too large", `GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(9000)}\r\n\r\n`, "431"],
    ["no HTTP", "hello\r\n\r\n", "400"],
    ["two lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "400"]
  ])("survives %s", ([, bytes, status]) =>
    Effect.gen(function*() {
      const { port } = yield* bound
      const peer = yield* RawTcp.connect(port)
      yield* peer.send(bytes)
      assert.include((yield* peer.rest).split("\r\n")[0], ` ${status} `)
      assert.strictEqual((yield* request("GET", "/")).status, 200)
    }).pipe(broker))

  it.live("ends at once with requests in flight", () =>
    Effect.gen(function*() {
      const guess = yield* Effect.scoped(Effect.gen(function*() {
        const { port } = yield* start({})
        const peer = yield* Effect.forkDetach(Effect.exit(send(port, "GET", "/", { headers: { [header]: wrong } })))
        yield* send(port, "GET", "/health")
        return peer
      }))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(guess)))
    }))
})

describe("the cookie", () => {
  it.live("outlasts the broker in its folder, for the owner's eyes only", () =>
    Effect.gen(function*() {
      const storageDir = join(yield* temporaryFolder, "new")
      const file = join(storageDir, "kosmonaut.cookie")
      const first = yield* Effect.scoped(start({ storageDir }))
      assert.match(Redacted.value(first.cookie), /^[0-9a-f]{40}$/)
      assert.strictEqual(Fs.readFileSync(file, "utf8"), `${Redacted.value(first.cookie)}\n`)
      assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
      Fs.chmodSync(file, 0o644)
      const second = yield* Effect.scoped(start({ storageDir }))
      assert.strictEqual(Redacted.value(second.cookie), Redacted.value(first.cookie))
      assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
      // A crash while it was written.
      Fs.writeFileSync(file, "0123")
      const third = yield* Effect.scoped(start({ storageDir }))
      assert.match(Redacted.value(third.cookie), /^[0-9a-f]{40}$/)
    }))

  it.live("is that of the options, and another one each time without them", () =>
    Effect.gen(function*() {
      const given = yield* Effect.scoped(start({ admin: { port: 0, cookie: wrong } }))
      assert.strictEqual(Redacted.value(given.cookie), wrong)
      const [one, other] = yield* Effect.all([Effect.scoped(start({})), Effect.scoped(start({}))])
      assert.notStrictEqual(Redacted.value(one.cookie), Redacted.value(other.cookie))
    }))

  it.live("has to be one, and is told in no error", () =>
    Effect.gen(function*() {
      const failure = yield* Effect.scoped(Effect.flip(start({ admin: { port: 0, cookie: "secret" } })))
      assert.strictEqual(failure._tag, "InvalidOptionError")
      assert.include(failure.message, "admin.cookie")
      assert.notInclude(failure.message, "secret")
      const { broker } = yield* TestBroker
      assert.notInclude(JSON.stringify(broker), Redacted.value(broker.admin!.cookie))
    }).pipe(broker))
})
