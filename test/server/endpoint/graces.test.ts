/**
 * After which ends of a real connection its user stays a member for a moment, and after which not.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { eventually } from "../../harness/eventually.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { TestBroker } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

type Raw = Effect.Success<ReturnType<typeof RawWebSocket.connect>>

const room = "presence-room"

/** A member, by a connection made by hand. */
const member = Effect.fnUntraced(function*(version: 0 | 1) {
  const { broker, vhost } = yield* TestBroker
  const raw = yield* RawWebSocket.connect(broker.websocketPort, version === 1 ? "/test?v=1" : "/test")
  yield* raw.next
  const token = Redacted.value(yield* vhost.accessTokens.issue("joe", ".*"))
  yield* raw.send(1, JSON.stringify({ auth: { token } }))
  yield* raw.next
  yield* raw.send(1, JSON.stringify({ subscribe: { channel: room } }))
  yield* raw.next
  return raw
})

const listed = Effect.flatMap(
  TestBroker,
  ({ vhost }) => Effect.map(vhost.channels.subscribersAfter(room, 0), ({ items }) => items.map(({ value }) => value))
)

const close = (code: number) => (raw: Raw) => raw.send(8, Uint8Array.of(code >> 8, code & 0xff))

const cut = ({ socket }: Raw) => Effect.sync(() => void socket.destroy())

const disconnect = () =>
  Effect.flatMap(TestBroker, ({ vhost }) => Effect.orDie(vhost.browsers.disconnect("uid", "joe")))

// The second ping is due after the first has been sent.
const silence = (raw: Raw) =>
  TestClock.adjust("25 seconds").pipe(
    Effect.andThen(Effect.repeat(Effect.orDie(raw.next), { until: ({ opcode }) => opcode === 9 })),
    Effect.andThen(TestClock.adjust("25 seconds"))
  )

type Ending = readonly [
  name: string,
  end: (raw: Raw) => Effect.Effect<unknown, never, Effect.Services<typeof listed>>,
  version?: 0
]

const mayReturn: ReadonlyArray<Ending> = [
  ["1001", close(1001)],
  ["4000, the broker has not responded", close(4000)],
  ["a cut", cut],
  ["silence", silence]
]

const isGone: ReadonlyArray<Ending> = [
  ["1000", close(1000)],
  ["1005", (raw) => raw.send(8, "")],
  ["another code of its own", close(4001)],
  ["`close`", (raw) => raw.send(1, `{"close":{}}`)],
  ["a backend's disconnect", disconnect],
  ["a disconnect that its own close meets", (raw) => Effect.andThen(disconnect(), close(1001)(raw))],
  ["a message that is too large", (raw) => raw.sendBytes(RawWebSocket.header(1, 10_000_000))],
  ["a malformed frame", (raw) => raw.send(3, "")],
  ["1001 of version 0", close(1001), 0],
  ["a cut of version 0", cut, 0]
]

describe("a member", () => {
  it.effect.each(mayReturn)("may come back after %s", ([_, end]) =>
    Effect.gen(function*() {
      const raw = yield* member(1)
      yield* end(raw)
      yield* eventually(listed, ([joe]) => joe?.isAway === true)
      yield* TestClock.adjust("2999 millis")
      assert.strictEqual((yield* listed).length, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* listed).length, 0)
    }).pipe(withBroker()))

  it.effect.each(isGone)("is gone after %s", ([_, end, version]) =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const raw = yield* member(version ?? 1)
      yield* end(raw)
      yield* eventually(Effect.sync(vhost.browsers.count), (count) => count === 0)
      assert.deepStrictEqual(yield* listed, [])
    }).pipe(withBroker()))
})
