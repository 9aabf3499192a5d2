/** A broker that is killed and started again on its storage, as a program. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Redacted } from "effect"
import { Client, Kosmonaut, Worker } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"
import { token } from "../harness/TestBroker.ts"
import { assertWrong, freePorts, run, serve } from "./program.ts"

const urlOf = ({ backend, vhosts }: Effect.Success<ReturnType<typeof serve>>["ready"]) =>
  Redacted.make(`${backend.replace("://", `://${vhosts[0]!.token}@`)}/app`)

const triggers = Array.from({ length: 20 }, (_, n) => n)

describe("kosmonaut serve --storage-dir", () => {
  it.live.each([{ flags: [] }, { flags: ["--fsync"] }])(
    "goes on after kill -9 with all that was confirmed, $flags",
    ({ flags }) =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        const storage = ["--storage-dir", directory, ...flags]
        const first = yield* serve(...storage, "--channel", "room")
        const unused = yield* Effect.gen(function*() {
          const client = yield* Client.Client
          yield* client.openChannel("hall")
          const joe = yield* Browser.connect(`${first.ready.websocket}/app`)
          yield* joe.send({ auth: { token: Redacted.value(yield* client.requestSingleAccessToken("joe", ".*")) } })
          yield* joe.nextOf(":authenticated")
          for (const n of triggers) yield* joe.send({ trigger: { event: "say", data: { n }, id: n } })
          for (const id of triggers) assert.deepStrictEqual(yield* joe.nextOf(":triggered"), { id })
          return yield* client.requestSingleAccessToken("ann", ".*")
        }).pipe(Effect.provide(Kosmonaut.layer({ url: urlOf(first.ready) })))
        yield* first.program.kill("SIGKILL")
        yield* first.program.output

        const second = yield* serve(...storage)
        assert.deepStrictEqual(second.ready.vhosts, first.ready.vhosts)
        const ann = yield* Browser.connect(`${second.ready.websocket}/app`)
        yield* ann.send({ auth: { token: Redacted.value(unused) } })
        yield* ann.nextOf(":authenticated")
        yield* ann.send({ subscribe: { channel: "hall" } })
        yield* ann.nextOf(":subscribed")

        const handled: Array<unknown> = []
        const ids = new Set<unknown>()
        const all = yield* Deferred.make<void>()
        const listening = Worker.Worker.use((worker) =>
          worker.listen({
            onMessage: ({ data, id }) =>
              Effect.sync(() => {
                handled.push(data["n"])
                ids.add(id)
                if (handled.length === triggers.length) Deferred.doneUnsafe(all, Effect.void)
              })
          })
        )
        yield* Effect.raceFirst(listening, Deferred.await(all)).pipe(
          Effect.provide(Layer.fresh(Kosmonaut.layer({ url: urlOf(second.ready) })))
        )
        assert.deepStrictEqual(handled, triggers)
        assert.strictEqual(ids.size, triggers.length)
      }).pipe(Effect.scoped)
  )

  it.live("adds no vhost to those that are stored", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const storage = ["--storage-dir", directory]
      const first = yield* serve(...storage, "--vhost", "/chat")
      yield* first.program.kill("SIGTERM")
      yield* first.program.output
      const second = yield* serve(...storage, "--channel", "hall")
      assert.deepStrictEqual(second.ready.vhosts, first.ready.vhosts)
      const ann = yield* Browser.connect(`${second.ready.websocket}/chat`)
      yield* ann.send({ subscribe: { channel: "hall" } })
      yield* ann.nextOf(":subscribed")
      yield* second.program.kill("SIGTERM")
      yield* second.program.output
      const output = yield* run(["serve", ...freePorts, ...storage], { env: { KOSMONAUT_TOKEN: token } })
      // Before it the log tells what was restored.
      assert.match(output.stderr, /\nkosmonaut: [^\n]*\/chat: choose one with --vhost[^\n]*\n$/)
      assert.strictEqual(output.status, 1)
    }).pipe(Effect.scoped))

  it.live("takes a new token for the vhost that is there without being named", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const storage = ["--storage-dir", directory]
      const first = yield* serve(...storage)
      yield* first.program.kill("SIGTERM")
      yield* first.program.output
      const second = yield* serve(...storage, "--token", token)
      assert.deepStrictEqual(second.ready.vhosts, [{ path: "/app" }])
      const opened = yield* run(["open", "hall", "--url", `${second.ready.backend.replace("://", `://${token}@`)}/app`])
      assert.strictEqual(opened.stderr, "")
    }).pipe(Effect.scoped))

  it.live("is one broker's alone", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      yield* serve("--storage-dir", directory)
      const output = yield* run(["serve", ...freePorts, "--storage-dir", directory])
      assertWrong(output, directory, "another broker uses it")
    }).pipe(Effect.scoped))
})
