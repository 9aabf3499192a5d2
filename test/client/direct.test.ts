/**
 * A Client with a connection: what it makes of each outcome of a request, and that it counts each once.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Client, Transport } from "../../src/index.ts"
import { ConnectionClosedError, ConnectionError } from "../../src/protocol/KosmonautError.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import { tagOf } from "../harness/tagOf.ts"
import { token } from "../harness/TestBroker.ts"

type Played = Effect.Success<typeof FakeTransport.connection>

/** Runs with a Client that has a connection, of which the test plays the broker, and metrics of its own. */
const withClient = <A, E>(
  use: (client: Client.Client["Service"], broker: Played) => Effect.Effect<A, E>,
  options?: Partial<Client.Options>
) =>
  Effect.gen(function*() {
    const played = yield* FakeTransport.connection
    const client = yield* Effect.provideService(
      Client.make({ url: `wr://${token}@127.0.0.1/test`, ...options }),
      Transport.Transport,
      FakeTransport.make(() => Effect.succeed(played.connection))
    )
    const opening = yield* Effect.forkChild(client.openChannel("room"))
    yield* TestClock.adjust(0)
    played.respond(played.sent.shift()!.envelope, ["OK"])
    yield* Fiber.join(opening)
    return yield* use(client, played)
  }).pipe(Effect.scoped, Effect.provideService(Metric.MetricRegistry, new Map()))

/** How many broadcasts ended how, and for how long they took together, in seconds. */
const counted = Effect.map(Metric.snapshot, (all) => {
  const outcomes: Record<string, number> = {}
  let seconds = 0
  let times = 0
  for (const metric of all) {
    if (metric.attributes?.["command"] !== "broadcast") continue
    if (metric.id === "kosmonaut_client_requests_total") {
      outcomes[String(metric.attributes?.["outcome"])] = Number((metric.state as { count: number }).count)
    }
    if (metric.id === "kosmonaut_client_request_seconds") {
      const state = metric.state as { readonly sum: number; readonly count: number }
      seconds = state.sum
      times = state.count
    }
  }
  return { outcomes, seconds, times }
})

const broken = new ConnectionError({ reason: new ConnectionClosedError({ address: "127.0.0.1" }) })

describe("a Client with a connection", () => {
  it.effect("is done with OK, and has counted it then, with its time", () =>
    withClient((client, { respond, sent }) =>
      Effect.gen(function*() {
        const seen = yield* Effect.forkChild(Effect.andThen(client.broadcast("room", "hello", { a: 1 }), counted))
        yield* Effect.yieldNow
        assert.deepStrictEqual(sent, [{ envelope: "2", frames: ["BC", "room", "hello", `{"a":1}`] }])
        yield* TestClock.adjust("250 millis")
        respond("2", ["OK"])
        assert.deepStrictEqual(yield* Fiber.join(seen), { outcomes: { ok: 1 }, seconds: 0.25, times: 1 })
      })
    ))

  it.effect.each(
    [
      { answer: ["OK", ""], tag: undefined },
      { answer: ["OK", "{}"], tag: "ProtocolError/MessageDecodeError" },
      { answer: ["ER", "454"], tag: "ChannelNotFoundError" },
      { answer: ["ER", "597"], tag: "ProtocolError/InternalError" },
      { answer: ["ER"], tag: "ProtocolError/MessageDecodeError" },
      { answer: [], tag: "ProtocolError/MessageDecodeError" }
    ] as const
  )(
    "makes of $answer what it means: $tag",
    ({ answer, tag }) =>
      withClient((client, { respond }) =>
        Effect.gen(function*() {
          const outcome = yield* Effect.forkChild(
            Effect.flip(client.broadcast("room", "hello")).pipe(
              Effect.match({ onFailure: () => undefined, onSuccess: tagOf })
            )
          )
          yield* Effect.yieldNow
          respond("2", answer)
          assert.strictEqual(yield* Fiber.join(outcome), tag)
          assert.deepStrictEqual((yield* counted).outcomes, { [tag?.split("/").at(-1) ?? "ok"]: 1 })
        })
      )
  )

  it.effect("fails with the reason why the connection was lost, counted once", () =>
    withClient((client, { fail, sent }) =>
      Effect.gen(function*() {
        const failed = yield* Effect.forkChild(Effect.flip(client.broadcast("room", "hello")))
        yield* Effect.yieldNow
        yield* fail(broken)
        assert.strictEqual(yield* Fiber.join(failed), broken)
        assert.deepStrictEqual(yield* counted, { outcomes: { ConnectionError: 1 }, seconds: 0, times: 1 })
        assert.strictEqual(sent.length, 1)
      }), { retry: "none" }))

  it.effect("drops the response to a request that was interrupted", () =>
    withClient((client, { respond, sent }) =>
      Effect.gen(function*() {
        const left = yield* Effect.forkChild(client.broadcast("room", "hello"))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(left)
        respond("2", ["ER", "454"])
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(sent.length, 1)
        assert.deepStrictEqual((yield* counted).outcomes, { interrupted: 1 })
      })
    ))

  it.effect("makes the same of a response when its requests are traced", () =>
    withClient((client, { respond, sent }) =>
      Effect.gen(function*() {
        const tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
        const traced = yield* Effect.forkChild(
          Effect.provideService(Effect.flip(client.broadcast("room", "hello")), Tracer.Tracer, tracer)
        )
        yield* Effect.yieldNow
        assert.deepStrictEqual(sent[0]?.frames.slice(0, 4), ["BC", "room", "hello", "{}"])
        respond("2", ["ER", "454"])
        assert.strictEqual((yield* Fiber.join(traced))._tag, "ChannelNotFoundError")
        assert.deepStrictEqual((yield* counted).outcomes, { ChannelNotFoundError: 1 })
      })
    ))
})
