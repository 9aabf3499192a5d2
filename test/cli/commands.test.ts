import { assert, describe, layer } from "@effect/vitest"
import { Effect, Queue, Schema } from "effect"
import * as Browser from "../harness/Browser.ts"
import { token } from "../harness/TestBroker.ts"
import { assertDiscreet, assertWrong, type Output, run, Served, start, transports } from "./program.ts"

const assertSays = ({ status, stderr, stdout }: Output, line: string) => {
  assert.strictEqual(stderr, "")
  assert.strictEqual(stdout, `${line}\n`)
  assert.strictEqual(status, 0)
}

const Event = Schema.fromJsonString(Schema.Struct({
  event: Schema.String,
  data: Schema.Record(Schema.String, Schema.Json),
  uid: Schema.String,
  id: Schema.String,
  attempt: Schema.Int
}))

/** A browser on a channel, let in by the command `token`. */
const enter = Effect.fnUntraced(function*(vhost: (typeof transports)[number]["vhost"], channel: string) {
  const { urls, websocket } = yield* Served
  const issued = yield* run(["token", "joe", ".*", "--url", urls[vhost]])
  assert.strictEqual(issued.stderr, "")
  assert.match(issued.stdout, /^[\da-f]{128}\n$/)
  const joe = yield* Browser.connect(`${websocket}${vhost}`)
  yield* joe.send({ auth: { token: issued.stdout.trim() } })
  yield* joe.nextOf(":authenticated")
  yield* joe.send({ subscribe: { channel } })
  yield* joe.nextOf(":subscribed")
  return joe
})

layer(Served.layer, { excludeTestServices: true })("kosmonaut", (it) => {
  describe.each(transports)("over $name", ({ name, vhost }) => {
    const room = `presence-${name}`

    it.effect("opens, broadcasts on and closes a channel, and lets a browser in", () =>
      Effect.gen(function*() {
        const url = (yield* Served).urls[vhost]
        assertSays(yield* run(["open", room, "--url", url]), `${room} is open`)
        const joe = yield* enter(vhost, room)
        const said = yield* run(["broadcast", room, "said", `{"text":"zażółć","n":[1]}`, "--url", url])
        assertSays(said, `said is broadcast on ${room}`)
        assert.deepStrictEqual(yield* joe.nextOf("said"), { text: "zażółć", n: [1], channel: room })
        assertSays(yield* run(["broadcast", room, "bare", "--url", url]), `bare is broadcast on ${room}`)
        assert.deepStrictEqual(yield* joe.nextOf("bare"), { channel: room })
        assertSays(yield* run(["close", room], { env: { KOSMONAUT_URL: url } }), `${room} is closed`)
        assert.deepStrictEqual(yield* joe.nextOf(":unsubscribed"), { channel: room })
        assertWrong(yield* run(["close", room, "--url", url]), "454", room)
      }))

    it.effect("broadcasts lines, reports those that are bad, and counts", () =>
      Effect.gen(function*() {
        const url = (yield* Served).urls[vhost]
        const joe = yield* enter(vhost, "room")
        const stdin = [
          `{"event":"first","data":{"n":1}}`,
          "",
          "not json",
          `{"event":"plain","n":2}\r`,
          "[3]",
          `{"event":"last","data":{}}`
        ].join("\n")
        const options = { stdin, env: { KOSMONAUT_URL: url } }
        const output = yield* run(["broadcast", "room", "line", "--stdin", "--concurrency", "1"], options)
        assert.match(output.stdout, /^3 broadcast, 2 failed in \d+\.\d\d s, \d+\/s\n$/)
        assert.match(
          output.stderr,
          /^kosmonaut: line 3: not json is not JSON[^\n]*\nkosmonaut: line 5: [^\n]*object[^\n]*\n$/
        )
        assert.strictEqual(output.status, 1)
        assert.deepStrictEqual(yield* joe.nextOf("first"), { n: 1, channel: "room" })
        assert.deepStrictEqual(yield* joe.nextOf("line"), { event: "plain", n: 2, channel: "room" })
        assert.deepStrictEqual(yield* joe.nextOf("last"), { channel: "room" })
      }))
  })

  describe("over either", () => {
    it.effect("prints what browsers trigger, until SIGINT", () =>
      Effect.gen(function*() {
        const url = (yield* Served).urls["/zmq"]
        const joe = yield* enter("/zmq", "room")
        const listener = yield* start(["listen", "--url", url])
        yield* listener.says("stderr", /connected\n/)
        yield* joe.send({ trigger: { event: "ask", data: { text: "a\nb", __proto: 1 } } })
        yield* joe.send({ trigger: { event: "bare" } })
        yield* listener.says("stdout", /\n.*\n/)
        yield* listener.kill("SIGINT")
        const { status, stderr, stdout } = yield* listener.output
        const events = yield* Effect.forEach(stdout.trim().split("\n"), (line) => Schema.decodeEffect(Event)(line))
        assert.deepStrictEqual(events.map(({ id: _, ...event }) => event), [
          { event: "ask", data: { text: "a\nb", __proto: 1, sid: joe.sid }, uid: "joe", attempt: 1 },
          { event: "bare", data: { sid: joe.sid }, uid: "joe", attempt: 1 }
        ])
        assert.notStrictEqual(events[0]?.id, events[1]?.id)
        assert.strictEqual(status, 0)
        assert.strictEqual(stderr, "kosmonaut: connecting\nkosmonaut: connected\n")
      }))

    it.effect("broadcasts every one of many lines", () =>
      Effect.gen(function*() {
        const url = (yield* Served).urls["/zmq"]
        const joe = yield* enter("/zmq", "room")
        const stdin = Array.from({ length: 3000 }, (_, n) => JSON.stringify({ n, text: "x".repeat(100) })).join("\n")
        const output = yield* run(["broadcast", "room", "many", "--stdin", "--url", url], { stdin })
        assert.match(output.stdout, /^3000 broadcast, 0 failed /)
        assert.strictEqual(output.status, 0)
        const received = new Set<unknown>()
        while (received.size < 3000) received.add(((yield* joe.nextOf("many")) as { readonly n: number }).n)
      }))

    it.effect("leaves every number as it was written", () =>
      Effect.gen(function*() {
        const { urls, websocket } = yield* Served
        const socket = yield* Effect.acquireRelease(
          Effect.sync(() => new WebSocket(`${websocket}/zmq`)),
          (socket) => Effect.sync(() => socket.close())
        )
        const texts = yield* Queue.unbounded<string>()
        socket.onmessage = ({ data }) => Queue.offerUnsafe(texts, String(data))
        const next = (event: string): Effect.Effect<string> =>
          Effect.flatMap(
            Queue.take(texts),
            (text) => text.startsWith(`{"${event}"`) ? Effect.succeed(text) : next(event)
          )
        yield* next(":connected")
        socket.send(JSON.stringify({ subscribe: { channel: "room" } }))
        yield* next(":subscribed")
        const numbers = "[9007199254740993,1.0,-0,1e400,0.1,1E2]"
        const url = ["--url", urls["/zmq"]]
        yield* run(["broadcast", "room", "one", `{"numbers":${numbers}}`, ...url])
        assert.include(yield* next("one"), numbers)
        const stdin = `{"event":"line","data":{"numbers":${numbers}}}`
        yield* run(["broadcast", "room", "--stdin", ...url], { stdin })
        assert.include(yield* next("line"), numbers)
      }))

    it.effect("keeps no more of a line than a message can hold", () =>
      Effect.gen(function*() {
        const url = (yield* Served).urls["/zmq"]
        const long = `{"text":"${"x".repeat(3_000_000)}"}`
        const { status, stderr, stdout } = yield* run(["broadcast", "room", "e", "--stdin", "--url", url], {
          stdin: `${long}\n{"text":"short"}\n${long}`
        })
        assert.match(stdout, /^1 broadcast, 2 failed /)
        assert.match(stderr, /^kosmonaut: line 1: it is longer[^\n]*\nkosmonaut: line 3: it is longer[^\n]*\n$/)
        assert.strictEqual(status, 1)
      }))

    it.effect("gives up where the token is wrong, and tells no token", () =>
      Effect.gen(function*() {
        const wrong = token.replace("0123", "9999")
        const { urls } = yield* Served
        yield* Effect.forEach(Object.values(urls), (url) =>
          Effect.gen(function*() {
            const env = { KOSMONAUT_URL: url.replace(token, wrong) }
            assertWrong(yield* run(["open", "x"], { env }), "402", "127.0.0.1")
            const lines = yield* run(["broadcast", "room", "e", "--stdin"], { env, stdin: "{}\n{}" })
            assert.match(lines.stderr, /^kosmonaut: Unauthorized \(402\)[^\n]+\n$/)
            assert.strictEqual(lines.status, 1)
            const listener = yield* run(["listen"], { env })
            assert.match(listener.stderr, /^kosmonaut: connecting\nkosmonaut: Unauthorized \(402\)[^\n]+\n$/)
            assert.strictEqual(listener.status, 1)
            assertDiscreet(lines.stderr + listener.stderr)
            assert.notInclude(lines.stderr + listener.stderr, wrong)
          }))
      }))
  })
})
