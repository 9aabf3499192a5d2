/**
 * The part of the queue's script that executes what it is called for: a turn of a node, or the end of one.
 *
 * A turn has a number, one more than the last. The result of the last one is remembered until the next: the same turn again changes
 * nothing and has the same result, so that a node whose call has failed can repeat it. A node that the queue does not know, and
 * whose turn is not its first, has ended, or Redis has lost its last turns: its lease is lost.
 */

import * as Script from "../../Script.ts"

/** Goes after `claims`. */
export const turn = `
local function readNode(node)
  local record = call('HGET', nodesKey, node)
  return record and cmsgpack.unpack(record)
end

local function numbersAt(index)
  local values = {}
  for offset = 0, 2 do values[offset + 1] = tonumber(ARGV[index + offset]) end
  return values
end

-- The number of the oldest queued event of a lane.
local function oldestIn(lane)
  local number = call('ZRANGE', laneKey[lane], 0, 0)[1]
  local new = lane == 1 and call('LINDEX', newKey, 0)
  return new and (not number or tonumber(new) < tonumber(number)) and new or number
end

-- How long the oldest event of each lane has been in the queue, to the second.
local function agesOf()
  local ages, first = {}, nil
  for lane = 1, 3 do
    local oldest = queuedIn(lane) > 0 and oldestIn(lane)
    local time = oldest and
      (call('ZRANGE', timesKey, oldest, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1] or call('ZRANGE', timesKey, 0, 0)[1])
    ages[lane] = time and math.max(0, now - time) or -1
    if oldest and (not first or tonumber(oldest) < first) then first = tonumber(oldest) end
  end
  -- Times of events that are gone are not needed. An event that is held or delayed may return.
  if S[HELD + 1] + S[HELD + 2] + S[HELD + 3] + S[DELAYED + 1] + S[DELAYED + 2] + S[DELAYED + 3] == 0 then
    local from = first and call('ZRANGE', timesKey, first, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
    call('ZREMRANGEBYSCORE', timesKey, '-inf', '(' .. (from or S[NEXT]))
    if not first then S[TIMED] = -1000 end
  end
  call('ZREMRANGEBYRANK', timesKey, 0, -10001)
  return ages
end

-- When the next delay or backoff ends. The node that has sent a request knows its deadline.
local function dueIn()
  if S[DELAYED + 1] + S[DELAYED + 2] + S[DELAYED + 3] == 0 then return -1 end
  return math.max(0, call('ZRANGE', delayedKey, 0, 0, 'WITHSCORES')[2] - now)
end

-- The nodes that have ended without being removed here.
local function endedNodes()
  local ended = {}
  for _, node in ipairs(call('HKEYS', nodesKey)) do
    if not call('ZSCORE', KEYS[1], node) then ended[#ended + 1] = node end
  end
  return ended
end

-- Numbers: of the whole queue, what happened in the turn, of each lane, and ages after a poll.
local function summary(isPoll, events)
  local parts = { S[DEAD], dueIn(), isAttended() and 1 or 0 }
  for _, count in ipairs(events) do parts[#parts + 1] = count end
  for lane = 1, 3 do
    parts[#parts + 1] = queuedIn(lane) + S[DELAYED + lane]
    parts[#parts + 1] = S[HELD + lane]
    parts[#parts + 1] = S[WORKERS + lane]
  end
  if isPoll then
    for _, age in ipairs(agesOf()) do parts[#parts + 1] = age end
  end
  return parts
end

local function mailOf() return call('LRANGE', mailKey .. self, 0, 999) end

-- What is remembered of a node: the number of its last turn, its workers, how its calls were answered, what happened, and what it
-- was given.
local function repeated(record)
  local numbers, attempts, texts = {}, {}, {}
  for number in string.gmatch(record[10], '%d+') do numbers[#numbers + 1] = number end
  if #numbers > 0 then
    texts = call('HMGET', eventsKey, unpack(numbers))
    for index, claim in ipairs(call('HMGET', claimsKey .. self, unpack(numbers))) do
      local attempt = claimOf(claim).attempts
      if attempt > 1 then attempts[index] = attempt end
    end
  end
  local events = { record[6], record[7], record[8], record[9] }
  return { record[5], summary(false, events), answerOf(numbers, texts, attempts), mailOf(), {}, S[PREFIX] }
end

-- To ask for nothing changes nothing.
local function emit(index, epoch, count)
  if S[EPOCH] ~= epoch then
    if count == 0 then return '<0>' end
    S[EPOCH] = epoch
    S[EMITTED] = 0
  end
  for offset = 0, count - 1 do
    local number, text = tonumber(ARGV[index + 2 * offset]), ARGV[index + 2 * offset + 1]
    if number > S[EMITTED] then
      S[EMITTED] = number
      if text ~= '' then enqueue(text, 0, nil, nil, { 0, 0, 0 }, { 0, 0, 0 }) end
    end
  end
  return '<' .. S[EMITTED] .. '>'
end

-- A dead letter becomes a new event, or stays.
local function replay(id, credits, idle)
  local letter = call('HGET', lettersKey, id)
  if not letter then return '0' end
  local lane, rest = string.match(letter, '\\n(%d)%d( .*)$')
  local done = enqueue(lane .. '0' .. rest, 0, nil, nil, credits, idle)
  if done == 'Q' then removeLetter(id) end
  return done
end

-- Executes what begins at an index, and returns where the next begins, and the result if it has one.
local operations = {
  E = function(index, credits, idle)
    local last = index + tonumber(ARGV[index])
    return last + 1, enqueueAll(index + 1, last, credits, idle)
  end,
  X = function(index, credits, idle)
    local key = ARGV[index + 3]
    return index + 4,
      enqueue(ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2]), key ~= '' and key or nil, credits, idle)
  end,
  C = function(index) return index + 1, cancel(ARGV[index]) end,
  V = function(index, credits, idle) return index + 1, replay(ARGV[index], credits, idle) end,
  T = function(index)
    local text = removeLetter(ARGV[index])
    return index + 1, text and '1' or '0'
  end,
  B = function(index)
    addLetter(ARGV[index], tonumber(ARGV[index + 1]), ARGV[index + 2], ARGV[index + 3] == '1', ARGV[index + 4])
    return index + 5, '1'
  end,
  M = function(index)
    local count = tonumber(ARGV[index + 1])
    return index + 2 + 2 * count, emit(index + 2, ARGV[index], count)
  end,
  A = function(index)
    local last = index + tonumber(ARGV[index])
    ack(index + 1, last)
    return last + 1
  end,
  P = function(index)
    local number = ARGV[index]
    local claim = take(number)
    if claim then
      if claim.lane == REQUESTS then respond(number, ARGV[index + 1]) end
      finish(number, claim.lane, claim.flags, claim.size)
    end
    return index + 2
  end,
  N = function(index)
    local number, reason, isUnhandled, maxAttempts =
      ARGV[index], ARGV[index + 1], ARGV[index + 2] == '1', tonumber(ARGV[index + 3])
    local claim = take(number)
    if claim then
      claim.failures = claim.failures + 1
      if claim.failures >= maxAttempts or claim.lane == REQUESTS then
        fail(number, claim, reason, isUnhandled)
      else
        redeliver(number, claim, claim.failures)
      end
    end
    return index + 4
  end,
  R = function(index)
    local claim = take(ARGV[index])
    if claim then
      claim.releases = claim.releases + 1
      redeliver(ARGV[index], claim, claim.releases - 1)
    end
    return index + 1
  end,
  U = function(index)
    local claim = take(ARGV[index])
    if claim then
      claim.attempts = claim.attempts - 1
      requeue(ARGV[index], claim, 0)
    end
    return index + 1
  end,
  L = function(index)
    local claim = take(ARGV[index])
    if claim then lose(ARGV[index], claim, ARGV[index + 1] == '1') end
    return index + 2
  end
}

local function waitFor(credits, idle)
  if credits[1] == 0 then return end
  H[#H + 1] = { self, credits[1], credits[2], credits[3], idle[1], idle[2], idle[3] }
end

local function runTurn()
  local number, isPoll = tonumber(ARGV[12]), ARGV[14] == '1'
  local record = readNode(self)
  if record and record[1] == number then return repeated(record) end
  if (record and record[1] or 0) ~= number - 1 then
    return redis.error_reply('${Script.leaseLost} the event queue does not know this node any more')
  end
  local workers, credits, idle = numbersAt(15), numbersAt(18), numbersAt(21)
  if not record then hashed(claimsKey .. self) end
  attend(record and { record[2], record[3], record[4] } or { 0, 0, 0 }, workers)
  withdraw(self)
  local seen = tonumber(ARGV[13])
  if seen > 0 then call('LTRIM', mailKey .. self, seen, -1) end
  sweep()
  local results, index = {}, 24
  while ARGV[index] do
    local next, result = operations[ARGV[index]](index + 1, credits, idle)
    if result then results[#results + 1] = result end
    index = next
  end
  flush()
  local answer, left, leftIdle = claim(credits, idle)
  waitFor(left, leftIdle)
  wakeNodes()
  local done, events = table.concat(results), { dropped, redelivered, lettersAdded, lettersDropped }
  local told = summary(isPoll, events)
  save()
  call('HSET', nodesKey, self, cmsgpack.pack({ number, workers[1], workers[2], workers[3], done, dropped, redelivered,
    lettersAdded, lettersDropped, answer[1] }))
  return { done, told, answer, mailOf(), isPoll and endedNodes() or {}, S[PREFIX] }
end

-- A node whose lease has ended, or that leaves: its events return to their places.
local function endNode()
  local node, isCounted = ARGV[12], ARGV[13] == '1'
  if node ~= self and call('ZSCORE', KEYS[1], node) then return 0 end
  local record = readNode(node)
  if record then attend({ record[2], record[3], record[4] }, { 0, 0, 0 }) end
  withdraw(node)
  call('HDEL', nodesKey, node)
  local claims, numbers = {}, {}
  local records = call('HGETALL', claimsKey .. node)
  for index = 1, #records, 2 do
    if records[index] ~= '-' then
      numbers[#numbers + 1] = records[index]
      claims[records[index]] = claimOf(records[index + 1])
    end
  end
  table.sort(numbers, function(one, other) return tonumber(one) < tonumber(other) end)
  call('DEL', claimsKey .. node, mailKey .. node)
  for _, number in ipairs(numbers) do
    unclaim(claims[number])
    lose(number, claims[number], isCounted)
  end
  wakeNodes()
  save()
  return #numbers
end

-- All that the queue of a vhost has. Nodes that do not know yet that the vhost is removed still take turns: the last one that leaves
-- deletes it. If that does not come it expires.
local function remove()
  local keys, others = { base, eventsKey, marksKey, delayedKey, deadlinesKey, nodesKey, keysKey, keyOfKey, timesKey, lettersKey,
    orderKey, unhandledKey, newKey, laneKey[1], laneKey[2], laneKey[3] }, false
  for _, node in ipairs(call('HKEYS', nodesKey)) do
    keys[#keys + 1] = claimsKey .. node
    keys[#keys + 1] = mailKey .. node
    others = others or node ~= self and call('ZSCORE', KEYS[1], node)
  end
  if not others then return call('UNLINK', unpack(keys)) end
  for _, key in ipairs(keys) do call('EXPIRE', key, 3600) end
  return 0
end

if ARGV[2] == 'turn' then return runTurn() end
if ARGV[2] == 'remove' then return remove() end
return endNode()
`
