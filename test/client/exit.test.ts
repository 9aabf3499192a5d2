import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import * as Bundle from "../harness/bundle.ts"
import { layer, TestBroker, transports } from "../harness/TestBroker.ts"

const program = fileURLToPath(new URL("../harness/programs/oneShot.ts", import.meta.url))

describe.each(transports)("a program that uses the library over $name", ({ url }) => {
  it.live("exits when its scope has closed", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* TestBroker
      yield* vhost.lobby.enqueue("{\"chat/say\":{}}")
      const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
      const file = yield* Effect.promise(() => Bundle.of(program))
      const output = yield* spawner.string(
        ChildProcess.make(process.execPath, [file, Redacted.value(urls[url])], {
          stderr: "inherit",
          env: Bundle.cache,
          extendEnv: true
        })
      )
      assert.strictEqual(output, "handled chat/say\n")
      assert.deepStrictEqual((yield* vhost.lobby.info).workers, [])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(layer(), NodeServices.layer))))
})
