/**
 * The part of the queue's script that executes what it is called for: a turn of a node, or the end of one.
 *
 * A turn has a number, one more than the last. The result of the last one is remembered until the next: the same turn again changes
 * nothing and has the same result, so that a node whose call has failed can repeat it. A node that the queue does not know, and
 * whose turn is not its first, has ended, or Redis has lost its last turns: its lease is lost.
 */

import * as Script from "../../Script.ts"

/** Goes after `plain`. */
export const turn = `
function Q.numbersAt(index)
  local values = {}
  for offset = 0, 2 do values[offset + 1] = tonumber(ARGV[index + offset]) end
  return values
end

-- When the next delay or backoff ends. The node that has sent a request knows its deadline.
function Q.dueIn()
  if S[DELAYED + 1] + S[DELAYED + 2] + S[DELAYED + 3] == 0 then return -1 end
  return math.max(0, call('ZRANGE', Q.delayedKey, '0', '0', 'WITHSCORES')[2] - Q.now)
end

Q.empty = {}

-- A node that waits for no response looks seldom.
function Q.mailOf() return ARGV[6] == '1' and call('LRANGE', Q.mailKey .. Q.self, '0', '999') or Q.empty end

-- What the queue has and what the node is given, with how each call was answered and what happened. It is flat, since a table in a table
-- takes Redis as long as ten values: first the words, then the numbers of the whole queue, of what happened, and of each lane, and then
-- five lists, each after its length.
function Q.answer(done, given, events, claims, ages, ended)
  local all = { done, given, S[PREFIX], claims[1], Q.now, S[DEAD], Q.dueIn(), Q.isAttended() and 1 or 0,
    events[1], events[2], events[3], events[4] }
  local at = #all
  for lane = 1, 3 do
    all[at + 1], all[at + 2], all[at + 3] = Q.queuedIn(lane) + S[DELAYED + lane], S[HELD + lane], S[WORKERS + lane]
    at = at + 3
  end
  for _, list in ipairs({ ages, claims[2], claims[3], Q.mailOf(), ended }) do
    at = at + 1
    all[at] = #list
    for index = 1, #list do all[at + index] = list[index] end
    at = at + #list
  end
  return all
end

-- Executes what begins at an index, and returns where the next begins, the result if it has one, and why it is not possible.
Q.plainOperations = {
  E = function(index, credits, idle)
    local last = index + tonumber(ARGV[index])
    return last + 1, Q.enqueueAll(index + 1, last, credits, idle)
  end,
  A = function(index)
    local last = index + 1 + tonumber(ARGV[index])
    local failed = Q.ack(tonumber(ARGV[index + 1]), index + 2, last)
    return last + 1, nil, failed
  end
}

-- Whether a delay or a deadline may have passed, or the last worker for lifecycle events may have left for long.
function Q.mayBeDue()
  return S[DEADLINES] > 0 or S[DELAYED + 1] + S[DELAYED + 2] + S[DELAYED + 3] > 0 or
    Q.queuedIn(LIFECYCLE) > 0 and not Q.isAttended()
end

function Q.waitFor(credits, idle)
  if credits[1] == 0 then return end
  H[#H + 1] = { Q.self, credits[1], credits[2], credits[3], idle[1], idle[2], idle[3] }
end

function Q.runTurn()
  local number, isPoll = tonumber(ARGV[4]), ARGV[7] == '1'
  local record = found[2] and cmsgpack.unpack(found[2])
  if record and record[1] == number then return Q.repeated(record) end
  if (record and record[1] or 0) ~= number - 1 then
    return redis.error_reply('${Script.leaseLost} the event queue does not know this node any more')
  end
  local workers, credits, idle = Q.numbersAt(8), Q.numbersAt(11), Q.numbersAt(14)
  Q.attend(record and { record[2], record[3], record[4] } or { 0, 0, 0 }, workers)
  Q.withdraw(Q.self)
  if ARGV[5] ~= '0' then call('LTRIM', Q.mailKey .. Q.self, ARGV[5], '-1') end
  if Q.mayBeDue() then Q.sweep() end
  local results, index = {}, 17
  while ARGV[index] do
    local operation = Q.plainOperations[ARGV[index]] or Q.operations[ARGV[index]]
    local next, result, failed = operation(index + 1, credits, idle)
    if failed then return failed end
    if result then results[#results + 1] = result end
    index = next
  end
  Q.flush()
  local claims, left, leftIdle = Q.claim(credits, idle)
  Q.waitFor(left, leftIdle)
  Q.wakeNodes()
  local done, events = table.concat(results), { Q.dropped, Q.redelivered, Q.lettersAdded, Q.lettersDropped }
  local ages = isPoll and Q.agesOf() or Q.empty
  call('HSET', Q.nodesKey, '-', Q.packed(), Q.self, cmsgpack.pack({ number, workers[1], workers[2], workers[3], done,
    Q.dropped, Q.redelivered, Q.lettersAdded, Q.lettersDropped, claims[1], Q.given }))
  return Q.answer(done, Q.given, events, claims, ages, isPoll and Q.endedNodes() or Q.empty)
end
`

/** Ends the script. */
export const dispatch = `
if ARGV[2] == 'turn' then return Q.runTurn() end
return Q.endNode()
`
