/**
 * Event queues in a Redis of the test's own, with nodes and a time that the test decides.
 */
import { Duration, Effect } from "effect"
import { LeaseLostError } from "../../src/server/BrokerError.ts"
import * as Connection from "../../src/server/cluster/Connection.ts"
import * as Keys from "../../src/server/cluster/Keys.ts"
import type { Nodes } from "../../src/server/cluster/Nodes.ts"
import * as RedisQueues from "../../src/server/cluster/RedisQueues.ts"
import * as Script from "../../src/server/cluster/Script.ts"
import type { Limits } from "../../src/server/engine/SharedQueue.ts"
import * as RedisServer from "./redisServer.ts"

export const limits: Limits = {
  queueCapacity: 1000,
  queueSize: 1_000_000,
  maxDeliveries: 3,
  redeliveryBackoff: Duration.millis(100),
  lifecycleRetention: Duration.seconds(10),
  deadLetterCapacity: 10,
  deadLetterSize: 10_000
}

/** A node whose lease lasts until the test ends it. */
const nodeOf = (connection: Connection.Connection, self: string): Pick<Nodes, "self" | "run"> => ({
  self,
  run: (script, keys, args) =>
    Effect.mapError(
      connection.run(script, [Keys.leases, ...keys], [self, ...args]),
      (error) =>
        error._tag === "RedisCommandError" && error.detail.startsWith(Script.leaseLost)
          ? new LeaseLostError({ node: self, detail: error.detail })
          : error
    )
})

/** A Redis, and nodes that share it. */
export const make = Effect.gen(function*() {
  const server = yield* RedisServer.start()
  const connection = yield* Connection.make(server.url)
  let count = 0
  return {
    server,
    connection,
    /** A node of its own incarnation, and its queues, which are made when it takes part in them. */
    node: (now?: () => number) =>
      Effect.gen(function*() {
        const self = (++count).toString(16).padStart(8, "0")
        yield* connection.send("ZADD", Keys.leases, "1", self)
        return { self, queues: RedisQueues.make({ connection, nodes: nodeOf(connection, self), now }) }
      }),
    endLease: (self: string) => connection.send("ZREM", Keys.leases, self),
    /** The keys of a vhost's queue, without what all begin with, but for the hash of events if it has none. */
    usedKeysOf: (vhost: string) =>
      Effect.gen(function*() {
        const base = Keys.ofVhost(vhost, "queue")
        const used: Array<string> = []
        for (const key of (yield* connection.send("KEYS", `${base}*`)) as ReadonlyArray<string>) {
          const name = key.slice(base.length)
          const fields = name === ":events"
            ? ((yield* connection.send("HKEYS", key)) as ReadonlyArray<string>).join()
            : ""
          if (fields !== "-") used.push(name)
        }
        return used
      }),
    /** All keys of a vhost's queue, without what all begin with. */
    keysOf: (vhost: string) =>
      Effect.map(
        connection.send("KEYS", `${Keys.ofVhost(vhost, "queue")}*`),
        (keys) => (keys as Array<string>).map((key) => key.slice(Keys.ofVhost(vhost, "queue").length)).toSorted()
      )
  }
})
