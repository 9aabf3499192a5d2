/**
 * The part of the queue's script that reads and writes the state of a vhost's queue: its numbers, its nodes, and which of them
 * wait for events.
 *
 * Under the base key `b` are, all about events named by their numbers:
 *
 * | key | type | what |
 * | --- | --- | --- |
 * | `b:nodes` | hash | of each node: its last turn with the result, and its workers. A node without an entry is fenced. In the field `-` the state, see below |
 * | `b:events` | hash | the texts of all events that have not ended |
 * | `b:new` | list | of the lane `events`, those queued events that came without a key or a delay and were never delivered, in order |
 * | `b:0`, `b:1`, `b:2` | sorted sets | all other queued events of each lane, by number |
 * | `b:times` | sorted set | when events were enqueued, by the number of the first one of each second |
 * | `b:delayed` | sorted set | the events that wait for a delay or a backoff, lane before number, by when that ends |
 * | `b:deadlines` | sorted set | the requests without a result, by deadline |
 * | `b:marks` | hash | attempts, failures, releases and losses of requeued events |
 * | `b:plain:<node>` | set | the events that a node has and that came in the lane `events` without a key, if it is their first delivery |
 * | `b:claims:<node>` | hash | all other events that a node has, see `events.ts` |
 * | `b:keys`, `b:keyOf` | hashes | the events by their dedupe keys, and back |
 * | `b:mail:<node>` | list | results of requests for a node |
 * | `b:letters`, `b:order`, `b:unhandled` | hash, sorted sets | the dead letters, their order, and those that are dropped first |
 *
 * The field `-` of `b:events` is no event: as long as a hash has a long value Redis finds what is in it by hashing. Otherwise it looks through
 * all of a small one, which takes twice as long with some hundred events in a turn.
 *
 * A node that is to look into its queue is told by the channel `Keys.wake`. Times are Redis' own, in milliseconds.
 */

import * as Keys from "../../Keys.ts"

/** The places of the state, the numbers of lanes, and other numbers, which `script.ts` writes into the script. */
export const places: Readonly<Record<string, number>> = {
  ...{
    NEXT: 1,
    PREFIX: 2,
    MARKS: 3,
    DEADLINES: 4,
    UNTIL: 5,
    DEAD: 6,
    DEADSIZE: 7,
    DEADNEXT: 8,
    EPOCH: 9,
    EMITTED: 10,
    TIMED: 11,
    NEW: 12
  },
  // Of each of these there is one for each lane, the first one after this place.
  ...{ COUNT: 12, SIZE: 15, HELD: 18, HELDSIZE: 21, DELAYED: 24, WORKERS: 27 },
  FIXED: 30,
  ...{ REQUESTS: 2, LIFECYCLE: 3 },
  // How many events a turn claims at most.
  MAXCLAIMS: 1000
}

/** Begins a script. `KEYS[1]` has the leases, `KEYS[2]` is the base key, `ARGV[1]` the node. */
export const names = `
local call, base = redis.call, KEYS[2]
-- All that the functions below use is in one table: a call creates them all, and looks for each variable that a function has from outside
-- among all that others have.
local Q = {
  base = base, self = ARGV[1], wakeKey = '${Keys.wake("")}', laneKey = { base .. ':0', base .. ':1', base .. ':2' },
  eventsKey = base .. ':events', marksKey = base .. ':marks', delayedKey = base .. ':delayed',
  deadlinesKey = base .. ':deadlines', nodesKey = base .. ':nodes', claimsKey = base .. ':claims:', plainKey = base .. ':plain:',
  timesKey = base .. ':times', newKey = base .. ':new', mailKey = base .. ':mail:',
  keysKey = base .. ':keys', keyOfKey = base .. ':keyOf',
  lettersKey = base .. ':letters', orderKey = base .. ':order', unhandledKey = base .. ':unhandled',
  now = tonumber(ARGV[3]),
  -- What happens in this call.
  dropped = 0, redelivered = 0, lettersAdded = 0, lettersDropped = 0, woken = {}
}
`

/** Goes after `names`. `ARGV[2]` is what to do, `ARGV[3]` the time, empty for Redis' own. */
export const state = `
if not Q.now then
  local time = call('TIME')
  Q.now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The state is a flat array, which is read and written in a tenth of the time of nested ones. Of each lane: all events and their
-- bytes, those that nodes have and theirs, delayed events, workers. Then come the nodes that wait for events, in order, each with
-- credits and idle workers of the lanes.
local found = call('HMGET', Q.nodesKey, '-', Q.self)
local S, H = found[1], {}
if S then
  S = cmsgpack.unpack(S)
  for index = FIXED + 1, #S, 7 do
    H[#H + 1] = { S[index], S[index + 1], S[index + 2], S[index + 3], S[index + 4], S[index + 5], S[index + 6] }
  end
else
  S = { 1, Q.self, 0, 0, -2, 0, 0, 0, '', 0, -1000, 0 }
  for index = #S + 1, FIXED do S[index] = 0 end
end
if S[NEXT] == 1 then call('HSET', Q.eventsKey, '-', string.rep('-', 65)) end
function Q.packed()
  for index = #S, FIXED + 1, -1 do S[index] = nil end
  for _, entry in ipairs(H) do
    for _, value in ipairs(entry) do S[#S + 1] = value end
  end
  return cmsgpack.pack(S)
end

function Q.queuedIn(lane) return S[COUNT + lane] - S[HELD + lane] - S[DELAYED + lane] end

function Q.withdraw(node)
  for index = #H, 1, -1 do
    if H[index][1] == node then table.remove(H, index) end
  end
end

-- A node's workers count over all nodes. The last one to leave leaves lifecycle events for a while.
function Q.attend(before, after)
  for lane = 1, 3 do S[WORKERS + lane] = S[WORKERS + lane] + after[lane] - before[lane] end
  if S[WORKERS + LIFECYCLE] > 0 then
    S[UNTIL] = -1
  elseif S[UNTIL] == -1 then
    S[UNTIL] = Q.now + RETENTION
  end
end

function Q.isAttended() return S[UNTIL] == -1 or Q.now <= S[UNTIL] end

-- Whether more than idle workers may get events of the lane.
function Q.isWithin(lane) return S[HELD + lane] < CAPACITY and S[HELDSIZE + lane] < MAXSIZE end

-- The longest waiting nodes that can take what is queued are woken, and wait no more.
function Q.wakeNodes()
  if #H == 0 and not next(Q.woken) then return end
  for lane = 1, 3 do
    local left = Q.queuedIn(lane)
    local index = 1
    while left > 0 and index <= #H do
      local entry = H[index]
      local credits = Q.isWithin(lane) and entry[1 + lane] or entry[4 + lane]
      if credits > 0 and entry[1] ~= Q.self then
        Q.woken[entry[1]] = true
        table.remove(H, index)
      else
        index = index + 1
      end
      left = left - credits
    end
  end
  for node in pairs(Q.woken) do
    if node ~= Q.self then
      call('PUBLISH', Q.wakeKey .. node, Q.base)
    end
  end
end
`
