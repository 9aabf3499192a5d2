/**
 * A node of a cluster without a broker: its connection, its lease and its logs, with a network of its own to Redis.
 */
import { Effect, Redacted } from "effect"
import * as Connection from "../../src/server/cluster/Connection.ts"
import * as Nodes from "../../src/server/cluster/Nodes.ts"
import * as RedisLogs from "../../src/server/cluster/RedisLogs.ts"
import type { RedisServer } from "./redisServer.ts"
import * as TcpProxy from "./TcpProxy.ts"

/** Starts one, until the scope ends. Its lease is short unless an option says otherwise. */
export const redisNode = Effect.fnUntraced(function*(server: RedisServer, options: Partial<Nodes.Options> = {}) {
  const proxy = yield* TcpProxy.make(server.port)
  const connection = yield* Connection.make(Redacted.make(`redis://127.0.0.1:${proxy.port}`))
  const nodes = yield* Nodes.make(connection, { name: "a", version: "0.1.0", lease: 600, ...options })
  return { ...nodes, proxy, connection, ...yield* RedisLogs.make(connection, nodes) }
})
