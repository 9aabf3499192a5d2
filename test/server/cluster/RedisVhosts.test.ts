import { expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { InternalError } from "../../../src/protocol/KosmonautError.ts"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import * as RedisQueues from "../../../src/server/cluster/RedisQueues.ts"
import * as RedisVhosts from "../../../src/server/cluster/RedisVhosts.ts"
import { eventually } from "../../harness/eventually.ts"
import { redisNode } from "../../harness/redisNode.ts"
import { describeWithRedis, type RedisServer, start } from "../../harness/redisServer.ts"
import { vhostsContract } from "../../harness/vhostsContract.ts"

const registryOf = Effect.fnUntraced(function*(server: RedisServer) {
  const node = yield* redisNode(server, { lease: 60_000 })
  const queues = RedisQueues.make({ connection: node.connection, nodes: node })
  yield* Effect.forkScoped(queues.listen)
  return { node, ...RedisVhosts.make(node, queues) }
})

const settings = { tokens: [Redacted.make("x")], rules: undefined }

describeWithRedis("The vhosts in Redis", () => {
  vhostsContract(Effect.flatMap(start(), (server) => Effect.all([registryOf(server), registryOf(server)])))

  it.live("tell all nodes of a change, also one whose answer is lost", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const nodes = [yield* registryOf(server), yield* registryOf(server)]
      const told = [0, 0]
      const stops = nodes.map(({ onChangeUnsafe }, index) => onChangeUnsafe(() => void told[index]!++))
      yield* nodes[0]!.change("/a", 0, settings)
      yield* eventually(Effect.sync(() => told), (told) => told.every((count) => count === 1))
      stops[1]!()
      yield* nodes[1]!.change("/b", 0, settings)
      yield* eventually(Effect.sync(() => told[0]), (count) => count === 2)
      expect(told[1]).toBe(1)
    }))

  it.live("are nothing for a node without its lease", () =>
    Effect.gen(function*() {
      const { change, load, node } = yield* registryOf(yield* start())
      yield* change("/a", 0, settings)
      yield* node.connection.send("DEL", Keys.leases)
      expect(yield* Effect.flip(change("/b", 0, settings))).toBeInstanceOf(InternalError)
      expect(yield* Effect.flip(load)).toBeInstanceOf(InternalError)
    }))

  it.live("that cannot be read are an error that does not show them", () =>
    Effect.gen(function*() {
      const { load, node } = yield* registryOf(yield* start())
      yield* node.connection.send("HSET", Keys.vhosts, "/a", `1 1 {"tokens":["secretword"]`)
      const error = yield* Effect.flip(load)
      expect(error.message).toContain("/a")
      expect(JSON.stringify(error) + error.message).not.toContain("secretword")
    }))
})
