/**
 * Scripts in Lua that Redis executes in one step. Each is sent once to a Redis and then named by its hash; if Redis does not know
 * it any more, it is sent again.
 *
 * A script that changes something begins with a check that the node which runs it has its lease, see `fenced` and `Nodes.run`.
 */

import * as Redis from "effect/persistence/Redis"

/** A script. It gets its keys as `KEYS`, and its arguments as `ARGV`. */
export type Script = Redis.Script<{
  params: [keys: ReadonlyArray<string>, args: ReadonlyArray<string | number>]
  result: unknown
}>

/** Makes a script. */
export const make = (lua: string): Script =>
  Redis.script(
    (keys: ReadonlyArray<string>, args: ReadonlyArray<string | number>) => [...keys, ...args],
    { lua, numberOfKeys: (keys) => keys.length }
  ).withReturnType<unknown>()

/** With what an answer begins if the node has lost its lease; why follows. */
export const leaseLost = "LEASELOST"

/**
 * Makes a script that changes nothing unless the node has its lease. Run it with `Nodes.run`, which puts two before what it is
 * given: `KEYS[1]` has the leases, and `ARGV[1]` is the node. Its own keys begin with `KEYS[2]`, its own arguments with `ARGV[2]`.
 */
export const fenced = (lua: string): Script =>
  make(`if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return redis.error_reply('${leaseLost} another node found that it was over')
end
${lua}`)

/** A function `now()` for scripts: Redis' time in milliseconds. */
export const now = `local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`
