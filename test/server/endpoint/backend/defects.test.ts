import { describe, expect, it } from "@effect/vitest"
import { Effect, Logger, Metric } from "effect"
import { randomUUID } from "node:crypto"
import type * as Vhosts from "../../../../src/server/engine/Vhosts.ts"
import type { Peer } from "../../../../src/transport/TransportServer.ts"
import { type Frames, handlersOf, makeVhosts } from "../../../harness/backendEndpoint.ts"
import { identity } from "../../../harness/identity.ts"

/** The handlers of an endpoint whose vhosts have a defect. */
const handlersWith = (defective: (vhosts: Vhosts.Vhosts["Service"]) => Partial<Vhosts.Vhosts["Service"]>) =>
  Effect.flatMap(makeVhosts(), (vhosts) => handlersOf({ ...vhosts, ...defective(vhosts) }))

const defect = new Error("a defect")

describe("BackendEndpoint, a defect of the broker", () => {
  it.effect("fails one message with ER 597, and not the endpoint", () =>
    Effect.gen(function*() {
      const { onMessage } = yield* handlersWith((vhosts) => ({
        authorize: (who) => who.vhost === "/test" ? vhosts.authorize(who) : Effect.die(defect)
      }))
      const sent: Array<unknown> = []
      const peer = (vhost: string): Peer => ({
        identity: identity("req", { vhost }),
        connection: {},
        seesClose: true,
        sendUnsafe: (frames) => sent.push(frames) > 0,
        separateUnsafe: () => undefined,
        close: Effect.sync(() => void sent.push("closed")),
        disconnect: Effect.sync(() => void sent.push("disconnected"))
      })
      yield* onMessage(peer("/defective"), ["OC", "fresh"]) ?? Effect.void
      yield* onMessage(peer("/test"), ["OC", "fresh"]) ?? Effect.void
      expect(sent).toEqual([["ER", "597"], "closed", ["OK"], "closed"])
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([]))))

  it.effect("in synchronous work fails one message, and every message is counted", () =>
    Effect.gen(function*() {
      let isDefective = true
      const { onMessage } = yield* handlersWith((vhosts) => ({
        authorize: (who) =>
          Effect.map(vhosts.authorize(who), (vhost) => ({
            ...vhost,
            channels: {
              ...vhost.channels,
              broadcastUnsafe: (...broadcast) => {
                if (isDefective) throw defect
                return vhost.channels.broadcastUnsafe(...broadcast)
              }
            }
          }))
      }))
      const sent: Array<unknown> = []
      let isBroken = false
      const id = randomUUID()
      const send = (message: string, frames: Frames) =>
        onMessage({
          identity: identity("req", { id }),
          connection: {},
          message,
          seesClose: true,
          sendUnsafe: (frames) => {
            if (isBroken) {
              isBroken = false
              throw defect
            }
            return sent.push(frames) > 0
          },
          separateUnsafe: () => undefined,
          close: Effect.void,
          disconnect: Effect.sync(() => void sent.push("disconnected"))
        }, frames) ?? Effect.void
      yield* send("1", ["OC", "fresh"])
      yield* send("2", ["BC", "fresh", "hello", "{}"])
      isDefective = false
      // A retry is told that the outcome is unknown.
      yield* send("3", ["AG", id, "2", "BC", "fresh", "hello", "{}"])
      yield* send("4", ["BC", "fresh", "hello", "{}"])
      yield* send("5", ["BC", "other", "hello", "{}"])
      isBroken = true
      yield* send("6", ["BC", "fresh", "hello", "{}"])
      const failed = ["ER", "597", `{"reason":"the broker failed"}`]
      expect(sent).toEqual([["OK"], failed, ["ER", "408"], ["OK"], ["ER", "454"], failed])
      const counted = (yield* Metric.snapshot).filter(({ id }) => id === "kosmonaut_broker_requests_total")
      expect(Object.fromEntries(
        counted.map(({ attributes, state }) => [
          `${attributes?.["command"]} ${attributes?.["outcome"]}`,
          Number((state as { count: number }).count)
        ])
      )).toEqual({ "openChannel ok": 1, "broadcast defect": 1, "broadcast ok": 2, "broadcast 454": 1 })
    }).pipe(
      Effect.scoped,
      Effect.provide(Logger.layer([])),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))
})
