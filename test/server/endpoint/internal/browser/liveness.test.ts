import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { Connection } from "../../../../../src/server/endpoint/internal/browser/connection.ts"
import * as Liveness from "../../../../../src/server/endpoint/internal/browser/liveness.ts"
import { eventually } from "../../../../harness/eventually.ts"
import { logged } from "../../../../harness/logged.ts"

/** A browser that has sent nothing since the last ping, and how often it was pinged. */
const makeSilent = (onPing: (pings: number) => void = () => {}) => {
  let pings = 0
  const socket = { bytesRead: 0, isPaused: () => false, writable: true, write: () => onPing(++pings) }
  const connection = {
    isClosing: false,
    readBeforePing: undefined,
    outbox: { isScheduled: false },
    socket
  } as unknown as Connection
  return { connection, pings: () => pings }
}

/** Blocks the event loop. */
const standStill = (millis: number) => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

describe("liveness", () => {
  it.live("disconnects no browser after the broker stood still", () =>
    Effect.gen(function*() {
      // While the next check is due.
      const { connection, pings } = makeSilent((pings) => pings === 1 && setImmediate(standStill, 500))
      let pingsBefore = 0
      yield* Liveness.watch([connection], Duration.millis(200), () => {
        pingsBefore ||= pings()
      })
      yield* eventually(Effect.sync(() => pingsBefore), (pings) => pings > 0)
      assert.isAtLeast(pingsBefore, 2)
    }))

  it.live("logs a defect, and goes on", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      const { connection, pings } = makeSilent()
      let looks = 0
      const isPaused = () => {
        if (looks++ === 0) throw new Error("a defect")
        return true
      }
      Object.assign(connection, { readBeforePing: 0 })
      Object.assign(connection.socket, { isPaused })
      yield* Liveness.watch([connection], Duration.millis(20), () => {})
      // A check that is late, on a busy machine, does not look.
      yield* eventually(Effect.sync(() => looks), (looks) => looks > 0)
      const before = pings()
      yield* eventually(Effect.sync(pings), (pings) => pings > before)
      assert.deepStrictEqual(lines, ["ERROR The liveness of browsers was not checked"])
    }).pipe(Effect.provide(layer))
  })
})
