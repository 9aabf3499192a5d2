/** A served broker whose process may have few file descriptors. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Bundle from "../harness/bundle.ts"
import { eventually } from "../harness/eventually.ts"
import { identity } from "../harness/identity.ts"
import * as RawTcp from "../harness/RawTcp.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"
import { token } from "../harness/TestBroker.ts"
import { freePorts, main, startProgram } from "./program.ts"

/** Starts `kosmonaut` with so many file descriptors. The shell becomes the program, so that it is the one that is killed. */
const limited = (descriptors: number, args: ReadonlyArray<string>) =>
  Effect.flatMap(
    Effect.promise(() => Bundle.of(main)),
    (file) => startProgram("sh", ["-c", `ulimit -n ${descriptors}; exec "$0" "$@"`, process.execPath, file, ...args])
  )

describe("kosmonaut serve with few file descriptors", { timeout: 120_000 }, () => {
  it.live("refuses who is too many, says so in few words, and goes on when some have gone", () =>
    Effect.gen(function*() {
      const program = yield* limited(128, ["serve", ...freePorts, "--channel", "room"])
      const [, port] = yield* program.says("stdout", /"ws:\/\/127\.0\.0\.1:(\d+)"/)
      yield* Effect.scoped(Effect.gen(function*() {
        const first = yield* RawWebSocket.connect(Number(port), "/app")
        const all = yield* Effect.replicateEffect(RawWebSocket.connect(Number(port), "/app?v=1"), 200, {
          concurrency: 200
        })
        const entered = yield* Effect.forEach(all, ({ head, next }) =>
          head.startsWith("HTTP/1.1 101 ")
            ? Effect.map(next, ({ opcode }) => opcode === 1)
            : Effect.succeed(false))
        const count = entered.filter((has) => has).length
        assert.isAbove(count, 20)
        assert.isBelow(count, 116)
        // Those that are there are served.
        yield* first.next
        yield* first.send(1, `{"subscribe":{"channel":"room"}}`)
        assert.strictEqual((yield* first.next).payload.toString(), `{":subscribed":{"channel":"room"}}`)
        yield* program.says("stderr", /file descriptors: raise its limit \(ulimit -n\)/)
      }))
      const enters = Effect.scoped(Effect.map(
        Effect.exit(Effect.flatMap(RawWebSocket.connect(Number(port), "/app"), ({ next }) => next)),
        (exit) => exit._tag === "Success"
      ))
      yield* eventually(enters, (has) => has)
      yield* program.kill("SIGTERM")
      const { status, stderr } = yield* program.output
      assert.strictEqual(status, 0)
      assert.isAtMost(stderr.trim().split("\n").length, 4, stderr)
    }).pipe(Effect.scoped))

  it.live("serves backends and browsers though strangers take all descriptors, and says so", () =>
    Effect.gen(function*() {
      const program = yield* limited(128, ["serve", ...freePorts, "--token", token])
      const [line] = yield* program.says("stdout", /ready .*\n/)
      const port = (kind: string) => Number(new RegExp(`"${kind}:[^"]*:(\\d+)"`).exec(line)![1])
      yield* Effect.scoped(Effect.gen(function*() {
        for (const kind of ["wr", "wr\\+tcp"]) yield* Effect.replicateEffect(RawTcp.connect(port(kind)), 150)
        yield* program.says("stderr", /room for one for backends over ZeroMQ.*\(ulimit -n\)/)
        yield* program.says("stderr", /room for one for backends over TCP.*\(ulimit -n\)/)
        const backend = yield* RawTcp.connect(port("wr\\+tcp"))
        yield* backend.send(RawTcp.message(identity("req", { vhost: "/app", token }), "", "OC", "room"))
        assert.strictEqual(yield* backend.rest, RawTcp.message("OK", ""))
      }))
      const browser = yield* RawWebSocket.connect(port("ws"), "/app")
      yield* browser.next
    }).pipe(Effect.scoped))
})
