/**
 * The scripts of leases, by Redis' time. A lease is there until it is ended: by its node, or once its time is over by the first
 * other node that renews its own. Each is ended exactly once.
 *
 * If no node has renewed its lease for longer than half of one, Redis was away for all, since each does it three times in that of one.
 * Then no lease is ended until all nodes have had the time of a lease to come back. An absence shorter than a lease counts so at most every
 * second time of a lease: otherwise a node that is alone and slow would never end the leases of those that are gone.
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
local away = time - (redis.call('GET', '${Keys.renewed}') or time)
local calm = tonumber(redis.call('GET', '${Keys.calm}') or 0)
if away > tonumber(ARGV[3]) or away > ARGV[3] / 2 and time > calm + ARGV[3] then
  calm = time + ARGV[3]
  redis.call('SET', '${Keys.calm}', calm)
end
redis.call('SET', '${Keys.renewed}', time)
redis.call('ZADD', '${Keys.leases}', time + ARGV[3], ARGV[1])
redis.call('HSET', '${Keys.nodes}', ARGV[1], ARGV[2])
if time < calm then return {} end
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
