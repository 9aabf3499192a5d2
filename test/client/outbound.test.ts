import { assert, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Outbound from "../../src/client/internal/outbound.ts"
import { FromClient } from "../../src/protocol/Command.ts"
import { encodeFromClient } from "../../src/protocol/CommandCodec.ts"
import { ConnectionClosedError, ConnectionError } from "../../src/protocol/KosmonautError.ts"

const respond = (delivery: string, json = "1") => FromClient.Respond({ delivery, outcome: "ok", json })
const ack = (...deliveries: ReadonlyArray<string>) => FromClient.Ack({ deliveries })
const frames = (...commands: ReadonlyArray<FromClient>) => commands.map((command) => encodeFromClient(command))

/** The turn is over: what was sent in it has left. */
const turn = Effect.promise(() => Promise.resolve())

/** The commands on a connection that shows which of them were sent together. */
const connect = ({ batches = true, maxMessageSize = 1_048_576 } = {}) => {
  const sent: Array<ReadonlyArray<unknown>> = []
  const settled: Array<(error?: ConnectionError) => void> = []
  const acknowledged: Array<number> = []
  let defect: Error | undefined
  const outbound = Outbound.make({
    enough: 32,
    batches: () => batches,
    sendUnsafe: (messages, done) => {
      if (defect !== undefined) throw defect
      sent.push(messages.map(({ frames }) => frames))
      settled.push(done)
    }
  }, { maxMessageSize, onAcknowledged: (count) => acknowledged.push(count) })
  return {
    outbound,
    sent,
    acknowledged,
    failWith: (error: Error) => {
      defect = error
    },
    settle: (error?: ConnectionError) =>
      Effect.suspend(() => {
        settled.splice(0).forEach((done) => done(error))
        return turn
      })
  }
}

it.effect("a worker sends what it has to say in one turn together, in order, with acks coalesced", () =>
  Effect.gen(function*() {
    const { acknowledged, outbound, sent, settle } = connect()
    for (const command of [ack("a"), ack("b"), respond("c"), respond("d"), ack("e")]) outbound.sendUnsafe(command)
    expect(sent).toEqual([])
    yield* turn
    expect(sent).toEqual([frames(ack("a", "b"), respond("c"), respond("d"), ack("e"))])
    expect(acknowledged).toEqual([2, 1])
    // The connection is busy until the system has accepted these.
    outbound.sendUnsafe(ack("f"))
    yield* turn
    outbound.sendUnsafe(ack("g"))
    yield* turn
    expect(sent.length).toBe(1)
    yield* settle()
    expect(sent.slice(1)).toEqual([frames(ack("f"), ack("g"))])
  }))

it.effect("a worker acknowledges at most 50 events with one command", () =>
  Effect.gen(function*() {
    const { acknowledged, outbound, sent } = connect()
    for (let i = 0; i < 120; i++) outbound.sendUnsafe(ack(String(i)))
    yield* turn
    expect(acknowledged).toEqual([50, 50, 20])
    assert.strictEqual(sent.flat().length, 3)
  }))

it.effect("a worker sends large responses one by one, and all if the broker reads no batches", () =>
  Effect.gen(function*() {
    const large = "x".repeat(300)
    const sizes = Effect.fnUntraced(function*(batches: boolean) {
      const { outbound, sent, settle } = connect({ batches, maxMessageSize: 1000 })
      for (const json of [large, large, "1", "2"]) outbound.sendUnsafe(respond("a", json))
      yield* turn
      for (let i = 0; i < 4; i++) yield* settle()
      return sent.map(({ length }) => length)
    })
    expect(yield* sizes(true)).toEqual([1, 1, 2])
    expect(yield* sizes(false)).toEqual([1, 1, 1, 1])
  }))

it.effect("a worker waits until a command is sent, whether that succeeds or not, or the connection has ended", () =>
  Effect.gen(function*() {
    const { outbound, settle } = connect()
    const waitFor = (command: FromClient) => Effect.forkChild(outbound.send(command), { startImmediately: true })
    const first = yield* waitFor(FromClient.Heartbeat())
    yield* turn
    const second = yield* waitFor(FromClient.Quit())
    yield* turn
    yield* settle()
    yield* Fiber.join(first)
    expect(second.pollUnsafe()).toBeUndefined()
    yield* settle(new ConnectionError({ reason: new ConnectionClosedError({ address: "a", cause: "gone" }) }))
    yield* Fiber.join(second)
    const third = yield* waitFor(FromClient.Heartbeat())
    yield* turn
    outbound.endUnsafe()
    yield* Fiber.join(third)
    assert.isTrue(outbound.hasEnded())
  }))

it.effect("a worker drops commands after the end of the connection, and acks that were not sent", () =>
  Effect.gen(function*() {
    const { acknowledged, outbound, sent } = connect()
    outbound.sendUnsafe(ack("a"))
    outbound.endUnsafe()
    outbound.sendUnsafe(respond("b"))
    yield* turn
    expect([sent, acknowledged]).toEqual([[], []])
  }))

it.effect("a worker's connection ends with the defect of sending", () =>
  Effect.gen(function*() {
    const { failWith, outbound } = connect()
    failWith(new TypeError("no such thing"))
    outbound.sendUnsafe(ack("a"))
    yield* turn
    assert.include(String(yield* Effect.flip(Effect.sandbox(outbound.defect))), "no such thing")
  }))
