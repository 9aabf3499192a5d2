import { expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { LeaseLostError, UnsuitableRedisError } from "../../../src/server/BrokerError.ts"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import * as Script from "../../../src/server/cluster/Script.ts"
import type { Node } from "../../../src/server/engine/Cluster.ts"
import { eventually } from "../../harness/eventually.ts"
import { redisNode } from "../../harness/redisNode.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"

const set = Script.fenced("return redis.call('SET', KEYS[2], ARGV[2])")

const namesOf = (list: ReadonlyArray<Node>) => list.map(({ name }) => name).toSorted()

describeWithRedis("Nodes", () => {
  it.live("are listed with what they say of themselves, until they end", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const one = yield* redisNode(server)
      one.report(() => ({ browsers: 3 }))
      const scope = yield* Scope.make()
      const other = yield* Scope.provide(redisNode(server, { name: "b" }), scope)
      expect(one.self).toMatch(/^[0-9a-f]{8}$/)
      expect(one.self).not.toBe(other.self)
      const list = yield* eventually(one.list, (list) => list.some(({ load }) => load["browsers"] === 3))
      expect(namesOf(list)).toEqual(["a", "b"])
      expect(list.find(({ node }) => node === one.self)).toMatchObject({ name: "a", version: "0.1.0" })
      for (const { lease } of list) expect(lease).toBeLessThanOrEqual(600)
      yield* Scope.close(scope, Exit.void)
      expect(namesOf(yield* one.list)).toEqual(["a"])
    }))

  it.live("are ended by another one when their lease is over, and change nothing from then on", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const one = yield* redisNode(server)
      const other = yield* redisNode(server, { name: "b" })
      yield* one.connection.send("SADD", Keys.logs, "/chat")
      expect(yield* one.run(set, ["key"], ["before"])).toBe("OK")
      const fenced = yield* Effect.forkChild(Effect.exit(one.fenced))
      yield* one.proxy.stall
      yield* eventually(other.list, (list) => list.length === 1)
      yield* one.proxy.goOn
      expect(yield* Fiber.join(fenced)).toMatchObject(Exit.fail({ _tag: "LeaseLostError", node: one.self }))
      expect(one.isFenced()).toBe(true)
      expect(yield* Effect.flip(one.run(set, ["key"], ["after"]))).toBeInstanceOf(LeaseLostError)
      expect(yield* other.connection.send("GET", "key")).toBe("before")
      expect(yield* other.connection.send("XRANGE", Keys.log("/chat"), "-", "+")).toEqual([
        ["1-0", ["n", one.self, "t", expect.stringMatching(/^\d{13}$/)]]
      ])
      expect(yield* other.connection.send("SMEMBERS", Keys.ended("/chat"))).toEqual([one.self])
    }))

  it.live("all keep their leases if Redis was away for all of them", () =>
    Effect.gen(function*() {
      const server = yield* start({ persistence: "aof" })
      const all = [yield* redisNode(server, { lease: 2000 }), yield* redisNode(server, { lease: 2000, name: "b" })]
      yield* server.kill
      yield* Effect.sleep("2500 millis")
      yield* server.restart
      for (const node of all) {
        expect(yield* eventually(Effect.option(node.run(set, ["key"], [1])), ({ _tag }) => _tag === "Some"))
          .toMatchObject({ value: "OK" })
      }
      // Longer than the leases that were over.
      yield* Effect.sleep("2500 millis")
      expect(all.map((node) => node.isFenced())).toEqual([false, false])
      expect(namesOf(yield* all[0]!.list)).toEqual(["a", "b"])
    }))

  it.live("lose their leases with the data of Redis", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const node = yield* redisNode(server)
      yield* server.kill
      yield* server.restart
      expect(yield* Effect.flip(node.fenced)).toBeInstanceOf(LeaseLostError)
    }))

  it.live("give up when they cannot reach Redis for too long", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const node = yield* redisNode(server, { isolation: 500 })
      yield* server.kill
      const error = yield* Effect.flip(node.fenced)
      expect(error.message).toContain("Redis could not be reached for 0.5 s")
    }))

  it.live("do not share what another layout has written", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const node = yield* redisNode(server)
      yield* node.connection.send("SET", Keys.layout, "999")
      const error = yield* Effect.flip(redisNode(server))
      expect(error).toBeInstanceOf(UnsuitableRedisError)
      expect(error.message).toContain("has the layout 999")
    }))
})
