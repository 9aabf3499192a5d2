import { expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Latch, Redacted, Scope } from "effect"
import { RedisCommandError, RedisConnectionError, UnsuitableRedisError } from "../../../src/server/BrokerError.ts"
import * as Connection from "../../../src/server/cluster/Connection.ts"
import * as Script from "../../../src/server/cluster/Script.ts"
import { eventually } from "../../harness/eventually.ts"
import { logged } from "../../harness/logged.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"
import * as TcpProxy from "../../harness/TcpProxy.ts"

const through = ({ port }: { readonly port: number }) => Redacted.make(`redis://127.0.0.1:${port}`)

describeWithRedis("The connection to Redis", () => {
  it.live("executes commands in their order, and scripts, also those that Redis has forgotten", () =>
    Effect.gen(function*() {
      const redis = yield* Connection.make((yield* start()).url)
      const numbers = Array.from({ length: 100 }, (_, index) => String(index))
      yield* Effect.forEach(numbers, (one) => redis.send("RPUSH", "list", one), { concurrency: "unbounded" })
      expect(yield* redis.send("LRANGE", "list", "0", "-1")).toEqual(numbers)
      const script = Script.make("return { KEYS[1], ARGV[1] + 1, redis.call('LLEN', KEYS[1]) }")
      expect(yield* redis.run(script, ["list"], [41])).toEqual(["list", 42, 100])
      yield* redis.send("SCRIPT", "FLUSH")
      expect(yield* redis.run(script, ["list"], [0])).toEqual(["list", 1, 100])
    }))

  it.live("says what Redis has rejected", () =>
    Effect.gen(function*() {
      const redis = yield* Connection.make((yield* start()).url)
      yield* redis.send("SET", "text", "a")
      expect(yield* Effect.flip(redis.send("LPOP", "text"))).toMatchObject({
        _tag: "RedisCommandError",
        detail: expect.stringMatching(/^WRONGTYPE /)
      })
      const fails = Script.make("return redis.error_reply('OWN words of a script')")
      expect(yield* Effect.flip(redis.run(fails, [], []))).toMatchObject({ detail: "OWN words of a script" })
    }))

  it.live("fails at once if there is no Redis, or the password is wrong, and tells no secret", () =>
    Effect.gen(function*() {
      const server = yield* start({ args: ["--requirepass", "right"] })
      const url = Redacted.make(`redis://:wrongsecret@127.0.0.1:${server.port}`)
      const { layer, lines } = logged()
      const refused = yield* Effect.flip(Connection.make(url)).pipe(Effect.provide(layer))
      expect(refused).toBeInstanceOf(RedisConnectionError)
      yield* server.kill
      const missing = yield* Effect.flip(Connection.make(url)).pipe(Effect.provide(layer))
      expect(missing.message).toMatch(/^Redis cannot be reached: .*ECONNREFUSED/)
      expect(JSON.stringify([refused, missing, lines])).not.toContain("wrongsecret")
    }))

  it.live("refuses a Redis that deletes entries when its memory is full", () =>
    Effect.gen(function*() {
      const server = yield* start({ args: ["--maxmemory-policy", "allkeys-lru"] })
      const error = yield* Effect.flip(Connection.make(server.url))
      expect(error).toBeInstanceOf(UnsuitableRedisError)
      expect(error.message).toContain("maxmemory-policy is allkeys-lru")
    }))

  it.live("refuses a user that may not publish", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const admin = yield* Connection.make(server.url)
      const limited = Redacted.make(`redis://limited:secret@127.0.0.1:${server.port}`)
      yield* admin.send("ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all")
      const error = yield* Effect.flip(Connection.make(limited))
      expect(error.message).toContain("Allow it &kosmonaut:*")
      yield* admin.send("ACL", "SETUSER", "limited", "&kosmonaut:*")
      expect(yield* Effect.flatMap(Connection.make(limited), ({ send }) => send("PING"))).toBe("PONG")
    }))

  it.live("warns once of a Redis that persists nothing", () =>
    Effect.gen(function*() {
      const warnings = (options: Parameters<typeof start>[0]) =>
        Effect.gen(function*() {
          const { layer, lines } = logged("Warn")
          yield* Effect.scoped(Effect.andThen(Connection.make((yield* start(options)).url), Effect.void)).pipe(
            Effect.provide(layer)
          )
          return lines
        })
      expect(yield* warnings({})).toEqual([expect.stringMatching(/^WARN Redis persists nothing/)])
      expect(yield* warnings({ persistence: "aof" })).toEqual([])
      expect(yield* warnings({ persistence: "rdb" })).toEqual([])
    }))

  it.live("connects again to a Redis that was restarted, and commands wait for that", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged("Info")
      const server = yield* start({ persistence: "aof" })
      const redis = yield* Effect.provide(Connection.make(server.url), layer)
      yield* redis.send("SET", "a", "1")
      yield* server.kill
      yield* eventually(Effect.sync(redis.isConnected), (isConnected) => !isConnected)
      const read = yield* Effect.forkChild(redis.send("GET", "a"), { startImmediately: true })
      yield* server.restart
      expect(yield* Fiber.join(read)).toBe("1")
      expect(redis.lostFor()).toBe(0)
      yield* eventually(Effect.sync(() => lines.length), (count) => count >= 2)
      expect(lines.at(-1)).toBe("INFO Connected to Redis again")
    }))

  it.live("says of a command that was sent and not answered that it may have been executed", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const redis = yield* Connection.make(server.url)
      yield* server.freeze
      const error = yield* Effect.flip(redis.send("SET", "a", "1"))
      expect(error).toMatchObject({ _tag: "RedisConnectionError", maybeExecuted: true })
      const waited = yield* Effect.flip(redis.send("SET", "a", "1"))
      expect(waited).toMatchObject({ _tag: "RedisConnectionError", maybeExecuted: false })
      expect(redis.lostFor()).toBeGreaterThan(1000)
      yield* server.thaw
      yield* eventually(Effect.sync(redis.isConnected), (isConnected) => isConnected)
      expect(yield* redis.send("PING")).toBe("PONG")
    }))

  it.live("replaces a connection on which nothing comes back, and one that blocks longer than it may", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const proxy = yield* TcpProxy.make(server.port)
      const redis = yield* Connection.make(through(proxy))
      const reader = yield* redis.reserve
      const block = ["XREAD", "BLOCK", String(Connection.longestBlock), "STREAMS", "s", "0"] as const
      expect(yield* reader.send(...block)).toBe(null)
      yield* proxy.stall
      const blocked = yield* Effect.forkChild(Effect.flip(reader.send(...block)), { startImmediately: true })
      yield* eventually(Effect.sync(redis.isConnected), (isConnected) => !isConnected)
      expect(yield* Fiber.join(blocked)).toMatchObject({ _tag: "RedisConnectionError", maybeExecuted: true })
      yield* proxy.goOn
      expect(yield* eventually(Effect.option(redis.send("PING")), ({ _tag }) => _tag === "Some")).toMatchObject({
        value: "PONG"
      })
    }))

  it.live("uses no connection of its own to a Redis that was replaced by another", () =>
    Effect.gen(function*() {
      const [before, after] = [yield* start(), yield* start()]
      let { port } = before
      const proxy = yield* TcpProxy.make(() => port)
      const redis = yield* Connection.make(through(proxy))
      const reader = yield* redis.reserve
      yield* redis.send("SET", "a", "before")
      expect(yield* reader.send("GET", "a")).toBe("before")
      port = after.port
      yield* redis.replace("another Redis is the primary")
      yield* eventually(Effect.option(redis.send("SET", "a", "after")), ({ _tag }) => _tag === "Some")
      expect(yield* Effect.flip(reader.send("GET", "a"))).toBeInstanceOf(RedisConnectionError)
      expect(yield* Effect.flatMap(redis.reserve, ({ send }) => send("GET", "a"))).toBe("after")
    }))

  it.live("fails, and does not interrupt, whoever waits for a connection of its own when it is replaced", () =>
    Effect.gen(function*() {
      const proxy = yield* TcpProxy.make((yield* start()).port)
      const redis = yield* Connection.make(through(proxy))
      yield* proxy.stall
      const reserving = yield* Effect.forkChild(Effect.flip(redis.reserve), { startImmediately: true })
      yield* eventually(Effect.sync(proxy.connections), (count) => count === 2)
      yield* redis.replace("it does not answer")
      expect(yield* Fiber.join(reserving)).toBeInstanceOf(RedisConnectionError)
      const given = yield* Effect.forkChild(Effect.exit(redis.reserve), { startImmediately: true })
      yield* Fiber.interrupt(given)
      yield* proxy.goOn
    }))

  it.live.each(
    [
      ["is cut", (proxy: TcpProxy.TcpProxy) => proxy.cut(1)],
      ["is silent", (proxy: TcpProxy.TcpProxy) => proxy.stallOne(1)],
      ["is replaced", (_: TcpProxy.TcpProxy, redis: Connection.Connection) => redis.replace("it was told to")]
    ] as const
  )("hears a channel until its connection %s", ([, end]) =>
    Effect.gen(function*() {
      const proxy = yield* TcpProxy.make((yield* start()).port)
      const redis = yield* Connection.make(through(proxy))
      const [begun, first] = [Latch.makeUnsafe(), Latch.makeUnsafe()]
      const heard: Array<string> = []
      const hearing = yield* Effect.forkChild(
        Effect.flip(
          redis.hear("channel", () => void begun.openUnsafe(), (message) => (heard.push(message), first.openUnsafe()))
        )
      )
      yield* begun.await
      yield* redis.send("PUBLISH", "other", "no")
      yield* redis.send("PUBLISH", "channel", "yes")
      yield* first.await
      yield* end(proxy, redis)
      expect(yield* Fiber.join(hearing)).toBeInstanceOf(RedisConnectionError)
      expect(heard).toEqual(["yes"])
    }))

  it.live("ends soon, also if Redis answers nothing any more", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const scope = yield* Scope.make()
      const redis = yield* Scope.provide(Connection.make(server.url), scope)
      yield* server.freeze
      const unanswered = yield* Effect.forkChild(Effect.flip(redis.send("PING")), { startImmediately: true })
      yield* Scope.provide(
        Effect.forkScoped(redis.hear("channel", () => {}, () => {}), { startImmediately: true }),
        scope
      )
      const [spent] = yield* Effect.timed(Scope.close(scope, Exit.void))
      expect(Duration.toMillis(spent)).toBeLessThan(1000)
      expect(yield* Fiber.join(unanswered)).toBeInstanceOf(RedisConnectionError)
      expect(new RedisCommandError({ detail: "x" }).message).toBe("Redis has rejected a command: x")
    }))
})
