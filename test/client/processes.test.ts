/**
 * The library in processes of its own: what it loads, what it does if something is missing or runs out, and that it ends. They
 * run at the same time, since most of them wait.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import type { BrokerConfig } from "../../src/server/index.ts"
import * as Bundle from "../harness/bundle.ts"
import { layer, TestBroker } from "../harness/TestBroker.ts"

/** The output of a program of `harness/programs`, whose first argument is the broker's URL, with a limit of open files. */
const run = Effect.fnUntraced(function*(
  program: string,
  options: { readonly url?: "backend" | "backendTcp"; readonly args?: ReadonlyArray<string>; readonly files?: number } =
    {}
) {
  const { urls } = yield* TestBroker
  const source = fileURLToPath(new URL(`../harness/programs/${program}.ts`, import.meta.url))
  const file = yield* Effect.promise(() => Bundle.of(source))
  const command = [process.execPath, file, Redacted.value(urls[options.url ?? "backend"]), ...options.args ?? []]
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const limit = options.files === undefined ? "" : `ulimit -n ${options.files}; `
  return yield* spawner.string(
    ChildProcess.make("sh", ["-c", `${limit}exec "$0" "$@"`, ...command], {
      stderr: "inherit",
      env: Bundle.cache,
      extendEnv: true
    })
  )
})

const within = <A, E>(
  test: Effect.Effect<A, E, TestBroker | ChildProcessSpawner.ChildProcessSpawner>,
  options: BrokerConfig.Options = {}
) => Effect.provide(test, Layer.merge(layer(options), NodeServices.layer))

describe.concurrent("the package zeromq", { timeout: 120_000 }, () => {
  it.live("is not loaded by a program that uses TCP", () =>
    within(Effect.gen(function*() {
      assert.strictEqual(yield* run("overTcp", { url: "backendTcp" }), "[]")
    })))

  it.live("fails the connection with what to do if it is missing", () =>
    within(Effect.gen(function*() {
      const written = yield* run("withoutZeromq")
      assert.match(written, /^ConnectionError .*the package zeromq cannot be loaded: .*no-such-package/)
      assert.include(written, "Install it (npm install zeromq), or use a wr+tcp:// URL")
    })))

  it.live("does not abort the process when a thread ends that is connected", () =>
    within(Effect.gen(function*() {
      assert.strictEqual(yield* run("thread"), "exit 7\nalive\n")
    })))
})

describe.concurrent("a process with very many Clients", { timeout: 120_000 }, () => {
  it.live("may have more than the limit of zeromq itself", () =>
    within(Effect.gen(function*() {
      assert.strictEqual(yield* run("manyClients", { args: ["350"] }), `{"ok":350}`)
    })))

  // Several at a time: only where there is other work did ZeroMQ sometimes not tell that a socket was closed.
  it.live.each([["backend", 2], ["backendTcp", 1]] as const)(
    "fails with ConnectionError if no files are left, and ends (%s)",
    ([url, processes]) =>
      within(Effect.gen(function*() {
        const one = run("manyClients", { url, args: ["80", "1 second"], files: 100 })
        for (const written of yield* Effect.all(Array.from({ length: processes }, () => one), { concurrency: 4 })) {
          const { ConnectionError: failed, ok = 0, ...others } = JSON.parse(written)
          assert.deepStrictEqual([failed + ok, others], [80, {}])
          assert.isAtLeast(failed, 1)
        }
      }))
  )
})

describe("a process that is stopped for longer than its timeouts", () => {
  it.live("reads before it times anything out, and loses nothing, over either transport", () =>
    within(
      Effect.gen(function*() {
        const { urls } = yield* TestBroker
        const nothing = { changes: [], failed: 0 }
        const noticed = JSON.parse(yield* run("stopped", { args: [Redacted.value(urls.backendTcp)] }))
        assert.deepStrictEqual(noticed, [nothing, nothing])
        // The broker waits longer than that.
      }),
      { heartbeat: { maxMissed: 100 } }
    ))
})
