/**
 * Requests on a connection that the test plays: what is sent, what is not sent any more, and when each request ends.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, Fiber, Logger, Queue, Result, Schedule, type Scope } from "effect"
import { TestClock } from "effect/testing"
import type { ResponseHandler } from "../../src/client/internal/pendingRequests.ts"
import * as RequestQueue from "../../src/client/internal/requestQueue.ts"
import { Endpoint } from "../../src/index.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  type RequestTimeoutError,
  wasNotSent
} from "../../src/protocol/KosmonautError.ts"
import * as AwakeClock from "../../src/transport/AwakeClock.ts"
import type { Connection, Message } from "../../src/transport/Transport.ts"
import * as AdjustableClock from "../harness/AdjustableClock.ts"
import * as Exchanges from "../harness/exchanges.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import { token } from "../harness/TestBroker.ts"

/** A connection whose messages leave when the test says so. */
const connection = Effect.gen(function*() {
  const sent: Array<ReadonlyArray<Message>> = []
  const settling: Array<(error?: ConnectionError) => void> = []
  const incoming = yield* Queue.unbounded<Message, ConnectionError>()
  const opened: Connection = {
    id: "c",
    pipelines: true,
    enough: 1024,
    isKosmonaut: () => true,
    batches: () => true,
    pull: Queue.takeAll(incoming),
    sendUnsafe: (items, settled) => {
      sent.push(items.map((item) => ({ ...item })))
      settling.push(settled)
    }
  }
  return {
    opened,
    incoming,
    /** The arguments of all requests that have left. */
    sent: () => sent.flat().map(({ frames }) => frames[1]),
    /** How many have left together, each time. */
    sizes: () => sent.map(({ length }) => length),
    items: () => sent.flat(),
    /** The message on its way has left. */
    settle: Effect.sync(() => settling.shift()?.()),
    respond: (...items: ReadonlyArray<Message>) => Queue.offerAll(incoming, items)
  }
})

const endpoint = Result.getOrThrow(Endpoint.fromUrl(`wr://${token}@fake:1/test`))

const pipelineOf = (
  connect: Effect.Effect<Connection, ConnectionError, Scope.Scope>,
  options?: Exchanges.Options
) => Exchanges.requester({ ...FakeTransport.make(() => connect), maxMessageSize: 100_256 }, endpoint, options)

/** All that was asked for in this moment has happened. */
const settled = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))).pipe(
  Effect.repeat(Schedule.recurs(4)),
  Effect.asVoid
)

const gone = new ConnectionError({ reason: new ConnectionClosedError({ address: "fake:1" }) })

const bc = (what: string): Frames => ["BC", what]

/** A pipeline whose first message, "first", is on its way. */
const stalled = Effect.fnUntraced(function*(options?: Parameters<typeof pipelineOf>[1]) {
  const fake = yield* connection
  const pipeline = yield* pipelineOf(Effect.succeed(fake.opened), options)
  const first = yield* Effect.forkChild(pipeline.request(bc("first")))
  yield* settled
  assert.deepStrictEqual(fake.sent(), ["first"])
  return { ...fake, pipeline, first }
})

describe("unsent requests", () => {
  it.effect("leave together once the message before has left", () =>
    Effect.gen(function*() {
      const { pipeline, sent, settle } = yield* stalled()
      for (const what of ["a", "b", "c"]) yield* Effect.forkChild(pipeline.request(bc(what)))
      yield* settled
      assert.deepStrictEqual(sent(), ["first"])
      yield* settle
      yield* settled
      assert.deepStrictEqual(sent(), ["first", "a", "b", "c"])
    }))

  it.effect("leave in two halves, so that the broker has one while the other is sent, unless they are few", () =>
    Effect.gen(function*() {
      for (const [inFlight, sizes] of [[100, [50, 50]], [40, [32, 8]], [20, [20]]] as const) {
        const fake = yield* connection
        const pipeline = yield* pipelineOf(Effect.succeed(fake.opened))
        const requests = yield* Effect.forEach(
          Array.from({ length: inFlight }),
          (_, index) => Effect.forkChild(pipeline.request(bc(`${index}`)))
        )
        for (const _ of sizes) {
          yield* settled
          yield* fake.settle
        }
        yield* settled
        assert.deepStrictEqual(fake.sizes(), [...sizes])
        yield* Fiber.interruptAll(requests)
      }
    }))

  it.effect("are never sent after they were interrupted", () =>
    Effect.gen(function*() {
      const { pipeline, sent, settle } = yield* stalled()
      const fibers = yield* Effect.forEach(["a", "b", "c"], (what) => Effect.forkChild(pipeline.request(bc(what))))
      yield* settled
      yield* Fiber.interrupt(fibers[1]!)
      yield* settle
      yield* settled
      assert.deepStrictEqual(sent(), ["first", "a", "c"])
    }))

  it.effect("are never sent after they timed out, and say so", () =>
    Effect.gen(function*() {
      const { pipeline, respond, sent, settle } = yield* stalled()
      const late = yield* Effect.forkChild(Effect.flip(pipeline.request(bc("late"))))
      yield* TestClock.adjust("4 seconds")
      const later = yield* Effect.forkChild(pipeline.request(bc("later")))
      // The broker lives, it just does not read.
      yield* respond({ envelope: "1", frames: ["OK"] })
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(late)
      assert.strictEqual(error._tag, "RequestTimeoutError")
      assert.strictEqual((error as RequestTimeoutError).wasSent, "no")
      assert.isTrue(wasNotSent(error))
      assert.include(error.message, "BC was not sent")
      yield* settle
      yield* settled
      assert.deepStrictEqual(sent(), ["first", "later"])
      yield* respond({ envelope: "3", frames: ["OK", "later"] })
      assert.deepStrictEqual(yield* Fiber.join(later), ["OK", "later"])
    }))

  it.effect("fail as not sent if the connection is lost, and what was sent as lost", () =>
    Effect.gen(function*() {
      const { first, incoming, pipeline } = yield* stalled()
      const unsent = yield* Effect.forkChild(Effect.flip(pipeline.request(bc("a"))))
      yield* settled
      yield* Queue.fail(incoming, gone)
      const errors = [yield* Effect.flip(Fiber.join(first)), yield* Fiber.join(unsent)]
      assert.deepStrictEqual(errors.map((error) => (error as ConnectionError).reason._tag), [
        "ConnectionClosedError",
        "ConnectionRefusedError"
      ])
      assert.deepStrictEqual(errors.map(wasNotSent), [false, true])
    }))

  it.effect("wait for room beyond the limits, and are let in as it becomes free, in order", () =>
    Effect.gen(function*() {
      const { pipeline, sent, settle } = yield* stalled({ maxQueuedRequests: 2 })
      const request = (what: string): Effect.Effect<unknown, unknown> =>
        pipeline.isFull()
          ? Effect.andThen(pipeline.waitForRoom("BC"), Effect.suspend(() => request(what)))
          : pipeline.request(bc(what))
      const fibers = yield* Effect.forEach(
        ["a", "b", "c", "d", "e", "f"],
        (what) => Effect.forkChild(Effect.suspend(() => request(what)), { startImmediately: true })
      )
      yield* settled
      assert.isTrue(pipeline.isFull())
      yield* Fiber.interrupt(fibers[3]!)
      yield* settle
      yield* settled
      assert.deepStrictEqual(sent(), ["first", "a", "b"])
      yield* settle
      yield* settled
      yield* settle
      yield* settled
      assert.deepStrictEqual(sent(), ["first", "a", "b", "c", "e", "f"])
      assert.isFalse(pipeline.isFull())
    }))

  it.effect("wait for room no longer than a request may take", () =>
    Effect.gen(function*() {
      const { pipeline, respond } = yield* stalled({ maxQueuedRequests: 1 })
      yield* Effect.forkChild(Effect.exit(pipeline.request(bc("a"))))
      yield* settled
      assert.isTrue(pipeline.isFull())
      const waiting = yield* Effect.forkChild(Effect.flip(pipeline.waitForRoom("BC")), { startImmediately: true })
      // The broker lives, and another that is unsent takes the place of the first.
      yield* TestClock.adjust("1 second")
      yield* respond({ envelope: "1", frames: ["OK"] })
      yield* Effect.forkChild(Effect.exit(pipeline.request(bc("b"))))
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* Fiber.join(waiting)).wasSent, "no")
      // As it times out there is room.
      const admitted = yield* Effect.forkChild(pipeline.waitForRoom("BC"), { startImmediately: true })
      yield* respond({ envelope: "1", frames: ["OK"] })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(admitted)
    }))

  it.effect("end the wait for room if the connection is lost", () =>
    Effect.gen(function*() {
      const { incoming, pipeline } = yield* stalled({ maxQueuedRequests: 1 })
      yield* Effect.forkChild(Effect.exit(pipeline.request(bc("a"))))
      yield* settled
      const waiting = yield* Effect.forkChild(pipeline.waitForRoom("BC"), { startImmediately: true })
      yield* Queue.fail(incoming, gone)
      yield* Fiber.join(waiting)
    }))

  it("are counted in bytes of memory, with their overhead, and forgotten as they leave", () => {
    const queue = RequestQueue.make<RequestQueue.Queued>({ maxRequests: 1000, maxBytes: 10_000 })
    const small = Array.from({ length: 38 }, (_, n) => ({ envelope: `${n}`, frames: bc("x") as Frames | undefined }))
    small.forEach(queue.enqueue)
    assert.isFalse(queue.isFull())
    const large = { envelope: "l", frames: bc("x".repeat(2000)) as Frames | undefined }
    queue.enqueue(large)
    assert.isTrue(queue.isFull())
    queue.remove(large)
    queue.remove(large)
    assert.isFalse(queue.isFull())
    assert.isUndefined(large.frames)
    assert.deepStrictEqual(
      queue.dequeue(10, 1_000_000).map(({ envelope }) => envelope),
      small.slice(0, 10).map((_) => _.envelope)
    )
    assert.strictEqual(queue.size(), 28)
    queue.clear()
    assert.deepStrictEqual([queue.size(), queue.dequeue(10, 1_000_000).length], [0, 0])
  })

  it("leave no trace when they are removed, however many", () => {
    const queue = RequestQueue.make<RequestQueue.Queued>({ maxRequests: 10, maxBytes: 10_000 })
    const kept = { envelope: "kept", frames: bc("kept") as Frames | undefined }
    queue.enqueue(kept)
    for (let n = 0; n < 100_000; n++) {
      const request = { envelope: `${n}`, frames: bc("x") as Frames | undefined }
      queue.enqueue(request)
      queue.remove(request)
    }
    assert.strictEqual(queue.size(), 1)
    assert.isFalse(queue.isFull())
    assert.deepStrictEqual(queue.dequeue(10, 1000).map(({ envelope }) => envelope), ["kept"])
  })
})

describe("a caller's callback that throws", () => {
  const thrower: ResponseHandler = {
    onResponse: () => JSON.parse("{"),
    onFailure: () => JSON.parse("{")
  }

  it.effect("keeps no other from its response or its timeout, and is logged", () => {
    const logged: Array<unknown> = []
    return Effect.gen(function*() {
      const { first, pipeline, respond, settle } = yield* stalled()
      const sent = pipeline.requestUnsafe(bc("a"), thrower)
      yield* settle
      yield* settled
      yield* respond({ envelope: sent!.envelope, frames: ["OK"] }, { envelope: "1", frames: ["OK", "first"] })
      assert.deepStrictEqual(yield* Fiber.join(first), ["OK", "first"])
      assert.strictEqual(logged.length, 1)

      pipeline.requestUnsafe(bc("b"), thrower)
      const other = yield* Effect.forkChild(Effect.flip(pipeline.request(bc("c"))))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(other))._tag, "RequestTimeoutError")
      const next = yield* Effect.forkChild(Effect.flip(pipeline.request(bc("d"))))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(next))._tag, "RequestTimeoutError")
      assert.strictEqual(logged.length, 2)
    }).pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => logged.push(message))])))
  })
})

describe("a defect of the transport", () => {
  it.effect("while connecting fails the request, and the next tries again", () =>
    Effect.gen(function*() {
      const fake = yield* connection
      let attempts = 0
      const pipeline = yield* pipelineOf(
        Effect.suspend(() => attempts++ === 0 ? Effect.die(new Error("boom")) : Effect.succeed(fake.opened))
      )
      const exit = yield* Effect.exit(pipeline.request(bc("a")))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      const next = yield* Effect.forkChild(pipeline.request(bc("b")))
      yield* settled
      yield* fake.respond({ envelope: "1", frames: ["OK"] })
      assert.deepStrictEqual(yield* Fiber.join(next), ["OK"])
    }))

  it.effect("while reading fails what is in flight, and the next request connects again", () =>
    Effect.gen(function*() {
      const fake = yield* connection
      const gate = yield* Deferred.make<never>()
      let connections = 0
      const pipeline = yield* pipelineOf(
        Effect.sync(() => connections++ === 0 ? { ...fake.opened, pull: Deferred.await(gate) } : fake.opened)
      )
      const inFlight = yield* Effect.forkChild(pipeline.request(bc("a")))
      yield* settled
      yield* Deferred.die(gate, new Error("boom"))
      const exit = yield* Fiber.await(inFlight)
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("boom"))
      const next = yield* Effect.forkChild(pipeline.request(bc("b")))
      yield* settled
      yield* fake.respond({ envelope: "2", frames: ["OK"] })
      assert.deepStrictEqual(yield* Fiber.join(next), ["OK"])
    }))

  it.effect("while sending fails what was to be sent", () =>
    Effect.gen(function*() {
      const fake = yield* connection
      const pipeline = yield* pipelineOf(Effect.succeed({ ...fake.opened, sendUnsafe: () => JSON.parse("{") }))
      const error = yield* Effect.flip(pipeline.request(bc("a")))
      assert.strictEqual((error as ConnectionError).reason._tag, "ConnectionClosedError")
    }))
})

describe("time", () => {
  it.effect("goes on for requests when the wall clock is set back an hour", () =>
    Effect.gen(function*() {
      const { provide, setBack } = yield* AdjustableClock.make
      yield* Effect.gen(function*() {
        const { first } = yield* stalled()
        setBack(3_600_000)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* Effect.flip(Fiber.join(first)))._tag, "RequestTimeoutError")
      }).pipe(provide)
    }))

  it.effect("in which the process stood still counts for no deadline: what has arrived is read first", () =>
    Effect.gen(function*() {
      const { provide, standStill } = yield* AdjustableClock.make
      yield* Effect.gen(function*() {
        const { first, respond } = yield* stalled()
        yield* TestClock.adjust("1 second")
        standStill(60_000)
        yield* TestClock.adjust("500 millis")
        assert.isUndefined(first.pollUnsafe())
        yield* respond({ envelope: "1", frames: ["OK"] })
        assert.deepStrictEqual(yield* Fiber.join(first), ["OK"])
      }).pipe(provide)
    }))

  it.effect("is bounded though the process stands still again and again", () =>
    Effect.gen(function*() {
      const { provide, standStill } = yield* AdjustableClock.make
      yield* Effect.gen(function*() {
        const { first } = yield* stalled()
        const ended = yield* Effect.forkChild(Effect.flip(Fiber.join(first)))
        yield* Effect.sync(() => standStill(1000)).pipe(
          Effect.andThen(TestClock.adjust("250 millis")),
          Effect.repeat(Schedule.recurs(40))
        )
        assert.strictEqual((yield* Fiber.join(ended))._tag, "RequestTimeoutError")
      }).pipe(provide)
    }))

  it.effect("sleeps as long as it is told by a clock that runs", () =>
    Effect.gen(function*() {
      const clock = AwakeClock.make(yield* Clock.Clock)
      const before = clock.nowUnsafe()
      const slept = yield* Effect.forkChild(clock.sleep(300), { startImmediately: true })
      yield* TestClock.adjust("299 millis")
      assert.isUndefined(slept.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(slept)
      assert.strictEqual(clock.nowUnsafe() - before, 300)
    }))
})

describe("a broker that needs a connection for each request", () => {
  /** A pipeline to it, with at most two connections; `open` are the messages and the ends of those that are open. */
  const singly = Effect.gen(function*() {
    const open = new Map<string, (frames: Frames) => void>()
    let offers = 0
    const connect = (pipelines = true) =>
      Effect.gen(function*() {
        if (pipelines) offers++
        const response = yield* Deferred.make<Frames>()
        let sent = ""
        yield* Effect.addFinalizer(() => Effect.sync(() => open.delete(sent)))
        return {
          id: "c",
          pipelines: false,
          enough: 1,
          isKosmonaut: () => false,
          batches: () => false,
          pull: Effect.map(Deferred.await(response), (frames): [Message] => [{ envelope: "", frames }]),
          sendUnsafe: ([{ frames }], settled) => {
            sent = frames[1]!
            open.set(sent, (answer) => Deferred.doneUnsafe(response, Effect.succeed(answer)))
            settled()
          }
        } satisfies Connection
      })
    const transport = {
      ...FakeTransport.make((_, { pipelines }) => connect(pipelines)),
      maxConnections: 2
    }
    const pipeline = yield* Exchanges.requester(transport, endpoint)
    return { open, offers: () => offers, pipeline }
  })

  it.effect("is offered one for many once, and has as many at a time as are allowed", () =>
    Effect.gen(function*() {
      const { offers, open, pipeline } = yield* singly
      const fibers = yield* Effect.forEach(["a", "b", "c"], (what) => Effect.forkChild(pipeline.request(bc(what))))
      yield* settled
      assert.deepStrictEqual([...open.keys()], ["a", "b"])
      open.get("b")!(["OK", "b"])
      assert.deepStrictEqual(yield* Fiber.join(fibers[1]!), ["OK", "b"])
      yield* settled
      assert.deepStrictEqual([...open.keys()], ["a", "c"])
      for (const what of ["c", "a"]) open.get(what)!(["OK", what])
      assert.deepStrictEqual(yield* Fiber.join(fibers[0]!), ["OK", "a"])
      assert.deepStrictEqual(yield* Fiber.join(fibers[2]!), ["OK", "c"])
      yield* settled
      assert.deepStrictEqual([open.size, offers(), pipeline.isKosmonaut()], [0, 1, false])
    }))

  it.effect("loses the connection of a request that was interrupted or timed out, and no other", () =>
    Effect.gen(function*() {
      const { open, pipeline } = yield* singly
      const interrupted = yield* Effect.forkChild(pipeline.request(bc("a")))
      const late = yield* Effect.forkChild(Effect.flip(pipeline.request(bc("b"))))
      const unsent = yield* Effect.forkChild(Effect.flip(pipeline.request(bc("c"))))
      yield* settled
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(interrupted)
      yield* settled
      assert.deepStrictEqual([...open.keys()], ["b", "c"])
      const waiting = yield* Effect.forkChild(Effect.flip(pipeline.request(bc("d"))))
      yield* settled
      yield* TestClock.adjust("4 seconds")
      for (const fiber of [late, unsent]) {
        assert.deepInclude(yield* Fiber.join(fiber), { _tag: "RequestTimeoutError", wasSent: "maybe" })
      }
      yield* settled
      assert.deepStrictEqual([...open.keys()], ["d"])
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "RequestTimeoutError")
      yield* settled
      assert.strictEqual(open.size, 0)
    }))
})
