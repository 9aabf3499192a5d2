/**
 * A Client over a transport that asks directly: what it makes of each end of a request, and that it counts each once.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Fiber, Layer, Metric, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Client, Transport } from "../../src/index.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import { ConnectionClosedError, ConnectionError } from "../../src/protocol/KosmonautError.ts"
import type { ResponseHandler, Sent } from "../../src/transport/Transport.ts"
import { tagOf } from "../harness/tagOf.ts"
import { token } from "../harness/TestBroker.ts"

/** A transport of which the test plays the broker. */
const stub = () => {
  const asked: Array<{ readonly frames: Frames; readonly sent: Sent; readonly handler: ResponseHandler }> = []
  const forgotten: Array<Sent> = []
  const requested: Array<Frames> = []
  const state = { isConnected: true }
  const transport = Transport.Transport.of({
    schemes: ["wr"],
    session: () => Effect.never,
    requester: () =>
      Effect.succeed({
        supportsExtensions: () => true,
        request: (frames) => {
          requested.push(frames)
          return Effect.succeed(["OK"])
        },
        direct: {
          requestUnsafe: (frames, sent, handler) => {
            if (!state.isConnected) return false
            sent.connection = "c"
            sent.message = `${asked.push({ frames, sent, handler })}`
            return true
          },
          cancelUnsafe: (sent) => forgotten.push(sent)
        }
      })
  })
  return { asked, forgotten, requested, state, transport }
}

type Stub = ReturnType<typeof stub>

/** Runs with a Client over such a transport, and metrics of its own. */
const withClient = <A, E>(
  use: (client: Client.Client["Service"], stub: Stub) => Effect.Effect<A, E>,
  options?: Partial<Client.Options>
) => {
  const { transport, ...rest } = stub()
  const client = Client.layer({ url: `wr://${token}@127.0.0.1/test`, ...options }).pipe(
    Layer.provide(Layer.succeed(Transport.Transport, transport))
  )
  return Effect.flatMap(Client.Client, (client) => use(client, { transport, ...rest })).pipe(
    Effect.provide(client),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )
}

/** How many broadcasts ended how, and for how long they took together, in seconds. */
const counted = Effect.map(Metric.snapshot, (all) => {
  const outcomes: Record<string, number> = {}
  let seconds = 0
  let times = 0
  for (const metric of all) {
    if (metric.id === "kosmonaut_client_requests") {
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

describe("a Client that asks directly", () => {
  it.effect("is done with OK, and has counted it then, with its time", () =>
    withClient((client, { asked, requested }) =>
      Effect.gen(function*() {
        const seen = yield* Effect.forkChild(Effect.andThen(client.broadcast("room", "hello", { a: 1 }), counted))
        yield* Effect.yieldNow
        assert.deepStrictEqual(asked.map(({ frames }) => frames), [["BC", "room", "hello", `{"a":1}`]])
        yield* TestClock.adjust("250 millis")
        asked[0]!.handler.onResponse(["OK"])
        assert.deepStrictEqual(yield* Fiber.join(seen), { outcomes: { ok: 1 }, seconds: 0.25, times: 1 })
        assert.deepStrictEqual(requested, [])
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
      withClient((client, { asked }) =>
        Effect.gen(function*() {
          const outcome = yield* Effect.forkChild(
            Effect.flip(client.broadcast("room", "hello")).pipe(
              Effect.match({ onFailure: () => undefined, onSuccess: tagOf })
            )
          )
          yield* Effect.yieldNow
          asked[0]!.handler.onResponse(answer)
          assert.strictEqual(yield* Fiber.join(outcome), tag)
          assert.deepStrictEqual((yield* counted).outcomes, { [tag?.split("/").at(-1) ?? "ok"]: 1 })
        })
      )
  )

  it.effect("fails with what was lost, counted once", () =>
    withClient((client, { asked, requested }) =>
      Effect.gen(function*() {
        const failed = yield* Effect.forkChild(Effect.flip(client.broadcast("room", "hello")))
        yield* Effect.yieldNow
        asked[0]!.handler.onFailure(Cause.fail(broken))
        assert.strictEqual(yield* Fiber.join(failed), broken)
        assert.deepStrictEqual(yield* counted, { outcomes: { ConnectionError: 1 }, seconds: 0, times: 1 })
        assert.deepStrictEqual(requested, [])
      }), { retry: "none" }))

  it.effect("makes what was lost again by the name it was sent under", () =>
    withClient((client, { asked, requested }) =>
      Effect.gen(function*() {
        const told = yield* Effect.forkChild(client.broadcast("room", "hello"))
        yield* Effect.yieldNow
        asked[0]!.handler.onFailure(Cause.fail(broken))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(told)
        assert.deepStrictEqual(requested, [["AG", "c", "1", "BC", "room", "hello", "{}"]])
        assert.deepStrictEqual((yield* counted).outcomes, { ok: 1 })
      })
    ))

  it.effect("forgets what nobody waits for any more", () =>
    withClient((client, { asked, forgotten }) =>
      Effect.gen(function*() {
        const left = yield* Effect.forkChild(client.broadcast("room", "hello"))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(left)
        assert.deepStrictEqual(forgotten, [asked[0]!.sent])
        assert.deepStrictEqual((yield* counted).outcomes, { interrupted: 1 })
      })
    ))

  it.effect("asks in the other way where there is no connection, and where somebody traces", () =>
    withClient((client, { asked, requested, state }) =>
      Effect.gen(function*() {
        state.isConnected = false
        yield* client.broadcast("room", "hello")
        assert.deepStrictEqual(requested, [["BC", "room", "hello", "{}"]])
        state.isConnected = true
        const tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
        yield* Effect.provideService(client.broadcast("room", "hello"), Tracer.Tracer, tracer)
        assert.strictEqual(requested.length, 2)
        assert.deepStrictEqual(asked, [])
        assert.deepStrictEqual((yield* counted).outcomes, { ok: 2 })
      })
    ))
})
