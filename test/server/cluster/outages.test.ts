import { expect, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { Client } from "../../../src/index.ts"
import * as Connection from "../../../src/server/cluster/Connection.ts"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import type { BrokerConfig } from "../../../src/server/index.ts"
import { backend, type Node, start as nodeOf, subscriber } from "../../harness/clusterNode.ts"
import { eventually } from "../../harness/eventually.ts"
import { logged } from "../../harness/logged.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"

const rules: BrokerConfig.Options = { channelRules: [{ pattern: "room", history: { count: 10 } }] }

const clientOf = (node: Node) => Effect.map(backend(node), (context) => Context.get(context, Client.Client))

/** How `/test` is named in Redis: it is the first vhost there. */
const shared = "/test#1"

describeWithRedis("Nodes that share a Redis", () => {
  it.live("go on with another Redis that was its replica, and with all that it had", () =>
    Effect.gen(function*() {
      const [primary, replica] = [yield* start(), yield* start()]
      let { port } = primary
      const [toPrimary, toReplica] = [yield* Connection.make(primary.url), yield* Connection.make(replica.url)]
      yield* toReplica.send("REPLICAOF", "127.0.0.1", `${primary.port}`)
      const nodes = [yield* nodeOf({ port: () => port }), yield* nodeOf({ port: () => port })] as const
      const client = yield* clientOf(nodes[0])
      const browser = yield* subscriber(nodes[1], "room")
      yield* eventually(toReplica.send("INFO", "replication"), (text) => String(text).includes("master_link_status:up"))
      yield* client.broadcast("room", "said", { n: 1 })
      const offset = yield* toPrimary.send("HGET", Keys.head(shared), "offset")
      yield* eventually(toReplica.send("HGET", Keys.head(shared), "offset"), (found) => found === offset)
      yield* toReplica.send("REPLICAOF", "NO", "ONE")
      port = replica.port
      yield* primary.kill
      yield* eventually(Effect.option(client.broadcast("room", "said", { n: 2 })), ({ _tag }) => _tag === "Some")
      expect([yield* browser.nextOf("said"), yield* browser.nextOf("said")]).toMatchObject([{ n: 1 }, { n: 2 }])
    }))

  it.live("begin anew with a replica that has not got their last changes, on whatever connection they read", () =>
    Effect.gen(function*() {
      const [primary, replica] = [yield* start(), yield* start()]
      let { port } = primary
      const toReplica = yield* Connection.make(replica.url)
      yield* toReplica.send("REPLICAOF", "127.0.0.1", `${primary.port}`)
      const { layer, lines } = logged("Info")
      const nodes = yield* Effect.forEach(
        [1, 2],
        () => Effect.provide(nodeOf({ port: () => port }, rules), layer)
      ) as unknown as Effect.Effect<readonly [Node, Node]>
      yield* eventually(toReplica.send("INFO", "replication"), (text) => String(text).includes("master_link_status:up"))
      yield* toReplica.send("REPLICAOF", "NO", "ONE")
      const client = yield* clientOf(nodes[0])
      const browsers = yield* Effect.forEach(nodes, (node) => subscriber(node, "room"))
      yield* client.trigger("ping")
      yield* client.broadcast("room", "said", { n: 1 })
      // The primary lives, and nobody may write to it any more but those who do not know.
      port = replica.port
      yield* Effect.forEach(nodes, ({ proxy }) => proxy.cut(0))
      const codes = yield* Effect.forEach(browsers, ({ closed }) => closed, { concurrency: "unbounded" })
      expect(codes.every((code) => code === 1001 || code === 1012)).toBe(true)
      // They may begin anew twice, for the log and for the queue.
      const works = Effect.gen(function*() {
        const again = yield* Effect.forEach(nodes, (node) => subscriber(node, "room"))
        yield* client.broadcast("room", "said", { n: 2 })
        return yield* Effect.forEach(again, (browser) => browser.nextOf("said"))
      })
      expect(yield* Effect.eventually(works)).toMatchObject([{ n: 2 }, { n: 2 }])
      expect(lines.join("\n")).toMatch(/begins anew|starts anew/)
    }))

  it.live("begin anew with a snapshot if entries were trimmed that they have not read", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { layer, lines } = logged("Warn")
      const names = ["a", "b", "c"]
      const nodes = yield* Effect.forEach(names, (nodeName) =>
        Effect.provide(nodeOf(server, { ...rules, nodeName }), layer))
      const redis = yield* Connection.make(server.url)
      // Not the one that stores snapshots.
      const infos = (yield* redis.send("HGETALL", Keys.nodes)) as ReadonlyArray<string>
      const last = infos.filter((_, index) =>
        index % 2 === 0
      ).toSorted().at(-1)!
      const { name } = JSON.parse(infos[infos.indexOf(last) + 1]!) as { readonly name: string }
      const late = nodes[names.indexOf(name)]!
      const other = nodes.find((node) => node !== late)!
      const client = yield* clientOf(other)
      const browser = yield* subscriber(late, "room")
      const trimmed = Effect.map(redis.send("XRANGE", Keys.log(shared), "1-0", "1-0"), (found) =>
        (found as ReadonlyArray<unknown>).length === 0)
      yield* late.proxy.stall
      // Its lease goes on, however long this takes here.
      yield* redis.send("ZADD", Keys.leases, String(Number.MAX_SAFE_INTEGER), last)
      const broadcasts = Effect.replicateEffect(client.broadcast("room", "said", { text: "x".repeat(200_000) }), 16, {
        concurrency: "unbounded",
        discard: true
      })
      yield* Effect.repeat(broadcasts, {
        until: () =>
          trimmed
      })
      yield* late.proxy.goOn
      expect(yield* browser.closed).toBe(1012)
      expect(lines.join("\n")).toContain("This node begins anew")
      const again = yield* Effect.eventually(Effect.suspend(() => subscriber(late, "room")))
      yield* client.broadcast("room", "said", { n: 2 })
      expect(yield* again.nextOf("said")).toMatchObject({ n: 2 })
      expect(yield* late.vhost.counts).toMatchObject(
        yield* Effect.map(other.vhost.counts, ({ browsers, channels }) => ({
          browsers,
          channels
        }))
      )
    }))
})
