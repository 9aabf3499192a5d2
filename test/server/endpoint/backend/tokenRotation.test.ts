/**
 * Access tokens of a vhost that are rotated, and what becomes of connections that have shown one that is removed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Queue, Redacted } from "effect"
import { Client, Kosmonaut, Worker } from "../../../../src/index.ts"
import * as Authenticator from "../../../../src/server/endpoint/internal/authenticator.ts"
import * as Engine from "../../../../src/server/engine/Vhosts.ts"
import { Vhosts } from "../../../../src/server/index.ts"
import type { Peer } from "../../../../src/transport/TransportServer.ts"
import { settings } from "../../../harness/engine.ts"
import { eventually } from "../../../harness/eventually.ts"
import { layer, TestBroker, token, transports } from "../../../harness/TestBroker.ts"

const next = "f".repeat(40)

describe.each(transports)("an access token over $name", ({ url }) => {
  const backend = Effect.fnUntraced(function*(own: string) {
    const { urls } = yield* TestBroker
    const options = {
      url: Redacted.value(urls[url]).replace(token, own),
      worker: { prefetch: 10, drainTimeout: 100 }
    }
    const context = yield* Layer.build(Kosmonaut.layer(options))
    return {
      client: yield* Effect.provide(Client.Client, context),
      worker: yield* Effect.provide(Worker.Worker, context)
    }
  })

  it.live("is rotated without a pause: events and requests go on, and the old one ends with its connections", () =>
    Effect.gen(function*() {
      const vhosts = yield* Vhosts.Vhosts
      const { vhost } = yield* TestBroker
      assert.isTrue(Exit.isFailure(yield* Effect.exit((yield* backend(next)).client.openChannel("a"))))
      assert.strictEqual(Redacted.value(yield* vhosts.addToken("/test", next)), next)

      const [old, fresh] = [yield* backend(token), yield* backend(next)]
      const handled = yield* Queue.unbounded<string>()
      const isHeld = yield* Queue.unbounded<void>()
      const mayEnd = yield* Deferred.make<void>()
      const holding = yield* Effect.forkScoped(
        Effect.flip(
          old.worker.listen({ onMessage: () => Effect.andThen(Queue.offer(isHeld, undefined), Deferred.await(mayEnd)) })
        )
      )
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 1)
      yield* old.client.trigger("e", {})
      yield* Queue.take(isHeld)
      yield* Effect.forkScoped(fresh.worker.listen({ onMessage: ({ event }) => Queue.offer(handled, event) }))
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 2)

      assert.isTrue(yield* vhosts.removeToken("/test", token))
      assert.strictEqual((yield* vhost.lobby.info).workers.length, 1)
      // Its event is redelivered, and neither its worker nor its Client may come back.
      assert.strictEqual(yield* Queue.take(handled), "e")
      yield* Deferred.succeed(mayEnd, undefined)
      assert.strictEqual((yield* Fiber.join(holding))._tag, "UnauthorizedError")
      assert.strictEqual((yield* Effect.flip(old.client.openChannel("b")))._tag, "UnauthorizedError")
      yield* fresh.client.openChannel("b")
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 1)
      const view = yield* vhosts.get("/test")
      assert.deepStrictEqual((yield* view.tokens).map(Redacted.value), [next])
      assert.strictEqual(Redacted.value(view.token), next)
      assert.isFalse(yield* vhosts.removeToken("/test", token))
      assert.strictEqual((yield* Effect.flip(vhosts.removeToken("/test", next)))._tag, "InvalidVhostTokenError")
      assert.strictEqual((yield* Effect.flip(vhosts.addToken("/nope")))._tag, "VhostNotFoundError")
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.live("is regenerated: all others end with their connections, and their events are redelivered", () =>
    Effect.gen(function*() {
      const vhosts = yield* Vhosts.Vhosts
      const { vhost } = yield* TestBroker
      yield* vhosts.addToken("/test", next)
      const backends = [yield* backend(token), yield* backend(next)]
      const isHeld = yield* Queue.unbounded<void>()
      const onMessage = () => Effect.andThen(Queue.offer(isHeld, undefined), Effect.never)
      const listening = yield* Effect.forEach(
        backends,
        ({ client, worker }) =>
          Effect.andThen(client.openChannel("a"), Effect.forkScoped(Effect.flip(worker.listen({ onMessage }))))
      )
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 2)
      yield* backends[0]!.client.trigger("e", {})
      yield* Queue.take(isHeld)

      const made = Redacted.value(yield* vhosts.regenerateToken("/test"))
      assert.deepStrictEqual((yield* (yield* vhosts.get("/test")).tokens).map(Redacted.value), [made])
      assert.deepStrictEqual((yield* vhost.lobby.info).workers, [])
      for (const fiber of listening) assert.strictEqual((yield* Fiber.join(fiber))._tag, "UnauthorizedError")
      for (const { client } of backends) {
        assert.strictEqual((yield* Effect.flip(client.openChannel("b")))._tag, "UnauthorizedError")
      }
      const fresh = yield* backend(made)
      const handled = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(fresh.worker.listen({ onMessage: ({ event }) => Queue.offer(handled, event) }))
      assert.strictEqual(yield* Queue.take(handled), "e")
      assert.strictEqual((yield* Effect.flip(vhosts.regenerateToken("/nope")))._tag, "VhostNotFoundError")
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.live("that is removed ends a Client that goes on and on", () =>
    Effect.gen(function*() {
      const vhosts = yield* Vhosts.Vhosts
      yield* vhosts.addToken("/test", next)
      const old = yield* backend(token)
      const requesting = yield* Effect.forkScoped(Effect.flip(
        old.client.openChannel("a").pipe(
          Effect.andThen(Effect.forever(Effect.andThen(old.client.broadcast("room", "e"), Effect.yieldNow)))
        )
      ))
      yield* vhosts.removeToken("/test", token)
      assert.strictEqual((yield* Fiber.join(requesting))._tag, "UnauthorizedError")
    }).pipe(Effect.scoped, Effect.provide(layer())))
})

describe("a connection", () => {
  it.effect("is not authorized any more from the moment at which its token is removed", () =>
    Effect.gen(function*() {
      const vhosts = yield* Effect.provide(Engine.make, settings({ vhosts: [{ path: "/test", token }] }))
      const authenticator = Authenticator.make(vhosts)
      const peer: Peer = {
        identity: `req:/test:${token}:${"0".repeat(36)}`,
        connection: {},
        sendUnsafe: () => true,
        separateUnsafe: () => {},
        seesClose: true,
        close: Effect.void,
        disconnect: Effect.void
      }
      const { token: shown } = yield* authenticator.authorize(peer)
      yield* vhosts.addToken("/test", next)
      assert.isDefined(authenticator.find(peer))
      assert.strictEqual(authenticator.withToken(shown).length, 1)
      yield* vhosts.removeToken("/test", token)
      assert.isUndefined(authenticator.find(peer))
      assert.strictEqual((yield* Effect.flip(authenticator.authorize(peer)))._tag, "UnauthorizedError")
    }))
})
