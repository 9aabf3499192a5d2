/**
 * Asking directly, without a fiber: over every transport that can it is the same as asking.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Queue, Result, Scope } from "effect"
import { Endpoint } from "../../src/index.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import type { ConnectionError, RequestTimeoutError } from "../../src/protocol/KosmonautError.ts"
import * as TcpTransport from "../../src/transport/TcpTransport.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
import type { Peer } from "../../src/transport/TransportServer.ts"
import * as ZmqTransport from "../../src/transport/ZmqTransport.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { token } from "../harness/TestBroker.ts"

const drivers = [
  { name: "ZeroMQ", scheme: "wr", listen: ZmqTransportServer.listen, make: ZmqTransport.make },
  { name: "TCP", scheme: "wr+tcp", listen: TcpTransportServer.listen, make: TcpTransport.make }
] as const

type Outcome = Frames | ConnectionError | RequestTimeoutError

/** Keeps the event loop busy for so many milliseconds. */
const work = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

describe.each(drivers)("asking directly over $name", ({ listen, make, scheme }) => {
  /** A server whose messages wait to be answered, and a requester that has asked it already. */
  const setUpWith = Effect.fnUntraced(function*(requestTimeout: Duration.Input) {
    const gate = yield* Deferred.make<void>()
    const heard = yield* Queue.unbounded<{ readonly peer: Peer; readonly frames: Frames | undefined }>()
    const server = yield* listen({ host: "127.0.0.1", port: 0, maxMessageSize: 10_000 })
    yield* Effect.forkScoped(server.run({
      onMessage: (peer, frames) => {
        if (frames?.[0] === "HI") peer.sendUnsafe(["OK"])
        else Queue.offerUnsafe(heard, { peer, frames })
        if (frames?.[0] === "WORK") work(0.05)
        return frames?.[0] === "WAIT" ? Deferred.await(gate) : undefined
      },
      onClose: () => Effect.void
    }))
    const endpoint = Result.getOrThrow(Endpoint.fromUrl(`${scheme}://${token}@127.0.0.1:${server.port}/test`))
    const requester = yield* Exchanges.requester(make({ maxMessageSize: 10_000 }), endpoint, { requestTimeout })
    const ask = (frames: Frames) => {
      const outcome = Deferred.makeUnsafe<Outcome>()
      const end = (what: Outcome) => {
        assert.isFalse(Deferred.isDoneUnsafe(outcome))
        Deferred.doneUnsafe(outcome, Effect.succeed(what))
      }
      const pending = requester.requestUnsafe(frames, {
        onResponse: end,
        onFailure: (cause) => end(Cause.squash(cause) as ConnectionError | RequestTimeoutError)
      })
      return { pending, outcome }
    }
    return { gate, heard, requester, ask }
  })
  const setUp = setUpWith("1 minute")

  it.live("sends nothing before there is a connection, and nothing that cannot travel", () =>
    Effect.gen(function*() {
      const { ask, heard, requester } = yield* setUp
      assert.isUndefined(ask(["BC", "early"]).pending)
      yield* requester.request(["HI"])
      assert.isUndefined(ask(["BC", "x".repeat(10_000)]).pending)
      assert.isUndefined(ask(["BC", "\ud800"]).pending)
      const { outcome, pending } = ask(["BC", "room"])
      const { frames, peer } = yield* Queue.take(heard)
      assert.deepStrictEqual(frames, ["BC", "room"])
      assert.strictEqual(peer.message, pending?.envelope)
      assert.include(peer.identity, pending!.connection)
      peer.sendUnsafe(["OK", "it"])
      assert.deepStrictEqual(yield* Deferred.await(outcome), ["OK", "it"])
    }))

  it.live("gives each its own response, and never sends one that is forgotten before", () =>
    Effect.gen(function*() {
      const { ask, heard, requester } = yield* setUp
      yield* requester.request(["HI"])
      const asked = Array.from({ length: 100 }, (_, n) => ask(["BC", `${n}`]))
      requester.cancelUnsafe(asked[50]!.pending!)
      const messages = yield* Effect.forEach(asked.slice(1), () => Queue.take(heard))
      assert.notInclude(messages.map(({ frames }) => frames?.[1]), "50")
      for (const { frames, peer } of messages.toReversed()) peer.sendUnsafe(["OK", frames![1]!])
      for (const [n, { outcome }] of asked.entries()) {
        if (n !== 50) assert.deepStrictEqual(yield* Deferred.await(outcome), ["OK", `${n}`])
      }
      assert.isFalse(Deferred.isDoneUnsafe(asked[50]!.outcome))
    }))

  it.live("is answered although what was said with it takes its time", () =>
    Effect.gen(function*() {
      const { ask, gate, heard, requester } = yield* setUp
      yield* requester.request(["HI"])
      const [before, , after] = [ask(["HI"]), ask(["WAIT"]), ask(["HI"])] as const
      assert.deepStrictEqual(yield* Deferred.await(before.outcome), ["OK"])
      yield* Queue.take(heard)
      assert.isFalse(Deferred.isDoneUnsafe(after.outcome))
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Deferred.await(after.outcome), ["OK"])
    }))

  it.live("lets others have their turn, however much work is requested at once", () =>
    Effect.gen(function*() {
      const { ask, heard, requester } = yield* setUp
      yield* requester.request(["HI"])
      const count = 5000
      for (let n = 0; n < count; n++) ask(["WORK", `${n}`])
      const first = yield* Queue.take(heard)
      assert.deepStrictEqual(first.frames, ["WORK", "0"])
      // Whoever waits for an event of the loop does not wait for all of them.
      yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
      assert.isBelow(yield* Queue.size(heard), count - 1)
      assert.strictEqual((yield* Queue.takeN(heard, count - 1)).at(-1)?.frames?.[1], String(count - 1))
    }))

  it.live("fails what is not answered in time, and what is in flight at the end", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { ask, requester } = yield* Scope.provide(setUpWith("300 millis"), scope)
      // Connecting may take longer.
      yield* Effect.retry(requester.request(["HI"]), { times: 100 })
      const late = (yield* Deferred.await(ask(["BC", "room"]).outcome)) as RequestTimeoutError
      assert.strictEqual(late._tag, "RequestTimeoutError")
      yield* Effect.retry(requester.request(["HI"]), { times: 100 })
      const { outcome } = ask(["BC", "room"])
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(((yield* Deferred.await(outcome)) as ConnectionError).reason._tag, "ConnectionClosedError")
    }))
})
