/**
 * Functions for scripts that append to the logs of vhosts. All that appends uses them, so that every entry has the next offset, and
 * no earlier time than the one before.
 */

import * as Keys from "../Keys.ts"
import * as Script from "../Script.ts"

const keyOf = (name: string) => `'${Keys.prefix}{' .. vhost .. '}:${name}'`

/**
 * `now()`, `append(vhost, node, time, entry, epoch)`, which returns the offset, or 0 if the log has another epoch than one that is given; and `endLease(node, time)`, which ends a lease and all
 * that depends on it: it appends to every log that the node has ended, and leaves its name for the queue of every vhost.
 */
export const lua = `${Script.now}
local function append(vhost, node, time, entry, epoch)
  local head = ${keyOf("head")}
  local known = redis.call('HMGET', head, 'epoch', 'offset', 'time')
  if epoch and known[1] ~= epoch then return 0 end
  local offset = (tonumber(known[2]) or 0) + 1
  time = math.max(time, tonumber(known[3]) or 0)
  redis.call('HSET', head, 'offset', offset, 'time', time)
  if entry then
    redis.call('XADD', ${keyOf("log")}, offset .. '-0', 'n', node, 't', time, 'e', entry)
  else
    redis.call('XADD', ${keyOf("log")}, offset .. '-0', 'n', node, 't', time)
  end
  return offset
end

local function endLease(node, time)
  redis.call('ZREM', '${Keys.leases}', node)
  redis.call('HDEL', '${Keys.nodes}', node)
  redis.call('HDEL', '${Keys.batches}', node)
  redis.call('DEL', '${Keys.probe("")}' .. node)
  for _, vhost in ipairs(redis.call('SMEMBERS', '${Keys.logs}')) do
    append(vhost, node, time, nil)
    redis.call('SADD', ${keyOf("ended")}, node)
  end
end
`
