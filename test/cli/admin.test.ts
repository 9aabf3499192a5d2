/**
 * `kosmonaut admin`, against a served broker: what it prints for people and for programs, and what it says when it is used wrongly.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Browser from "../harness/Browser.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"
import { TestBroker, token } from "../harness/TestBroker.ts"
import * as Harness from "../harness/TestBroker.ts"
import { assertWrong, run, serve, start } from "./program.ts"

const cookie = "89abcdef0123456789abcdef0123456789abcdef"

/** Runs a command of the administrator of the test's broker. */
const admin = (...args: ReadonlyArray<string>) =>
  TestBroker.use(({ broker }) =>
    run(["admin", ...args], {
      env: { KOSMONAUT_ADMIN_ADDRESS: broker.admin!.address, KOSMONAUT_ADMIN_COOKIE: cookie }
    })
  )

/** What it prints. */
const printed = (...args: ReadonlyArray<string>) =>
  Effect.map(admin(...args), ({ status, stderr, stdout }) => {
    assert.deepEqual([status, stderr], [0, ""])
    return stdout
  })

const linesOf = (text: string) => text.trimEnd().split("\n")

/** What it prints for programs. */
const items = (...args: ReadonlyArray<string>) =>
  Effect.map(
    printed(...args, "--json"),
    (text): Array<any> => linesOf(text).filter((line) => line !== "").map((line) => JSON.parse(line))
  )

// Without the clock of tests: what waits here waits in the broker, too.
layer(Harness.layer({ admin: { port: 0, cookie } }), { excludeTestServices: true })("kosmonaut admin", (it) => {
  it.effect("adds, lists, shows and removes vhosts", () =>
    Effect.gen(function*() {
      const added = yield* printed("add-vhost", "/chat")
      assert.match(added, /^\/chat is there, with the access token [0-9a-f]{40}\n$/)
      const list = linesOf(yield* printed("list-vhosts"))
      assert.match(list[0]!, /^vhost +browsers +workers +channels +queued +unacked +dead letters$/)
      assert.match(list[1]!, /^\/test +0 +0 +3 +0 +0 +0$/)
      const [, chat] = yield* items("list-vhosts")
      assert.strictEqual(chat.path, "/chat")
      const [shown] = yield* items("show-vhost", "/chat")
      assert.include(added, shown.token)
      assert.match(yield* printed("show-vhost", "/chat"), new RegExp(`^access token +${shown.token}$`, "m"))
      const regenerated = yield* printed("regenerate-vhost-token", "/chat")
      const [again] = yield* items("show-vhost", "/chat")
      assert.strictEqual(regenerated, `/chat has the access token ${again.token}, and no other one\n`)
      assert.notStrictEqual(again.token, shown.token)
      assert.strictEqual(again.tokens, 1)
      assertWrong(yield* admin("regenerate-vhost-token", "/none"), `"/none"`)
      assertWrong(yield* admin("add-vhost", "/chat"), "/chat", "exists")
      assert.strictEqual(yield* printed("delete-vhost", "/chat"), "/chat is removed\n")
      assertWrong(yield* admin("delete-vhost", "/chat"), `"/chat"`)
      assertWrong(yield* admin("add-vhost", "chat"), `"chat"`)
    }))

  it.effect("opens, lists and closes channels", () =>
    Effect.gen(function*() {
      yield* printed("add-vhost", "/eu/chat")
      assert.strictEqual(yield* printed("add-channel", "/eu/chat", "room"), "room is open\n")
      yield* printed("add-channel", "/eu/chat", "presence-room")
      assert.strictEqual(
        yield* printed("list-channels", "/eu/chat"),
        "channel        kind      subscribers\nroom           normal    0\npresence-room  presence  0\n"
      )
      assert.deepEqual(yield* items("list-channels", "/eu/chat", "--prefix", "pre"), [
        { name: "presence-room", kind: "presence", subscribers: 0 }
      ])
      assert.strictEqual(yield* printed("delete-channel", "/eu/chat", "room"), "room is closed\n")
      assert.strictEqual(yield* printed("clear-channels", "/eu/chat"), "1 channel is closed\n")
      assert.deepEqual(yield* items("list-channels", "/eu/chat"), [])
      assertWrong(yield* admin("add-channel", "/eu/chat", "a b"), `"a b"`)
      assertWrong(yield* admin("list-channels", "/none"), `"/none"`)
      yield* printed("delete-vhost", "/eu/chat")
    }))

  it.effect("lists browsers and workers, and disconnects browsers", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* TestBroker
      const ann = yield* Browser.connect(urls.websocket)
      yield* ann.send({ auth: { token: Redacted.value(yield* vhost.accessTokens.issue("ann", ".*")) } })
      yield* ann.nextOf(":authenticated")
      const table = yield* printed("browsers", "/test")
      assert.match(table, /^browser +user +subscriptions +address +seconds +queued bytes$/m)
      assert.match(table, new RegExp(`^${ann.sid}  ann   0 +127\\.0\\.0\\.1 +[\\d.]+ +0$`, "m"))
      const [{ seconds, ...item }] = yield* items("browsers", "/test")
      assert.isAtLeast(seconds, 0)
      assert.deepEqual(item, {
        sid: ann.sid,
        uid: "ann",
        version: 0,
        subscriptions: 0,
        address: "127.0.0.1",
        queuedBytes: 0
      })
      assert.strictEqual((yield* items("status"))[0].counts.browsers, 1)
      assert.match(yield* printed("status"), /^browsers +1$/m)
      assert.strictEqual(yield* printed("disconnect", "/test", ann.sid), "1 browser is disconnected\n")
      assert.strictEqual(yield* ann.closed, 4403)
      assert.strictEqual(yield* printed("disconnect", "/test", "--uid", "joe"), "0 browsers are disconnected\n")
      assertWrong(yield* admin("disconnect", "/test", "some"), `"some"`)
      assertWrong(yield* admin("disconnect", "/test"), "sid", "--uid")
      assert.match(yield* printed("list-workers", "/test"), /^worker +seconds +unacked +prefetch +takes\n$/)
    }).pipe(Effect.scoped))

  it.effect("lists its commands in two columns", () =>
    Effect.gen(function*() {
      const { stdout } = yield* run(["admin", "--help"])
      const [, list] = stdout.split("SUBCOMMANDS\n")
      const lines = list!.split("\n\n")[0]!.split("\n")
      assert.isAbove(lines.length, 10)
      assert.strictEqual(new Set(lines.map((line) => line.match(/^ {2}\S+ {2,}/)?.[0].length)).size, 1, list!)
    }))

  it.effect("has its flags in one list, without the headings of those of serve", () =>
    Effect.gen(function*() {
      assert.match(
        yield* printed("status", "--help"),
        /FLAGS\n {2}--address .*\n {2}--cookie .*\n {2}--storage-dir .*\n {2}--json /
      )
    }))

  it.effect("says what is wrong with the cookie and the address", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const { address } = broker.admin!
      assertWrong(yield* run(["admin", "status", "--address", address]), "cookie is missing", "--storage-dir")
      assertWrong(
        yield* run(["admin", "status", "--address", address, "--cookie", token]),
        "does not accept the cookie"
      )
      assertWrong(
        yield* run(["admin", "status", "--address", "http://127.0.0.1:9", "--cookie", cookie]),
        "http://127.0.0.1:9",
        "does not answer"
      )
      const folder = yield* temporaryFolder
      assertWrong(
        yield* run(["admin", "status", "--storage-dir", folder]),
        "There is no",
        "kosmonaut.cookie",
        "KOSMONAUT_ADMIN_COOKIE"
      )
      assertWrong(yield* admin("tail", "/test"), "channel")
      assertWrong(yield* admin("tail", "/test", "none"), `"none"`)
    }).pipe(Effect.scoped))

  it.effect("removes all vhosts", () =>
    Effect.gen(function*() {
      yield* printed("add-vhost", "/one")
      assert.strictEqual(yield* printed("clear-vhosts"), "2 vhosts are removed\n")
      assert.deepEqual(yield* items("list-vhosts"), [])
    }))
})

describe("kosmonaut admin", { timeout: 120_000 }, () => {
  it.live("finds the cookie in the storage folder, and shows what is broadcast until it is interrupted", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { program, ready } = yield* serve(
        "--storage-dir",
        folder,
        "--channel",
        "room",
        "--channel",
        "hall",
        "--browsers-broadcast"
      )
      const env = { KOSMONAUT_ADMIN_ADDRESS: ready.admin, KOSMONAUT_STORAGE_DIR: folder }
      const tail = yield* start(["admin", "tail", "/app", "room"], { env })
      const ann = yield* Browser.connect(`${ready.websocket}/app`)
      for (const channel of ["room", "hall"]) yield* ann.send({ subscribe: { channel } })
      // Until the tail has begun.
      yield* Effect.forkScoped(
        Effect.forever(Effect.delay(
          Effect.forEach(["room", "hall"], (channel) => ann.send({ broadcast: { channel, event: "said", data: {} } })),
          "50 millis"
        ))
      )
      yield* tail.says("stdout", new RegExp(`^{"said":{"channel":"room","sid":"${ann.sid}"}}\n`))
      // One after the other from here on, and in order.
      for (const n of [1, 2, 3]) {
        yield* ann.send({ broadcast: { channel: "room", event: "counted", data: { n } } })
      }
      yield* tail.says(
        "stdout",
        /^{"counted":{"n":1,.*}}\n(?:{"said".*\n)*{"counted":{"n":2,.*}}\n(?:{"said".*\n)*{"counted":{"n":3,.*}}\n/m
      )
      yield* tail.kill("SIGINT")
      const { status, stderr } = yield* tail.output
      assert.deepEqual([status, stderr], [0, ""])
      const other = yield* start(["admin", "tail", "/app", "room"], { env })
      yield* other.says("stdout", /\n/)
      const closing = yield* start(["admin", "tail", "/app", "hall"], { env })
      yield* closing.says("stdout", /\n/)
      assert.strictEqual((yield* run(["admin", "delete-channel", "/app", "hall"], { env })).status, 0)
      const closed = yield* closing.output
      assert.deepEqual([closed.status, closed.stderr], [0, "kosmonaut: It ends: the channel was closed.\n"])
      yield* program.kill("SIGTERM")
      const lost = yield* other.output
      assert.strictEqual(lost.status, 1)
      assert.match(lost.stderr, /^kosmonaut: The connection to the broker at http:\/\/127\.0\.0\.1:\d+ was lost/)
    }).pipe(Effect.scoped))
})
