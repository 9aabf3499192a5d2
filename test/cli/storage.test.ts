/** A broker that is killed and started again on its storage, as a program. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { Client, Kosmonaut, Worker } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"
import { token } from "../harness/TestBroker.ts"
import { assertWrong, freePorts, run, serve } from "./program.ts"

const urlOf = ({ backend, vhosts }: Effect.Success<ReturnType<typeof serve>>["ready"]) =>
  Redacted.make(`${backend.replace("://", `://${vhosts[0]!.token}@`)}/app`)

interface Subscribed {
  readonly epoch: string
  readonly position: number
  readonly recovered?: boolean
}

/** The positions of all that a browser has received when its connection has ended. */
const positionsUntilEnd = (page: Browser.Browser) =>
  Effect.gen(function*() {
    const positions: Array<number> = []
    const more = Effect.map(page.next, (message) => void positions.push(Number(message[":at"])))
    yield* Effect.ignore(Effect.forever(more))
    return positions
  })

const triggers = Array.from({ length: 20 }, (_, n) => n)

describe.concurrent("kosmonaut serve --storage-dir", { timeout: 120_000 }, () => {
  it.live("goes on after kill -9 with all that was confirmed", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const storage = ["--storage-dir", directory]
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
    }).pipe(Effect.scoped))

  it.live("has every answered broadcast in the history after kill -9 in the midst of them, at positions of their own, with --fsync", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const options = ["--storage-dir", directory, "--fsync", "--channel-rule", "room history"]
      const first = yield* serve(...options, "--channel", "room")
      const answered: Array<Array<number>> = [[], [], [], []]
      const enough = yield* Deferred.make<void>()
      const page = yield* Browser.connect(`${first.ready.websocket}/app?v=1`)
      yield* page.send({ subscribe: { channel: "room" } })
      const { epoch, position: start } = (yield* page.nextOf(":subscribed")) as Subscribed
      yield* Effect.gen(function*() {
        const client = yield* Client.Client
        const sending = Effect.forEach(answered, (own, sender) =>
          Effect.forever(Effect.suspend(() => {
            const n = own.length
            return Effect.tap(client.broadcast("room", "said", { sender, n }), () => {
              own.push(n)
              return own.length === 60 ? Deferred.succeed(enough, undefined) : Effect.void
            })
          })), { concurrency: "unbounded" })
        const fiber = yield* Effect.forkScoped(sending)
        yield* Deferred.await(enough)
        yield* first.program.kill("SIGKILL")
        yield* first.program.output
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(Kosmonaut.layer({ url: urlOf(first.ready) })), Effect.scoped)
      const received = yield* positionsUntilEnd(page)

      const second = yield* serve(...options)
      yield* Effect.gen(function*() {
        const client = yield* Client.Client
        const history = Array.from(yield* Stream.runCollect(client.history("room")))
        const positions = history.map(({ position }) => position)
        assert.deepStrictEqual(positions, [...new Set(positions)].sort((one, other) => one - other))
        for (const [sender, own] of answered.entries()) {
          const stored = history.flatMap(({ data }) => data["sender"] === sender ? [data["n"]] : [])
          // One more may have been stored whose response did not arrive.
          assert.deepStrictEqual(stored.slice(0, own.length), own)
          assert.isAtMost(stored.length, own.length + 1)
        }
        const again = yield* Browser.connect(`${second.ready.websocket}/app?v=1`)
        yield* again.send({ subscribe: { channel: "room", since: { epoch, position: start } } })
        const subscribed = (yield* again.nextOf(":subscribed")) as Subscribed
        assert.deepStrictEqual([subscribed.epoch, subscribed.recovered], [epoch, true])
        const recovered = yield* Effect.forEach(positions, () => Effect.map(again.next, (message) => message[":at"]))
        assert.deepStrictEqual(recovered, positions)
        yield* client.broadcast("room", "said", { sender: "the last" })
        const next = Number((yield* again.next)[":at"])
        assert.isAbove(next, Math.max(...positions, ...received))
      }).pipe(Effect.provide(Layer.fresh(Kosmonaut.layer({ url: urlOf(second.ready) }))))
    }).pipe(Effect.scoped))

  it.live("is one broker's alone, and no vhost is added to those that are stored", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const storage = ["--storage-dir", directory]
      const first = yield* serve(...storage, "--vhost", "/chat")
      assertWrong(yield* run(["serve", ...freePorts, ...storage]), directory, "another broker uses it")
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
})
