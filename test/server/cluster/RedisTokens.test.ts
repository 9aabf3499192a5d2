import { expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, Redacted } from "effect"
import { InternalError } from "../../../src/protocol/KosmonautError.ts"
import * as RedisTokens from "../../../src/server/cluster/RedisTokens.ts"
import * as Patterns from "../../../src/server/engine/internal/patterns.ts"
import { accessTokensContract, type Limits } from "../../harness/accessTokensContract.ts"
import { redisNode } from "../../harness/redisNode.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"

const tokensOf = (node: Parameters<typeof RedisTokens.make>[0], limits: Limits = {}, vhost = "/chat") =>
  Effect.map(Clock.Clock, (clock) =>
    RedisTokens.make(node, vhost, {
      maxAccessTokens: 10,
      accessTokenTimeToLive: Duration.hours(1),
      patterns: Patterns.make(),
      clock,
      ...limits
    }))

describeWithRedis("The single access tokens in Redis", () => {
  accessTokensContract((limits) =>
    Effect.flatMap(start(), (server) => Effect.flatMap(redisNode(server), (node) => tokensOf(node, limits)))
  )

  it.live("are the same for all nodes, and of one vhost", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* redisNode(server), yield* redisNode(server)]
      const here = yield* tokensOf(one)
      const there = yield* tokensOf(other)
      const token = Redacted.value(yield* here.issue("joe", ".*"))
      yield* Effect.flip((yield* tokensOf(other, {}, "/news")).redeem(token))
      expect((yield* there.redeem(token)).uid).toBe("joe")
      yield* Effect.flip(here.redeem(token))
      yield* here.issue("joe", ".*")
      expect(yield* there.revoke("joe")).toBe(1)
    }))

  it.live("leave nothing behind in Redis once they are used, revoked or expired", () =>
    Effect.gen(function*() {
      const node = yield* redisNode(yield* start())
      const tokens = yield* tokensOf(node)
      yield* tokens.redeem(Redacted.value(yield* tokens.issue("joe", ".*")))
      yield* tokens.issue("ann", ".*")
      yield* tokens.revoke("ann")
      expect(yield* node.connection.send("KEYS", "*token*")).toEqual([])
      yield* tokens.issue("eve", ".*", { expiresIn: 60_000 })
      const keys = (yield* node.connection.send("KEYS", "*token*")) as ReadonlyArray<string>
      expect(keys).toHaveLength(3)
      for (const key of keys) expect(yield* node.connection.send("PTTL", key)).toBeGreaterThan(0)
    }))

  it.live("are refused by a node without its lease", () =>
    Effect.gen(function*() {
      const node = yield* redisNode(yield* start(), { lease: 60_000 })
      const tokens = yield* tokensOf(node)
      const token = Redacted.value(yield* tokens.issue("joe", ".*"))
      yield* node.connection.send("DEL", "kosmonaut:leases")
      expect(yield* Effect.flip(tokens.redeem(token))).toBeInstanceOf(InternalError)
    }))
})
