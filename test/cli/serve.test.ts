import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Net from "node:net"
import * as Browser from "../harness/Browser.ts"
import { token } from "../harness/TestBroker.ts"
import { assertWrong, freePorts, run, serve, serveWith, unknownCookie } from "./program.ts"

/** A port of this machine on which something listens. */
const takenPort = Effect.acquireRelease(
  Effect.callback<Net.Server>((resume) => {
    const server = Net.createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close())
).pipe(Effect.map((server) => (server.address() as Net.AddressInfo).port))

describe.concurrent("kosmonaut serve", { timeout: 120_000 }, () => {
  it.live("prints one line when it is ready, and ends cleanly with SIGTERM", () =>
    Effect.gen(function*() {
      const { program, ready } = yield* serve(
        "--vhost",
        "/a",
        "--vhost",
        "/b/c",
        "--token",
        `${token},${"f".repeat(40)}`
      )
      assert.match(ready.websocket, /^ws:\/\/127\.0\.0\.1:\d+$/)
      assert.match(ready.backend, /^wr:\/\/127\.0\.0\.1:\d+$/)
      assert.match(ready.backendTcp, /^wr\+tcp:\/\/127\.0\.0\.1:\d+$/)
      assert.match(ready.admin, /^http:\/\/127\.0\.0\.1:\d+$/)
      assert.deepStrictEqual(ready.vhosts[0], { path: "/a" })
      assert.strictEqual(ready.vhosts[1]?.path, "/b/c")
      assert.match(ready.vhosts[1].token!, /^\w{40}$/)
      assert.strictEqual(ready.vhosts.length, 2)

      yield* program.kill("SIGTERM")
      const { status, stderr, stdout } = yield* program.output
      assert.strictEqual(status, 0)
      assert.match(stdout, /^ready [^\n]+\n$/)
      assert.match(stderr, unknownCookie)
    }).pipe(Effect.scoped))

  it.live("gives the broker the limits that it was started with", () =>
    Effect.gen(function*() {
      const { ready } = yield* serve("--channel", "room", "--browsers-outbox-size", "4KiB", "--browsers-broadcast")
      const ann = yield* Browser.connect(`${ready.websocket}/app`)
      yield* ann.send({ subscribe: { channel: "room" } })
      yield* ann.nextOf(":subscribed")
      yield* ann.send({ broadcast: { channel: "room", event: "small", data: { n: 1 } } })
      assert.deepStrictEqual(yield* ann.nextOf("small"), { n: 1, channel: "room", sid: ann.sid })
    }).pipe(Effect.scoped))

  it.live("opens channels by its rules", () =>
    Effect.gen(function*() {
      const { ready } = yield* serve(
        ...["room-.* open-on-demand history-count=2", `{"pattern":"chat","openOnDemand":true,"browsersBroadcast":true}`]
          .flatMap((rule) => ["--channel-rule", rule])
      )
      const ann = yield* Browser.connect(`${ready.websocket}/app?v=1`)
      yield* ann.send({ subscribe: { channel: "room-1" } })
      assert.include(yield* ann.nextOf(":subscribed"), { channel: "room-1", missed: 0 })
      yield* ann.send({ broadcast: { channel: "room-1", event: "small" } })
      assert.include(yield* ann.nextOf(":error"), { code: 403 })
      yield* ann.send({ subscribe: { channel: "chat" } })
      assert.deepStrictEqual(yield* ann.nextOf(":subscribed"), { channel: "chat" })
      yield* ann.send({ broadcast: { channel: "chat", event: "small" } })
      assert.deepStrictEqual(yield* ann.nextOf("small"), { channel: "chat", sid: ann.sid })
      yield* ann.send({ subscribe: { channel: "other" } })
      assert.include(yield* ann.nextOf(":error"), { code: 454 })
    }).pipe(Effect.scoped))

  it.live("does not repeat a token that the environment gave, lets no browser broadcast, and ends with SIGINT", () =>
    Effect.gen(function*() {
      const env = { KOSMONAUT_TOKEN: token, KOSMONAUT_ADMIN_COOKIE: token }
      const { program, ready } = yield* serveWith(
        env,
        "--vhost",
        "/a",
        "--vhost",
        "/b",
        ...["room", "hall"].flatMap((name) => ["--channel", name])
      )
      assert.deepStrictEqual(ready.vhosts[0], { path: "/a" })
      assert.match(ready.vhosts[1]!.token!, /^\w{40}$/)
      const ann = yield* Browser.connect(`${ready.websocket}/a`)
      for (const channel of ["room", "hall"]) {
        yield* ann.send({ subscribe: { channel } })
        assert.deepStrictEqual(yield* ann.nextOf(":subscribed"), { channel })
      }
      yield* ann.send({ broadcast: { channel: "room", event: "small", data: { n: 1 } } })
      assert.include(yield* ann.nextOf(":error"), { code: 403 })
      yield* program.kill("SIGINT")
      assert.strictEqual(yield* ann.closed, 1001)
      const { status, stderr } = yield* program.output
      assert.strictEqual(status, 0)
      assert.strictEqual(stderr, "")
    }).pipe(Effect.scoped))

  it.live.each(["websocket-port", "backend-port", "tcp-port", "admin-port"])(
    "names the port that is in use, --%s",
    (flag) =>
      Effect.gen(function*() {
        const port = yield* takenPort
        const others = freePorts.filter((_, i) => freePorts[i - i % 2] !== `--${flag}`)
        assertWrong(yield* run(["serve", ...others, `--${flag}`, String(port)]), `127.0.0.1:${port}`, "in use")
      }).pipe(Effect.scoped)
  )

  it.live.each([
    [["--vhost", "app"], `"app"`],
    [["--vhost", "/a", "--vhost", "/a"], "/a"],
    [["--token", token.slice(1)], "40 letters"],
    [["--token", `${token},`], "40 letters"],
    [["--token", Array.from({ length: 11 }, (_, n) => `${token.slice(2)}${10 + n}`).join()], "at most 10"],
    [["--token", token, "--token", token], "(2)"],
    [["--channel", "a b"], `"a b"`],
    [["--tcp-port", "70000"], `"70000"`],
    [["--tcp-port", "http"], `"http"`],
    [["--admin-port", "none"], `"none"`, "off"],
    [["--browsers-max", "many"], `"many"`, "unlimited"],
    [["--browsers-message-rate", "0"], `"0"`, "unlimited"],
    [["--browsers-outbox-size", "4MB"], `"4MB"`, "4MiB"],
    [["--browsers-ping-interval", "25"], `"25"`, "25s"],
    [["--browsers-ping-interval", "unlimited"], `"unlimited"`]
  ] as ReadonlyArray<readonly [ReadonlyArray<string>, ...ReadonlyArray<string>]>)(
    "refuses what no broker can be made of: %j",
    ([args, ...parts]) =>
      Effect.map(run(["serve", ...freePorts.slice(0, 4), ...args]), (output) => assertWrong(output, ...parts))
  )
})
