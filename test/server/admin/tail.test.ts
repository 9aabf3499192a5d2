import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import * as DiagnosticsChannel from "node:diagnostics_channel"
import type { Socket } from "node:net"
import { Admin } from "../../../src/server/admin/Admin.ts"
import * as AdminEndpoint from "../../../src/server/admin/AdminEndpoint.ts"
import * as Tail from "../../../src/server/admin/internal/tail.ts"
import * as Engine from "../../../src/server/engine/Vhosts.ts"
import * as VhostViews from "../../../src/server/engine/VhostViews.ts"
import { settings } from "../../harness/engine.ts"
import * as RawTcp from "../../harness/RawTcp.ts"

it.effect("a reader of a tail that is too slow gets what has waited for it up to the limit, and is told why it ends", () =>
  Effect.gen(function*() {
    const vhost = yield* Engine.Vhosts.use(({ get }) => get("/test"))
    const [begun, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const tail = yield* Tail.make()(vhost, "room")
    const reader = yield* Effect.forkChild(Stream.runCollect(
      Stream.tap(tail, () => Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(goOn)))
    ))
    yield* Deferred.await(begun)
    yield* Effect.forEach(
      Array.from({ length: 50 }),
      (_, n) => vhost.channels.broadcast("room", "said", { n, text: "x".repeat(100_000) }),
      { discard: true }
    )
    yield* Deferred.succeed(goOn, undefined)
    const items = yield* Fiber.join(reader)
    assert.deepEqual(items.at(-1), { _tag: "Ended", reason: "you read too slowly" })
    const messages = items.filter(({ _tag }) => _tag === "Broadcast")
    // 4 MiB, which is about 41 of them, and what its reader had taken before.
    assert.isAtLeast(messages.length, 40)
    assert.isAtMost(messages.length, 43)
  }).pipe(Effect.provide(Layer.provide(
    Engine.layer,
    settings({ vhosts: [{ path: "/test", channels: ["room"] }] })
  ))))

it.effect("beyond what may wait for all readers the slowest loses what waits for it, and no other", () =>
  Effect.gen(function*() {
    const vhost = yield* Engine.Vhosts.use(({ get }) => get("/test"))
    const tailOf = Tail.make()
    const goOn = yield* Deferred.make<void>()
    /** One that reads nothing after its first item, if it is slow. */
    const read = Effect.fnUntraced(function*(channel: string, isSlow: boolean) {
      const begun = yield* Deferred.make<void>()
      const items: Array<string> = []
      const tail = Stream.tap(yield* tailOf(vhost, channel), (item) => {
        items.push(item._tag === "Ended" ? item.reason : item._tag)
        return Effect.andThen(Deferred.succeed(begun, undefined), isSlow ? Deferred.await(goOn) : Effect.void)
      })
      const fiber = yield* Effect.forkChild(Stream.runDrain(tail))
      yield* Deferred.await(begun)
      return { items, fiber }
    })
    const broadcast = (channel: string, count: number) =>
      Effect.repeat(
        Effect.andThen(
          vhost.channels.broadcast(channel, "said", { text: "x".repeat(100_000) }),
          // Those that read have read it.
          Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        ),
        { times: count - 1 }
      )
    const slowest = yield* read("slowest", true)
    const slow = yield* Effect.replicateEffect(read("slow", true), 9)
    const fast = yield* read("slow", false)
    yield* broadcast("slowest", 40)
    // 31 MiB of 32 together, and less than 4 each.
    yield* broadcast("slow", 36)
    yield* Deferred.succeed(goOn, undefined)
    yield* Fiber.join(slowest.fiber)
    assert.deepEqual(slowest.items, ["Alive", "you read too slowly"])
    yield* vhost.channels.close("slow")
    for (const { fiber, items } of [...slow, fast]) {
      yield* Fiber.join(fiber)
      assert.deepEqual(items, ["Alive", ...Array.from({ length: 36 }, () => "Broadcast"), "the channel was closed"])
    }
  }).pipe(Effect.provide(Layer.provide(
    Engine.layer,
    settings({ vhosts: [{ path: "/test", channels: ["slow", "slowest"] }] })
  ))))

/** The broker's sides of the connections that are accepted in the scope. */
const accepted = Effect.acquireRelease(
  Effect.sync(() => {
    const sockets: Array<Socket> = []
    const onSocket = (message: unknown) => void sockets.push((message as { socket: Socket }).socket)
    DiagnosticsChannel.subscribe("net.server.socket", onSocket)
    return { sockets, onSocket }
  }),
  ({ onSocket }) => Effect.sync(() => DiagnosticsChannel.unsubscribe("net.server.socket", onSocket))
)

describe("a connection with a tail that is not read", () => {
  const options = { vhosts: [{ path: "/test", channels: ["room"] }], admin: { port: 0 } } as const
  const engine = Layer.provide(Engine.layer, settings(options))
  const services = AdminEndpoint.layer({ port: 0, probe: "http://127.0.0.1:9", idleTimeout: "2 seconds" }).pipe(
    Layer.provide(VhostViews.layer),
    Layer.provideMerge(engine),
    Layer.provide(settings(options))
  )

  it.live("has a bounded queue, and is closed", () =>
    Effect.gen(function*() {
      const { bound } = yield* Admin
      const { channels } = yield* Engine.Vhosts.use(({ get }) => get("/test"))
      const { sockets } = yield* accepted
      const peer = yield* RawTcp.connect(bound!.port)
      yield* peer.send(
        `GET /api/vhosts/test/channels/room/tail HTTP/1.1\r\nhost: a\r\nx-webrocket-cookie: ${
          Redacted.value(bound!.cookie)
        }\r\n\r\n`
      )
      const begun = yield* Deferred.make<void>()
      peer.socket.on("data", (text: string) => {
        if (!text.includes("Alive")) return
        peer.socket.pause()
        Deferred.doneUnsafe(begun, Effect.void)
      })
      yield* Deferred.await(begun)
      // Other tests of this process have some, too.
      const socket = sockets.find(({ remotePort }) => remotePort === peer.socket.localPort)
      const closed = new Promise((resolve) => socket!.on("close", resolve))
      let most = 0
      for (let n = 0; n < 400; n++) {
        yield* channels.broadcast("room", "said", { n, text: "x".repeat(100_000) })
        // The system and the connection take what they take.
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        most = Math.max(most, socket!.writableLength)
      }
      // 40 MB were broadcast.
      assert.isBelow(most, 1_000_000)
      yield* Effect.promise(() => closed)
      assert.isTrue(socket!.destroyed)
    }).pipe(Effect.scoped, Effect.provide(services)))
})
