import { expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { describeWithRedis, start as startRedis } from "../harness/redisServer.ts"
import { run, start } from "./program.ts"

const cookie = "0123456789abcdef0123456789abcdef01234567"
const free = ["--websocket-port", "0", "--backend-port", "0", "--tcp-port", "0", "--admin-port", "0"]

describeWithRedis("kosmonaut with a Redis", () => {
  it.live("serves as a node, which nodes lists, and shows the password of Redis nowhere", () =>
    Effect.gen(function*() {
      const { port } = yield* startRedis({ args: ["--requirepass", "secretword"] })
      const url = `redis://:secretword@127.0.0.1:${port}`
      const env = { KOSMONAUT_ADMIN_COOKIE: cookie }
      const one = yield* start(["serve", ...free, "--node-name", "one"], { env: { ...env, KOSMONAUT_REDIS_URL: url } })
      const ready = JSON.parse((yield* one.says("stdout", /ready (.*)\n/))[1]!)
      const other = yield* start(["serve", ...free, "--node-name", "other", "--redis-url", url], { env })
      yield* other.says("stdout", /ready (.*)\n/)
      const list = (...args: ReadonlyArray<string>) => run(["nodes", "--address", ready.admin, ...args], { env })
      const table = yield* list()
      expect(table.stdout).toMatch(/^node +name +version +lease +browsers +workers +position\n/)
      expect(table.stdout).toMatch(/\n[0-9a-f]{8} +one +0\.1\.0 +[\d.]+ s /)
      const lines = (yield* list("--json")).stdout.trim().split("\n").map((line): { readonly name: string } =>
        JSON.parse(line)
      )
      expect(lines.map(({ name }) => name).toSorted()).toEqual(["one", "other"])
      for (const program of [one, other]) {
        yield* program.kill("SIGTERM")
        const { status, stderr, stdout } = yield* program.output
        expect(status).toBe(0)
        expect(stdout + stderr).not.toContain("secretword")
      }
    }))

  it.live("says in a sentence what is wrong with the Redis", () =>
    Effect.gen(function*() {
      const server = yield* startRedis({ args: ["--maxmemory-policy", "allkeys-lru"] })
      const refused = yield* run(["serve", ...free, "--redis-url", Redacted.value(server.url)])
      expect(refused.status).toBe(1)
      expect(refused.stderr).toContain("maxmemory-policy is allkeys-lru")
      const wrong = yield* run(["serve", ...free, "--redis-url", "http://:secretword@127.0.0.1"])
      expect(wrong.status).toBe(1)
      expect(wrong.stderr).toContain("a URL that begins with redis://")
      expect(wrong.stderr).not.toContain("secretword")
      const folder = yield* run(["serve", ...free, "--redis-url", "redis://127.0.0.1:1", "--storage-dir", "/nowhere"])
      expect(folder.stderr).toContain("storageDir cannot be \"/nowhere\"")
    }))
})
