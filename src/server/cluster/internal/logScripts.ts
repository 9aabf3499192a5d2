/**
 * The scripts of logs. A log is a stream whose ids are its offsets, and a hash, its head. It has an epoch for as long as no entry that a
 * node may have read is lost.
 */

import * as Keys from "../Keys.ts"
import * as Script from "../Script.ts"
import * as AppendLua from "./appendLua.ts"

/** With what the answer begins if a later batch of the node was executed before. */
const stale = "STALE"

/**
 * Makes a log unless there is one: `KEYS` are its head and the logs, `ARGV` the node, the vhost, and the epoch of a new one. Returns
 * its epoch, and the offset of its snapshot, 0 without one.
 */
export const start = Script.fenced(`redis.call('HSETNX', KEYS[2], 'epoch', ARGV[3])
redis.call('SADD', KEYS[3], ARGV[2])
return { redis.call('HGET', KEYS[2], 'epoch'), redis.call('HGET', KEYS[2], 'snapshot') or '0' }`)

/**
 * Appends a batch: `ARGV` is the node, the number of the batch, and three for each entry: the vhost, the epoch, and the entry. Returns
 * their offsets, 0 for those whose log has another epoch. A batch that comes after a later one is refused, so that the entries of a node
 * keep their order whatever became of its connections.
 */
export const append = Script.fenced(`${AppendLua.lua}
local last = tonumber(redis.call('HGET', '${Keys.batches}', ARGV[1]) or 0)
if tonumber(ARGV[2]) <= last then return redis.error_reply('${stale} a later batch came first') end
redis.call('HSET', '${Keys.batches}', ARGV[1], ARGV[2])
local time = now()
local offsets = {}
for at = 3, #ARGV, 3 do
  offsets[#offsets + 1] = append(ARGV[at], ARGV[1], time, ARGV[at + 2], ARGV[at + 1])
end
return offsets`)

/**
 * Looks at a position: `KEYS` are the head and the log, `ARGV` the offset and the next one. Returns the epoch, the last offset, the entry at
 * the position, and the first one after it.
 */
export const look = Script.make(`return {
  redis.call('HGET', KEYS[1], 'epoch') or '',
  redis.call('HGET', KEYS[1], 'offset') or '0',
  redis.call('XRANGE', KEYS[2], ARGV[1] .. '-0', ARGV[1] .. '-0'),
  redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', '+', 'COUNT', 1)
}`)

/** Gives a log another epoch: `KEYS` is its head, `ARGV` the node, the epoch that it has, and another one. */
export const renewEpoch = Script.fenced(`if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'epoch', ARGV[3])
return 1`)

/** Writes a part of a snapshot: `KEYS` is where, `ARGV` the node and the part. What is not completed goes after 5 minutes. */
export const storePart = Script.fenced(`redis.call('RPUSH', KEYS[2], ARGV[2])
return redis.call('PEXPIRE', KEYS[2], 300000)`)

/**
 * Completes a snapshot: `KEYS` are the head, the log, and where its parts are, `ARGV` the node, the epoch, the offset, and what begins the names
 * of snapshots. Returns 1, or 0 if there is a later one or the log is another one. The one before stays for a minute, for those who are
 * reading it, and the entries after it for those who have not read them yet.
 */
export const completeSnapshot = Script.fenced(`local known = redis.call('HMGET', KEYS[2], 'epoch', 'offset', 'snapshot')
local offset, before = tonumber(ARGV[3]), tonumber(known[3]) or 0
if known[1] ~= ARGV[2] or offset <= before or offset > (tonumber(known[2]) or 0) then
  redis.call('DEL', KEYS[4])
  return 0
end
redis.call('RENAME', KEYS[4], ARGV[4] .. ARGV[3])
redis.call('PERSIST', ARGV[4] .. ARGV[3])
redis.call('HSET', KEYS[2], 'snapshot', offset)
if before > 0 then
  redis.call('PEXPIRE', ARGV[4] .. known[3], 60000)
  redis.call('XTRIM', KEYS[3], 'MINID', '~', (before + 1) .. '-0')
end
return 1`)

/**
 * Deletes a log: `KEYS` are its head, the log, the logs and the nodes that have ended, `ARGV` the node, the vhost, and what begins the
 * names of its snapshots. One that is being written goes by itself, and so does the one before the last.
 */
export const remove = Script.fenced(`local last = redis.call('HGET', KEYS[2], 'snapshot')
if last then redis.call('UNLINK', ARGV[3] .. last) end
redis.call('SREM', KEYS[4], ARGV[2])
return redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[5])`)

/** Writes what the node itself waits for: `KEYS` is its stream, `ARGV` the node and the number. */
export const probe = Script.fenced(`return redis.call('XADD', KEYS[2], 'MAXLEN', 1, ARGV[2] .. '-0', 'p', '1')`)
