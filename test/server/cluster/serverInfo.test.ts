import { describe, expect, it } from "@effect/vitest"
import * as ServerInfo from "../../../src/server/cluster/internal/serverInfo.ts"

const info = (fields: Record<string, string>) =>
  ServerInfo.parse(
    [
      "# Server",
      ...Object.entries({ redis_version: "7.0.15", maxmemory_policy: "noeviction", ...fields }).map(
        ([name, value]) => `${name}:${value}`
      )
    ].join("\r\n")
  )

describe("What a Redis says of itself", () => {
  it.each<[Record<string, string>, string]>([
    [{ redis_version: "6.2.14" }, "it is version 6.2.14, and 7 or newer is needed"],
    [{ redis_version: "" }, "it is version unknown, and 7 or newer is needed"],
    [{ cluster_enabled: "1" }, "it is a Redis Cluster, and a single primary is needed"],
    [{ maxmemory_policy: "volatile-ttl" }, "its maxmemory-policy is volatile-ttl"]
  ])("refuses %j", (fields, detail) => {
    expect(ServerInfo.unsuitable(info(fields))?.message).toContain(`This Redis cannot be used: ${detail}`)
  })

  it.each(["7.0.15", "7.4.1", "8.2.0", "10.0.0"])("accepts %s", (redis_version) => {
    expect(ServerInfo.unsuitable(info({ redis_version }))).toBe(undefined)
    expect(info({ redis_version }).notReady).toBe(undefined)
  })

  it("waits for one that loads, and for a replica to become the primary", () => {
    expect(info({ loading: "1" }).notReady).toContain("loading")
    expect(info({ role: "slave" }).notReady).toContain("replica")
  })
})
