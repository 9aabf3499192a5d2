import { expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Logger, Metric } from "effect"
import { randomUUID } from "node:crypto"
import { ChannelNotFoundError } from "../../../../src/protocol/KosmonautError.ts"
import type { BroadcastError } from "../../../../src/server/engine/Channels.ts"
import * as Pending from "../../../../src/server/engine/Pending.ts"
import { type Frames, handlersOf, makeVhosts } from "../../../harness/backendEndpoint.ts"
import { identity } from "../../../harness/identity.ts"

/** A connection of a Client to a node whose log applies broadcasts when the test says so. */
const make = Effect.gen(function*() {
  const applied: Array<Pending.Observer<boolean, BroadcastError>> = []
  const vhosts = yield* makeVhosts()
  const { onMessage } = yield* handlersOf({
    ...vhosts,
    authorize: (who) =>
      Effect.map(vhosts.authorize(who), (vhost) => ({
        ...vhost,
        channels: {
          ...vhost.channels,
          broadcastUnsafe: () =>
            Pending.make<boolean, BroadcastError>((observer) => void applied.push(observer), () => {})
        }
      }))
  })
  const sent: Array<unknown> = []
  const id = randomUUID()
  const connection = {}
  const isBroken = { now: false }
  const send = (message: string, frames: Frames) =>
    onMessage({
      identity: identity("req", { id }),
      connection,
      message,
      seesClose: true,
      sendUnsafe: (frames) => {
        if (!isBroken.now) return sent.push(frames) > 0
        isBroken.now = false
        throw new Error("a defect")
      },
      separateUnsafe: () => undefined,
      close: Effect.void,
      disconnect: Effect.void
    }, frames)
  yield* send("1", ["OC", "room"]) ?? Effect.void
  sent.length = 0
  return { applied, id, isBroken, send, sent }
})

const broadcast: Frames = ["BC", "room", "hello", "{}"]
const given = Effect.provide(Logger.layer([]))

it.effect("A broadcast that is applied later is responded to in that step, and once", () =>
  Effect.gen(function*() {
    const { applied, id, send, sent } = yield* make
    expect(["2", "3", "4"].map((message) => send(message, broadcast))).toEqual([undefined, undefined, undefined])
    applied[2]!(Exit.succeed(true))
    expect(sent).toEqual([["OK"]])
    const retry = yield* Effect.forkChild(send("5", ["AG", id, "2", ...broadcast])!, { startImmediately: true })
    applied[0]!(Exit.succeed(true))
    yield* Fiber.join(retry)
    expect(sent.slice(1)).toEqual([["OK"], ["OK"]])
    applied[1]!(Exit.fail(new ChannelNotFoundError({ channel: "room" })))
    yield* Effect.yieldNow
    yield* Effect.yieldNow
    expect(sent.slice(3)).toEqual([["ER", "454"]])
    for (const message of ["2", "3", "4"]) yield* send(message, ["AG", id, message, ...broadcast]) ?? Effect.void
    expect(sent.slice(4)).toEqual([["OK"], ["ER", "454"], ["OK"]])
    expect(applied).toHaveLength(3)
    const counted = (yield* Metric.snapshot).filter(({ id }) => id === "kosmonaut_broker_requests_total")
    expect(Object.fromEntries(
      counted.map(({ attributes, state }) => [
        `${attributes?.["command"]} ${attributes?.["outcome"]}`,
        Number((state as { count: number }).count)
      ])
    )).toEqual({ "openChannel ok": 1, "broadcast ok": 2, "broadcast 454": 1 })
  }).pipe(Effect.scoped, given, Effect.provideService(Metric.MetricRegistry, new Map())))

it.effect("A response that cannot be sent does not fail what applies the broadcast", () =>
  Effect.gen(function*() {
    const { applied, isBroken, send, sent } = yield* make
    send("2", broadcast)
    isBroken.now = true
    applied[0]!(Exit.succeed(true))
    yield* Effect.yieldNow
    yield* Effect.yieldNow
    expect(sent).toEqual([["ER", "597", `{"reason":"the broker failed"}`]])
  }).pipe(Effect.scoped, given))
