import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Queue, Redacted, Schema } from "effect"
import { Kosmonaut, Worker } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import { assertWrong, type Output, run, Served } from "./program.ts"

const Letter = Schema.fromJsonString(Schema.Struct({
  id: Schema.String,
  event: Schema.String,
  data: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)),
  size: Schema.Int,
  origin: Schema.Struct({ sid: Schema.String, uid: Schema.String }),
  attempts: Schema.Int,
  reason: Schema.String,
  failedAt: Schema.DateTimeUtcFromString
}))

/** What `list` printed. */
const lettersIn = ({ status, stderr, stdout }: Output) => {
  assert.strictEqual(stderr, "")
  assert.strictEqual(status, 0)
  return Effect.forEach(stdout.split("\n").slice(0, -1), (line) => Schema.decodeEffect(Letter)(line))
}

const says = (args: ReadonlyArray<string>, sentence: string) =>
  Effect.map(run(args), (output) => assert.deepStrictEqual(output, { status: 0, stdout: `${sentence}\n`, stderr: "" }))

/** Has the events of a browser end as dead letters, and gives its `sid`. */
const die = Effect.fnUntraced(function*(url: string, websocket: string, events: ReadonlyArray<object>) {
  const token = yield* run(["token", "joe", ".*", "--url", url])
  const joe = yield* Browser.connect(websocket)
  yield* joe.send({ auth: { token: token.stdout.trim() } })
  yield* joe.nextOf(":authenticated")
  yield* Effect.gen(function*() {
    const failed = yield* Queue.unbounded<unknown>()
    const worker = yield* Worker.Worker
    const listening = yield* Effect.forkChild(worker.listen({
      onMessage: () => Effect.fail("no\nluck"),
      onException: (cause) => Queue.offer(failed, cause)
    }))
    for (const event of events) yield* joe.send({ trigger: event })
    for (const _ of events) yield* Queue.take(failed)
    // The acks that it has not sent yet it sends at its end.
    yield* Fiber.interrupt(listening)
  }).pipe(Effect.provide(Kosmonaut.layer({ url })))
  return joe.sid
})

layer(Served.layer, { excludeTestServices: true })("kosmonaut dead-letters", (it) => {
  it.effect("lists, replays and discards what no handler could handle", () =>
    Effect.gen(function*() {
      const { urls, websocket } = yield* Served
      const at = ["--url", urls["/zmq"]]
      assert.deepStrictEqual(yield* lettersIn(yield* run(["dead-letters", "list", ...at])), [])
      yield* says(["dead-letters", "replay", "--all", ...at], "0 dead letters are events again")
      const sid = yield* die(
        urls["/zmq"],
        `${websocket}/zmq`,
        [1, 2, 3, 4, 5].map((n) => ({ event: "save", data: { n, text: "zażółć\n" } }))
      )
      const letters = yield* lettersIn(yield* run(["dead-letters", "list", ...at]))
      assert.deepStrictEqual(letters.map(({ data }) => data?.["n"]), [1, 2, 3, 4, 5])
      assert.deepInclude(letters[0], {
        event: "save",
        data: { n: 1, text: "zażółć\n", sid },
        origin: { sid, uid: "joe" },
        attempts: 1,
        reason: "no luck"
      })
      const [a, b] = letters.map(({ id }) => id)
      yield* says(["dead-letters", "replay", a!, ...at], `${a} is an event again`)
      assertWrong(yield* run(["dead-letters", "replay", a!, ...at]), "456", a!)
      yield* says(["dead-letters", "discard", b!, ...at], `${b} is discarded`)
      assertWrong(yield* run(["dead-letters", "discard", `${b} `, ...at]), "456", `"${b} "`)
      yield* says(["dead-letters", "replay", "--all", ...at], "3 dead letters are events again")
      assert.deepStrictEqual(yield* lettersIn(yield* run(["dead-letters", "list", ...at])), [])
      yield* die(urls["/tcp"], `${websocket}/tcp`, [{ event: "save" }])
      yield* says(["dead-letters", "discard", "--all", "--url", urls["/tcp"]], "1 dead letter is discarded")
    }))
})

/** A broker that answers these frames, whatever it is asked. */
const answering = Effect.fnUntraced(function*(...frames: ReadonlyArray<string>) {
  const broker = yield* FakeBroker.make("backendTcp")
  yield* broker.next.pipe(
    Effect.flatMap(({ peer }) => Effect.andThen(Effect.sync(() => peer.sendUnsafe(frames)), peer.close)),
    Effect.forever,
    Effect.forkScoped
  )
  return { KOSMONAUT_URL: Redacted.value(broker.url) }
})

describe.concurrent("kosmonaut dead-letters", () => {
  it.live("says that the original has none", () =>
    Effect.gen(function*() {
      const env = yield* answering("ER", "400")
      for (const args of [["list"], ["replay", "a-1"], ["discard", "--all"]]) {
        assertWrong(yield* run(["dead-letters", ...args], { env }), "no dead letters", "400")
      }
    }))

  it.live("says how many stay, and ends as what did not do all", () =>
    Effect.gen(function*() {
      const env = yield* answering("OK", `{"replayed":1,"left":2}`)
      assert.deepStrictEqual(yield* run(["dead-letters", "replay", "--all"], { env }), {
        status: 1,
        stdout: "1 dead letter is an event again\n",
        stderr:
          "kosmonaut: 2 dead letters stay: too many events are queued, or no worker takes lifecycle events. Replay again when that has changed\n"
      })
    }))
})
