import { describe, expect, it } from "@effect/vitest"
import { type Cause, Effect } from "effect"
import { TestClock } from "effect/testing"
import { readFileSync } from "node:fs"
import * as RawTcp from "../../../harness/RawTcp.ts"
import { TestBroker } from "../../../harness/TestBroker.ts"
import { withBroker } from "../../../harness/withBroker.ts"

const originalToken = "b444aa042e176fe65be600a92fc71f926ee71ee6"

/** Without what is random: single access tokens. */
const masked = (text: string) => text.replaceAll(/[0-9a-f]{128}/g, "<128 hexadecimal digits>")

interface Recorded {
  readonly connection: number
  readonly ms: number
  readonly from: "client" | "server"
  readonly bytes: string
  readonly closed?: boolean
}

describe("BackendEndpoint over TCP, as the original broker", () => {
  const connection = TestBroker.use(({ broker }) => RawTcp.connect(broker.tcpPort))

  it.effect("responds to the original Client byte for byte, and closes as it did", () =>
    Effect.gen(function*() {
      const exchange = readFileSync(
        new URL("../../../fixtures/original-client-exchange.jsonl", import.meta.url),
        "utf8"
      )
        .trim().split("\n").map((line) => JSON.parse(line) as Recorded)
      for (const number of new Set(exchange.map(({ connection }) => connection))) {
        const lines = exchange.filter(({ connection }) => connection === number)
        const sent = lines.filter(({ from }) => from === "client").map(({ bytes }) => bytes).join("")
        const expected = lines.filter(({ from }) => from === "server").map(({ bytes }) => bytes ?? "").join("")
        const client = yield* connection
        yield* client.send(Buffer.from(sent, "latin1"))
        expect(masked(yield* client.rest)).toBe(masked(Buffer.from(expected, "latin1").toString()))
        expect([lines.at(-1)!.closed, yield* client.ended]).toEqual([true, undefined])
      }
    }).pipe(withBroker({ vhosts: [{ path: "/test", token: originalToken }] })))

  it.effect("sends the original Worker the same messages at the same times", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const exchange = readFileSync(
        new URL("../../../fixtures/original-worker-exchange.jsonl", import.meta.url),
        "utf8"
      )
        .trim().split("\n").map((line) => JSON.parse(line) as Recorded)
      for (const number of new Set(exchange.map(({ connection }) => connection))) {
        const lines = exchange.filter(({ connection }) => connection === number)
        const self = yield* connection
        // Our broker sends HB more often, for workers that wait at most 2 s for something to read.
        const nextBut = (expected: string): Effect.Effect<string, Cause.Done> =>
          Effect.flatMap(
            self.next,
            (message) => message.startsWith("HB") && message !== expected ? nextBut(expected) : Effect.succeed(message)
          )
        let now = 0
        for (const { bytes, closed, from, ms } of lines) {
          yield* TestClock.adjust(ms - now)
          now = ms
          if (closed === true) {
            // It counts from the last heartbeat received, which may be half an interval later.
            yield* TestClock.adjust("500 millis")
            expect(yield* self.rest).toMatch(/^(HB\n\n\r\n\r\n)*QT\n\n\r\n\r\n$/)
          } else if (from === "client") {
            yield* self.send(Buffer.from(bytes, "latin1"))
          } else {
            if (bytes.startsWith("TR")) yield* vhost.lobby.enqueue(bytes.split("\n")[1]!)
            expect(yield* nextBut(bytes)).toBe(bytes)
          }
        }
        // The last worker sends QT, whose only response is the end of the connection.
        if (lines.at(-1)!.closed !== true) expect(yield* self.rest).toBe("")
      }
    }).pipe(withBroker({ vhosts: [{ path: "/test", token: originalToken }] })))
})
