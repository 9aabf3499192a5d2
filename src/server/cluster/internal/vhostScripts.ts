/**
 * The scripts of the registry of vhosts, a hash: the path of each vhost has `<number of its last change> <that of its creation> <JSON>`, and
 * `version` is the number of the last change of all. No path is called like that, since all begin with a slash.
 */

import * as Keys from "../Keys.ts"
import * as Script from "../Script.ts"

/**
 * Changes a vhost: `KEYS` is the hash, `ARGV` the node, the path, the number of the change that the vhost must have, 0 for none, and the
 * JSON, empty to remove it. Returns the number of the change, or 0 if the vhost has another one. All nodes are told, this one too: the
 * answer may be lost.
 */
export const change = Script.fenced(`local known = redis.call('HGET', KEYS[2], ARGV[2])
local version, created
if known then version, created = string.match(known, '^(%d+) (%d+)') end
if (version or '0') ~= ARGV[3] then return 0 end
local number = redis.call('HINCRBY', KEYS[2], 'version', 1)
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  redis.call('HSET', KEYS[2], ARGV[2], number .. ' ' .. (created or number) .. ' ' .. ARGV[4])
end
for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  redis.call('PUBLISH', '${Keys.wake("")}' .. node, KEYS[2])
end
return number`)

/** All vhosts: `KEYS` is the hash, `ARGV` the node. Not those of another Redis, which lacks the lease of the node. */
export const load = Script.fenced(`return redis.call('HGETALL', KEYS[2])`)
