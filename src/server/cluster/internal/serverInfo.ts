/**
 * What a Redis says of itself, and whether a broker can use it.
 */

import { UnsuitableRedisError } from "../../BrokerError.ts"

/** The oldest version that has all that the scripts use. */
const oldestVersion = 7

/** A Redis. */
export interface ServerInfo {
  readonly version: string
  /** Whether it accepts writes now: it is the primary, and has loaded its data. Otherwise, why not. */
  readonly notReady: string | undefined
  readonly policy: string
  readonly isCluster: boolean
  readonly hasAof: boolean
}

/** Reads the answer to `INFO`. */
export const parse = (info: string): ServerInfo => {
  const fields = new Map(
    info.split("\r\n").filter((line) => line.includes(":")).map((line) => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon), line.slice(colon + 1)] as const
    })
  )
  const get = (name: string) => fields.get(name) ?? ""
  return {
    version: get("redis_version"),
    notReady: get("loading") === "1"
      ? "it is loading its data"
      : get("role") === "slave"
      ? "it is a replica, which does not accept writes"
      : undefined,
    policy: get("maxmemory_policy"),
    isCluster: get("cluster_enabled") === "1",
    hasAof: get("aof_enabled") === "1"
  }
}

/** Why a broker cannot use it; `undefined` if it can. */
export const unsuitable = ({ isCluster, policy, version }: ServerInfo): UnsuitableRedisError | undefined => {
  const detail = !(Number.parseInt(version, 10) >= oldestVersion)
    ? `it is version ${version || "unknown"}, and ${oldestVersion} or newer is needed`
    : isCluster
    ? "it is a Redis Cluster, and a single primary is needed"
    : policy !== "" && policy !== "noeviction"
    ? `its maxmemory-policy is ${policy}, which deletes entries when its memory is full. Set it to noeviction`
    : undefined
  return detail === undefined ? undefined : new UnsuitableRedisError({ detail })
}
