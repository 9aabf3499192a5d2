/**
 * The scripts of leases, by Redis' time. A lease is there until it is ended: by its node, or once its time is over by the first
 * other node that renews its own. Each is ended exactly once.
 *
 * If a node finds that its own time was over and nobody has ended it, Redis was away for all. Then no lease is ended until all
 * nodes have had the time of a lease to come back.
 */

import * as Keys from "../Keys.ts"
import * as Script from "../Script.ts"
import * as AppendLua from "./appendLua.ts"

/** With what the answer begins if what is in Redis has another version. */
export const otherLayout = "LAYOUT"

/** Takes a lease: `ARGV` is the node, what it says of itself, the time of a lease, the layout version. 0 if the name is taken. */
export const join = Script.make(`${AppendLua.lua}
local layout = redis.call('GET', '${Keys.layout}')
if not layout then
  redis.call('SET', '${Keys.layout}', ARGV[4])
elseif layout ~= ARGV[4] then
  return redis.error_reply('${otherLayout} ' .. layout)
end
if redis.call('ZSCORE', '${Keys.leases}', ARGV[1]) then return 0 end
redis.call('ZADD', '${Keys.leases}', now() + ARGV[3], ARGV[1])
redis.call('HSET', '${Keys.nodes}', ARGV[1], ARGV[2])
return 1`)

/**
 * Renews the lease: `ARGV` is the node, what it says of itself, and the time of a lease. Returns the nodes whose leases it has
 * ended, at most 16 of them.
 */
export const renew = Script.fenced(`${AppendLua.lua}
local time = now()
if tonumber(redis.call('ZSCORE', '${Keys.leases}', ARGV[1])) < time then
  redis.call('SET', '${Keys.calm}', time + ARGV[3])
end
redis.call('ZADD', '${Keys.leases}', time + ARGV[3], ARGV[1])
redis.call('HSET', '${Keys.nodes}', ARGV[1], ARGV[2])
if time < tonumber(redis.call('GET', '${Keys.calm}') or 0) then return {} end
local ended = redis.call('ZRANGEBYSCORE', '${Keys.leases}', '-inf', '(' .. time, 'LIMIT', 0, 16)
for _, node in ipairs(ended) do endLease(node, time) end
return ended`)

/** Ends the node's own lease. */
export const leave = Script.fenced(`${AppendLua.lua}
endLease(ARGV[1], now())
return 1`)

/** The living nodes: pairs of the node and what it says of itself, when its lease ends, and the time. */
export const list = Script.make(`${AppendLua.lua}
return {
  tostring(now()),
  redis.call('ZRANGE', '${Keys.leases}', 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', '${Keys.nodes}')
}`)
