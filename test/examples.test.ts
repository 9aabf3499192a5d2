/**
 * Every program of docs/examples that runs is run here, as a process of its own, bundled from the sources, and says what the
 * guides say that it says.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as fs from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { Client } from "../src/index.ts"
import { startNode } from "./cli/program.ts"
import { connect } from "./harness/Browser.ts"
import { Chromium, describeInChromium, faultsOf } from "./harness/chromium.ts"
import * as Script from "./harness/script.ts"
import { backend, layer, TestBroker } from "./harness/TestBroker.ts"

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

/** Starts a program of the examples. */
const start = (file: string, env: Record<string, string> = {}) =>
  startNode(path(`../docs/examples/${file}`), [], { env })

/** Programs that end by themselves, and all that they say. */
const programs: Record<string, ReadonlyArray<string>> = {
  "first-broadcast.ts": [`The browser received {"hello":{"what":"world","channel":"room"}}`],
  "presence.ts": [
    `ann has joined presence-room: {"name":"Ann"}`,
    `joe has joined presence-room: {"name":"Joe"}`,
    "Joe sees ann and joe",
    "Ann sees ann and joe",
    "There are ann and joe",
    "joe has left presence-room"
  ],
  "scaling-workers.ts": ["Done: 1 2 3 4 5 6", "By: a b c", "Done: 7 8 9", "By: b c"],
  "channels.ts": [
    "Ann received hello on private-room-42",
    "Ann may not join room 43: Forbidden (403): private-room-43 needs a token whose pattern matches it"
  ],
  "typed-chat.ts": ["ann: hello", "ann: anybody there?", "Joe has missed: hello anybody there?"],
  "nothing-missed.ts": [
    "The page shows the first",
    "The page shows the second",
    "The page shows the third",
    `The broker retains "the first", "the second", "the third"`
  ],
  "users.ts": [
    `"You have mail" was sent to 0 browsers`,
    `"You have more mail" was sent to 1 browsers`,
    "Ann's page shows You have mail",
    "Ann's page shows You have more mail",
    "1 of Ann's browsers get the news now"
  ],
  "requests.ts": [
    "Try again later",
    "You are Ann now",
    "root has this name",
    "The backend got Joe",
    "a reminder for 42"
  ],
  "tracing.ts": [
    "Broker.trigger (producer)",
    "  Worker.handle (consumer)",
    "    look it up (internal)",
    "    Client.broadcast (producer)",
    "      Broker.broadcast (server)"
  ],
  "metrics.ts": [
    "kosmonaut_broker_channels 1",
    `kosmonaut_client_requests_total{command="broadcast",outcome="ok"} 1`,
    `kosmonaut_client_requests_total{command="openChannel",outcome="ok"} 1`
  ]
}

/** Those that others import, that are compiled only, or that are run below. */
const others = [
  "administered.ts",
  "administrator.ts",
  "backend.ts",
  "broker.ts",
  "channel-rules.ts",
  "chat-browser.ts",
  "chat-events.ts",
  "chat-worker.ts",
  "chat.ts",
  "cluster",
  "coming-from-ruby.ts",
  "dead-letters.ts",
  "encryption.ts",
  "many-nodes.ts",
  "frameworks.d.ts",
  "hello.html",
  "local.ts",
  "migrating.ts",
  "news-page.ts",
  "news.ts",
  "otlp.ts",
  "own-http-server.ts",
  "page.html",
  "page.ts",
  "react.ts",
  "retries.ts",
  "script.ts",
  "tokens.ts",
  "vue.ts"
]

describe("docs/examples", () => {
  it("has no program that is not known here", () => {
    const files = fs.readdirSync(path("../docs/examples")).filter((file) => !file.endsWith(".test.ts"))
    assert.deepStrictEqual(files.sort(), [...Object.keys(programs), ...others].sort())
  })

  describe.concurrent("as processes", { timeout: 120_000 }, () => {
    it.live.each(Object.entries(programs))(
      "%s prints what it should, and ends",
      ([file, lines]) =>
        Effect.scoped(Effect.gen(function*() {
          const program = yield* start(file)
          const { status, stderr, stdout } = yield* program.output
          assert.strictEqual(stderr, "")
          assert.deepStrictEqual(stdout.split("\n"), [...lines, ""])
          assert.strictEqual(status, 0)
        }))
    )

    it.live("backend.ts broadcasts, and ends", () =>
      Effect.gen(function*() {
        const { urls } = yield* TestBroker
        const browser = yield* connect(urls.websocket)
        yield* browser.send({ subscribe: { channel: "room" } })
        yield* browser.nextOf(":subscribed")
        const program = yield* start("backend.ts", { KOSMONAUT_URL: Redacted.value(urls.backend) })
        assert.deepStrictEqual(yield* browser.nextOf("hello"), { what: "world", channel: "room" })
        assert.deepStrictEqual(yield* program.output, { status: 0, stdout: "", stderr: "" })
      }).pipe(Effect.scoped, Effect.provide(layer())))

    it.live("chat-worker.ts handles events until it is told to end", () =>
      Effect.gen(function*() {
        const { urls, vhost } = yield* TestBroker
        const program = yield* start("chat-worker.ts", { KOSMONAUT_URL: Redacted.value(urls.backend) })
        const browser = yield* connect(urls.websocket)
        const token = yield* vhost.accessTokens.issue("joe", ".*")
        yield* browser.send({ auth: { token: Redacted.value(token) } })
        yield* browser.send({ subscribe: { channel: "room" } })
        yield* browser.nextOf(":subscribed")
        yield* browser.send({ trigger: { event: "chat/say", data: { text: "hello" } } })
        assert.deepStrictEqual(yield* browser.nextOf("said"), { by: "joe", text: "hello", channel: "room" })
        yield* program.kill("SIGTERM")
        const { stderr, stdout } = yield* program.output
        assert.strictEqual(stdout + stderr, "")
        assert.deepStrictEqual((yield* vhost.lobby.info).workers, [])
      }).pipe(Effect.scoped, Effect.provide(layer())))
  })
})

const contentType = "text/javascript"

/** Serves a page on this machine, and gives the port. */
const served = (html: string) =>
  Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer((_request, response) => {
        response.setHeader("content-type", "text/html").end(html)
      }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

describeInChromium("docs/examples", (it) => {
  it.effect("hello.html shows what is broadcast", () =>
    Effect.gen(function*() {
      const { urls } = yield* TestBroker
      const client = yield* Client.Client
      const html = fs.readFileSync(path("../docs/examples/hello.html"), "utf8")
        .replace("ws://127.0.0.1:8080/app", urls.websocket)
      const port = yield* served(html)
      const context = yield* (yield* Chromium).profile
      const subscribed = yield* Effect.promise(async () => {
        await context.route("**/kosmonaut.js", (route) => route.fulfill({ contentType, body: Script.build("iife") }))
        const tab = await context.newPage()
        await tab.goto(`http://127.0.0.1:${port}/`)
        await tab.evaluate(
          "new Promise((resolve) => room.onState(({ _tag }) => _tag === 'Subscribed' && resolve()))"
        )
        return tab
      })
      yield* client.broadcast("room", "hello", { what: "world" })
      yield* Effect.promise(() => subscribed.getByText("hello world").waitFor())
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.provideMerge(Layer.fresh(backend("backend")), layer({ host: "127.0.0.1" })))
    ))

  it.effect("page.html is a chat between two tabs", () =>
    Effect.gen(function*() {
      const program = yield* start("page.ts", { PORT: "0" })
      const [, port] = yield* program.says("stdout", /Listening on .*:(\d+)/)
      const { profile } = yield* Chromium
      const context = yield* profile
      // From the sources there is no built one.
      yield* Effect.promise(() =>
        context.route("**/kosmonaut.js", (route) => route.fulfill({ contentType, body: Script.build("iife") }))
      )
      const open = Effect.promise(async () => {
        const tab = await context.newPage()
        const faults = faultsOf(tab)
        await tab.goto(`http://localhost:${port}/`)
        await tab.getByText("Connected").waitFor()
        return { tab, faults }
      })
      const [ann, joe] = [yield* open, yield* open]
      yield* Effect.promise(async () => {
        await ann.tab.fill("#text", "hello")
        await ann.tab.press("#text", "Enter")
        for (const { tab } of [ann, joe]) await tab.getByText("hello").waitFor()
      })
      assert.deepStrictEqual([...ann.faults, ...joe.faults], [])
      assert.strictEqual(yield* Effect.promise(() => ann.tab.inputValue("#text")), "")
    }).pipe(Effect.scoped))
})
