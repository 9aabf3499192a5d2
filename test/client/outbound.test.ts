import { expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Outbound from "../../src/client/internal/outbound.ts"
import { FromClient } from "../../src/protocol/Command.ts"
import { encodeFromClient } from "../../src/protocol/CommandCodec.ts"
import type { Connection } from "../../src/transport/Transport.ts"

const respond = (delivery: string, json = "1") => FromClient.Respond({ delivery, outcome: "ok", json })
const ack = (...deliveries: ReadonlyArray<string>) => FromClient.Ack({ deliveries })

/** A connection that shows which messages were sent together. */
const connect = (isKosmonaut: boolean) => {
  const sent: Array<ReadonlyArray<unknown>> = []
  const settled: Array<() => void> = []
  const connection: Pick<Connection, "isKosmonaut" | "sendUnsafe"> = {
    isKosmonaut: () => isKosmonaut,
    sendUnsafe: (messages, done) => {
      sent.push(messages.map(({ frames }) => frames))
      settled.push(done)
    }
  }
  return { connection, sent, settle: () => settled.splice(0).forEach((done) => done()) }
}

it.effect("a worker sends the responses that are queued together, and counts the acks", () =>
  Effect.gen(function*() {
    const outbound = yield* Outbound.make(1_048_576)
    const { connection, sent, settle } = connect(true)
    for (const command of [ack("a"), ack("b"), respond("c"), respond("d"), ack("e")]) outbound.sendUnsafe(command)
    const flushing = yield* Effect.forkChild(outbound.flush(connection), { startImmediately: true })
    expect(sent).toEqual([
      [ack("a", "b"), respond("c"), respond("d"), ack("e")].map((command) => encodeFromClient(command))
    ])
    expect(flushing.pollUnsafe()).toBeUndefined()
    settle()
    expect(yield* Fiber.join(flushing)).toBe(3)
  }))

it.effect("a worker sends large responses one by one, and all if the broker reads no batches", () =>
  Effect.gen(function*() {
    const outbound = yield* Outbound.make(1000)
    const large = "x".repeat(300)
    const flush = Effect.fnUntraced(function*(isKosmonaut: boolean) {
      const { connection, sent, settle } = connect(isKosmonaut)
      for (const json of [large, large, "1", "2"]) outbound.sendUnsafe(respond("a", json))
      const flushing = yield* Effect.forkChild(outbound.flush(connection), { startImmediately: true })
      settle()
      yield* Fiber.join(flushing)
      return sent.map(({ length }) => length)
    })
    expect(yield* flush(true)).toEqual([1, 1, 2])
    expect(yield* flush(false)).toEqual([1, 1, 1, 1])
  }))
