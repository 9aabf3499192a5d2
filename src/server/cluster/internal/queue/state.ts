/**
 * The part of the queue's script that reads and writes the state of a vhost's queue: its numbers, its nodes, and which of them
 * wait for events.
 *
 * Under the base key `b` are, all about events named by their numbers:
 *
 * | key | type | what |
 * | --- | --- | --- |
 * | `b` | string | the state, see below |
 * | `b:nodes` | hash | of each node: its last turn with the result, and its workers. A node without an entry is fenced |
 * | `b:events` | hash | the texts of all events that have not ended |
 * | `b:new` | list | of the lane `events`, those queued events that came without a key or a delay and were never delivered, in order |
 * | `b:0`, `b:1`, `b:2` | sorted sets | all other queued events of each lane, by number |
 * | `b:times` | sorted set | when events were enqueued, by the number of the first one of each second |
 * | `b:delayed` | sorted set | the events that wait for a delay or a backoff, lane before number, by when that ends |
 * | `b:deadlines` | sorted set | the requests without a result, by deadline |
 * | `b:marks` | hash | attempts, failures, releases and losses of requeued events |
 * | `b:claims:<node>` | hash | the events that a node has: of most only the bytes, see `events.ts` |
 * | `b:keys`, `b:keyOf` | hashes | the events by their dedupe keys, and back |
 * | `b:mail:<node>` | list | results of requests for a node |
 * | `b:letters`, `b:order`, `b:unhandled` | hash, sorted sets | the dead letters, their order, and those that are dropped first |
 *
 * The field `-` of `b:events` and `b:claims:<node>` is no event: see `hashed`.
 *
 * A node that is to look into its queue is told by the list `Keys.wake`. Times are Redis' own, in milliseconds.
 */

import * as Keys from "../../Keys.ts"

/** Begins the script. `KEYS[1]` has the leases, `KEYS[2]` is the base key, `ARGV[1]` the node, `ARGV[2]` what to do. */
export const state = `
local call, base, self = redis.call, KEYS[2], ARGV[1]
local eventsKey, marksKey, delayedKey = base .. ':events', base .. ':marks', base .. ':delayed'
local deadlinesKey, nodesKey, claimsKey = base .. ':deadlines', base .. ':nodes', base .. ':claims:'
local timesKey, newKey = base .. ':times', base .. ':new'
local keysKey, keyOfKey, mailKey = base .. ':keys', base .. ':keyOf', base .. ':mail:'
local lettersKey, orderKey, unhandledKey = base .. ':letters', base .. ':order', base .. ':unhandled'
local wakeKey = '${Keys.wake("")}'
local laneKey = { base .. ':0', base .. ':1', base .. ':2' }
local REQUESTS, LIFECYCLE = 2, 3

local now = tonumber(ARGV[3])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
-- The limits of a lane, and of the dead letters.
local capacity, maxSize, maxDeliveries, firstBackoff, retention, letterCapacity, letterSize =
  tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]),
  tonumber(ARGV[10])

-- The state is a flat array, which is read and written in a tenth of the time of nested ones. Of each lane: all events and their
-- bytes, those that nodes have and theirs, delayed events, workers. Then come the nodes that wait for events, in order, each with
-- credits and idle workers of the lanes.
local NEXT, PREFIX, MARKS, DEADLINES, UNTIL, DEAD, DEADSIZE, DEADNEXT, EPOCH, EMITTED, TIMED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local COUNT, SIZE, HELD, HELDSIZE, DELAYED, WORKERS, FIXED = 11, 14, 17, 20, 23, 26, 29
local S, H = call('GET', base), {}
if S then
  S = cmsgpack.unpack(S)
  for index = FIXED + 1, #S, 7 do
    H[#H + 1] = { S[index], S[index + 1], S[index + 2], S[index + 3], S[index + 4], S[index + 5], S[index + 6] }
  end
else
  S = { 1, ARGV[11], 0, 0, -2, 0, 0, 0, '', 0, -1000 }
  for index = #S + 1, FIXED do S[index] = 0 end
end
-- A hash that has had a long value is found in by hashing, as long as it is there. Otherwise Redis looks through all of a small one, which
-- takes twice as long with some hundred events in a turn.
local function hashed(key) call('HSET', key, '-', string.rep('-', 65)) end
if S[NEXT] == 1 then hashed(eventsKey) end
local function save()
  for index = #S, FIXED + 1, -1 do S[index] = nil end
  for _, entry in ipairs(H) do
    for _, value in ipairs(entry) do S[#S + 1] = value end
  end
  call('SET', base, cmsgpack.pack(S))
end

-- What happened in this call.
local dropped, redelivered, lettersAdded, lettersDropped = 0, 0, 0, 0
local woken = {}

local function queuedIn(lane) return S[COUNT + lane] - S[HELD + lane] - S[DELAYED + lane] end

local function withdraw(node)
  for index = #H, 1, -1 do
    if H[index][1] == node then table.remove(H, index) end
  end
end

-- A node's workers count over all nodes. The last one to leave leaves lifecycle events for a while.
local function attend(before, after)
  for lane = 1, 3 do S[WORKERS + lane] = S[WORKERS + lane] + after[lane] - before[lane] end
  if S[WORKERS + LIFECYCLE] > 0 then
    S[UNTIL] = -1
  elseif S[UNTIL] == -1 then
    S[UNTIL] = now + retention
  end
end

local function isAttended() return S[UNTIL] == -1 or now <= S[UNTIL] end

-- Whether more than idle workers may get events of the lane.
local function isWithin(lane) return S[HELD + lane] < capacity and S[HELDSIZE + lane] < maxSize end

-- The longest waiting nodes that can take what is queued are woken, and wait no more.
local function wakeNodes()
  for lane = 1, 3 do
    local left = queuedIn(lane)
    local index = 1
    while left > 0 and index <= #H do
      local entry = H[index]
      local credits = isWithin(lane) and entry[1 + lane] or entry[4 + lane]
      if credits > 0 and entry[1] ~= self then
        woken[entry[1]] = true
        table.remove(H, index)
      else
        index = index + 1
      end
      left = left - credits
    end
  end
  for node in pairs(woken) do
    if node ~= self then
      call('RPUSH', wakeKey .. node, base)
      call('EXPIRE', wakeKey .. node, 60)
    end
  end
end
`
