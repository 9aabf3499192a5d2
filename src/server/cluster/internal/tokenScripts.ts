/**
 * The scripts of single access tokens. A token is a hash that expires by itself; two sorted sets have the tokens of a vhost and of a
 * user by when they expire.
 */

import * as Script from "../Script.ts"

/**
 * Issues a token: `KEYS` are the token, those of the vhost and those of the user, `ARGV` the node, the token, its life in milliseconds, how
 * many there may be, the user, the pattern, and what else is granted. Returns 1, or 0 if there are too many.
 */
export const issue = Script.fenced(`${Script.now}
local time, life = now(), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', time)
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', time)
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], 'uid', ARGV[5], 'pattern', ARGV[6], 'grant', ARGV[7], 'time', time, 'life', life,
  'user', KEYS[4])
redis.call('PEXPIRE', KEYS[2], life)
for _, key in ipairs({ KEYS[3], KEYS[4] }) do
  redis.call('ZADD', key, time + life, ARGV[2])
  if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, life) end
end
return 1`)

/**
 * Uses a token: `KEYS` are the token and those of the vhost, `ARGV` the node and the token. Returns the user, the pattern, what else is
 * granted, and how long ago it was issued in milliseconds; nothing if there is no such token.
 */
export const redeem = Script.fenced(`${Script.now}
local token = redis.call('HMGET', KEYS[2], 'uid', 'pattern', 'grant', 'time', 'life', 'user')
if not token[1] then return false end
local age = math.max(0, now() - tonumber(token[4]))
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('ZREM', token[6], ARGV[2])
-- Redis may delete it a moment later than it ends.
if age >= tonumber(token[5]) then return false end
return { token[1], token[2], token[3], age }`)

/**
 * Revokes the tokens of a user: `KEYS` are those of the vhost and those of the user, `ARGV` the node and what begins the name of a token.
 * Returns how many there were.
 */
export const revoke = Script.fenced(`local count = 0
for _, token in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  count = count + redis.call('DEL', ARGV[2] .. token)
  redis.call('ZREM', KEYS[2], token)
end
redis.call('DEL', KEYS[3])
return count`)
