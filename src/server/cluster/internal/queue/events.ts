/**
 * The part of the queue's script that changes events: it enqueues, requeues and ends them, and settles deliveries. Each change
 * takes constant or logarithmic time.
 */

/** Goes after `state` and `letters`. */
export const events = `
-- What is to be written of new events, in few commands for many.
local newTexts, newNumbers = {}, { {}, {}, {} }
local function flush()
  if #newTexts == 0 then return end
  call('HSET', eventsKey, unpack(newTexts))
  newTexts = {}
  for lane = 1, 3 do
    if #newNumbers[lane] > 0 then
      call('ZADD', laneKey[lane], unpack(newNumbers[lane]))
      newNumbers[lane] = {}
    end
  end
end

-- The text of an event begins with its lane and flags (1 a dedupe key, 2 a deadline). What follows only nodes read.
local function headOf(text)
  return string.byte(text, 1) - 47, string.byte(text, 2) - 48
end

-- With what a request takes beside its text.
local function bytesOf(lane, text) return lane == REQUESTS and #text + 512 or #text end

-- An event that is neither queued nor delayed any more is gone.
local function finish(number, lane, flags, size)
  S[COUNT + lane] = S[COUNT + lane] - 1
  S[SIZE + lane] = S[SIZE + lane] - size
  call('HDEL', eventsKey, number)
  if flags % 2 == 1 then
    local key = call('HGET', keyOfKey, number)
    call('HDEL', keysKey, key)
    call('HDEL', keyOfKey, number)
  end
  if flags >= 2 and call('ZREM', deadlinesKey, number) == 1 then S[DEADLINES] = S[DEADLINES] - 1 end
end

local function forget(number)
  if S[MARKS] > 0 then S[MARKS] = S[MARKS] - call('HDEL', marksKey, number) end
end

-- A request has one result, which goes to the node that it came from.
local function respond(number, result)
  if call('ZREM', deadlinesKey, number) == 0 then return end
  S[DEADLINES] = S[DEADLINES] - 1
  local node, id = string.match(call('HGET', eventsKey, number), '^%d%d %d+ %d+ (%w+):(%S+)\\n')
  if not node or call('HEXISTS', nodesKey, node) == 0 then return end
  call('RPUSH', mailKey .. node, id .. ' ' .. result)
  woken[node] = true
end

local function delay(number, lane, millis)
  S[DELAYED + lane] = S[DELAYED + lane] + 1
  call('ZADD', delayedKey, now + millis, (lane - 1) .. number)
end

-- At its old place. A request that has its result already is gone.
local function requeue(number, claim, millis)
  local lane = claim.lane
  if claim.flags >= 2 and not call('ZSCORE', deadlinesKey, number) then
    return finish(number, lane, claim.flags, claim.size)
  end
  if claim.attempts > 0 or claim.losses > 0 then
    local marks = claim.attempts .. ' ' .. claim.failures .. ' ' .. claim.releases .. ' ' .. claim.losses
    S[MARKS] = S[MARKS] + call('HSET', marksKey, number, marks)
  end
  if millis > 0 then delay(number, lane, millis) else call('ZADD', laneKey[lane], number, number) end
end

local function redeliver(number, claim, times)
  redelivered = redelivered + 1
  requeue(number, claim, times == 0 and 0 or firstBackoff * 2 ^ math.min(times - 1, 6))
end

local function fail(number, claim, reason, isUnhandled)
  local text = call('HGET', eventsKey, number)
  if claim.lane == REQUESTS then
    respond(number, 'F' .. reason)
  else
    addLetter(S[PREFIX] .. '-' .. number, claim.attempts, reason, isUnhandled, text)
  end
  finish(number, claim.lane, claim.flags, claim.size)
end

-- What is recorded of a claim: of an event in the first lane without flags that was never delivered before, only its bytes.
local function claimOf(record)
  local size = tonumber(record)
  if size then return { lane = 1, flags = 0, size = size, attempts = 1, failures = 0, releases = 0, losses = 0 } end
  local lane, flags, bytes, attempts, failures, releases, losses =
    string.match(record, '^(%d)(%d) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return { lane = lane + 1, flags = tonumber(flags), size = tonumber(bytes), attempts = tonumber(attempts),
    failures = tonumber(failures), releases = tonumber(releases), losses = tonumber(losses) }
end

local function unclaim(claim)
  S[HELD + claim.lane] = S[HELD + claim.lane] - 1
  S[HELDSIZE + claim.lane] = S[HELDSIZE + claim.lane] - claim.size
end

-- A number as an argument costs Redis more than a text.
local sizeTexts = {}
local function textOfSize(size)
  local text = sizeTexts[size]
  if not text then
    text = string.format('%d', size)
    sizeTexts[size] = text
  end
  return text
end

-- What a node does not have, it cannot settle.
local function take(number)
  local record = call('HGET', claimsKey .. self, number)
  if not record then return nil end
  call('HDEL', claimsKey .. self, number)
  local claim = claimOf(record)
  unclaim(claim)
  return claim
end

local function lose(number, claim, isCounted)
  if isCounted then
    claim.losses = claim.losses + 1
    if claim.losses >= maxDeliveries then
      local times = claim.losses == 1 and ' time' or ' times'
      return fail(number, claim, '"delivered ' .. claim.losses .. times .. ' without an acknowledgement: its worker crashed, ' ..
        'timed out or lost its connection"', false)
    end
  end
  redeliver(number, claim, 0)
end

-- Many at once, since this is what happens to most: those between two arguments.
local function ack(from, to)
  local records = call('HMGET', claimsKey .. self, unpack(ARGV, from, to))
  local count, size, special = 0, 0, {}
  for index, record in ipairs(records) do
    local bytes = tonumber(record)
    if bytes then
      count = count + 1
      size = size + bytes
    elseif record then
      special[#special + 1] = from + index - 1
    end
  end
  S[HELD + 1] = S[HELD + 1] - count
  S[HELDSIZE + 1] = S[HELDSIZE + 1] - size
  S[COUNT + 1] = S[COUNT + 1] - count
  S[SIZE + 1] = S[SIZE + 1] - size
  for _, index in ipairs(special) do
    local number, claim = ARGV[index], claimOf(records[index - from + 1])
    unclaim(claim)
    if claim.lane == REQUESTS then respond(number, 'F"its worker has acked it without a response"') end
    finish(number, claim.lane, claim.flags, claim.size)
  end
  -- An event that another node holds keeps its text.
  if count + #special == #records then
    call('HDEL', eventsKey, unpack(ARGV, from, to))
  else
    for index, record in ipairs(records) do
      if record then call('HDEL', eventsKey, ARGV[from + index - 1]) end
    end
  end
  call('HDEL', claimsKey .. self, unpack(ARGV, from, to))
end

-- Whether an event beyond the limits would be delivered at once by this node or one that waits.
local function canPlace(lane, credits, idle)
  for _, entry in ipairs(H) do
    credits = credits + entry[1 + lane]
    idle = idle + entry[4 + lane]
  end
  local queued = queuedIn(lane)
  return credits > queued and (idle > queued or (S[HELD + lane] + queued < capacity and S[HELDSIZE + lane] < maxSize))
end

local function isFull(lane, size) return S[COUNT + lane] >= capacity or S[SIZE + lane] + size > maxSize end

local function dropOldest(lane)
  flush()
  local oldest = call('ZPOPMIN', laneKey[lane])[1]
  if not oldest then return false end
  local text = call('HGET', eventsKey, oldest)
  local _, flags = headOf(text)
  dropped = dropped + 1
  finish(oldest, lane, flags, bytesOf(lane, text))
  forget(oldest)
  return true
end

-- The number of the next event. When the first one of each second came is remembered.
local function nextNumbers(count)
  local number = S[NEXT]
  S[NEXT] = number + count
  if now - S[TIMED] >= 1000 then
    S[TIMED] = now
    call('ZADD', timesKey, number, now)
  end
  return number
end

-- Q: queued, D: a duplicate, N: no worker takes the lane, F: full.
local function enqueue(text, millis, left, key, credits, idle)
  local lane = headOf(text)
  local size = bytesOf(lane, text)
  if key and call('HEXISTS', keysKey, key) == 1 then return 'D' end
  if lane == REQUESTS and S[WORKERS + REQUESTS] == 0 then return 'N' end
  if lane == LIFECYCLE then
    if not isAttended() then return 'N' end
    while isFull(lane, size) and dropOldest(lane) do end
  elseif isFull(lane, size) and (millis > 0 or not canPlace(lane, credits[lane], idle[lane])) then
    return 'F'
  end
  local number = string.format('%d', nextNumbers(1))
  S[COUNT + lane] = S[COUNT + lane] + 1
  S[SIZE + lane] = S[SIZE + lane] + size
  newTexts[#newTexts + 1] = number
  newTexts[#newTexts + 1] = text
  if key then
    call('HSET', keysKey, key, number)
    call('HSET', keyOfKey, number, key)
  end
  if left then
    call('ZADD', deadlinesKey, now + left, number)
    S[DEADLINES] = S[DEADLINES] + 1
  end
  if millis > 0 then
    delay(number, lane, millis)
  else
    local numbers = newNumbers[lane]
    numbers[#numbers + 1] = number
    numbers[#numbers + 1] = number
  end
  if #newTexts >= 1000 then flush() end
  return 'Q'
end

-- Many at once, if there is room for all: those between two arguments, of the first lane and without flags.
local function enqueueAll(from, to, credits, idle)
  local args, size = ARGV, 0
  for index = from, to do size = size + #args[index] end
  if S[COUNT + 1] + to - from >= capacity or S[SIZE + 1] + size > maxSize then
    local results = {}
    for index = from, to do results[#results + 1] = enqueue(ARGV[index], 0, nil, nil, credits, idle) end
    return table.concat(results)
  end
  S[COUNT + 1] = S[COUNT + 1] + to - from + 1
  S[SIZE + 1] = S[SIZE + 1] + size
  local first, texts, numbers, format = nextNumbers(to - from + 1), {}, {}, string.format
  for at = 0, to - from do
    local number = format('%d', first + at)
    numbers[at + 1], texts[2 * at + 1], texts[2 * at + 2] = number, number, args[from + at]
  end
  call('HSET', eventsKey, unpack(texts))
  call('RPUSH', newKey, unpack(numbers))
  return string.rep('Q', to - from + 1)
end

-- Removes an event that waits, and was never delivered.
local function cancel(key)
  flush()
  local number = call('HGET', keysKey, key)
  if not number then return '0' end
  if S[MARKS] > 0 then
    local marks = call('HGET', marksKey, number)
    if marks and not string.find(marks, '^0 ') then return '0' end
  end
  local text = call('HGET', eventsKey, number)
  local lane, flags = headOf(text)
  if call('ZREM', laneKey[lane], number) == 0 then
    if call('ZREM', delayedKey, (lane - 1) .. number) == 0 then return '0' end
    S[DELAYED + lane] = S[DELAYED + lane] - 1
  end
  finish(number, lane, flags, bytesOf(lane, text))
  forget(number)
  return '1'
end

-- Delays and backoffs that have ended, and deadlines that have passed: at most 256 of each in a call.
local function sweep()
  if S[DELAYED + 1] + S[DELAYED + 2] + S[DELAYED + 3] > 0 then
    for _, member in ipairs(call('ZRANGEBYSCORE', delayedKey, '-inf', now, 'LIMIT', 0, 256)) do
      local lane, number = string.sub(member, 1, 1) + 1, string.sub(member, 2)
      call('ZREM', delayedKey, member)
      S[DELAYED + lane] = S[DELAYED + lane] - 1
      call('ZADD', laneKey[lane], number, number)
    end
  end
  if S[DEADLINES] > 0 then
    for _, number in ipairs(call('ZRANGEBYSCORE', deadlinesKey, '-inf', now, 'LIMIT', 0, 256)) do
      call('ZREM', deadlinesKey, number)
      S[DEADLINES] = S[DEADLINES] - 1
      local text = call('HGET', eventsKey, number)
      local lane, flags = headOf(text)
      local isQueued = call('ZREM', laneKey[lane], number) == 1
      if not isQueued and call('ZREM', delayedKey, (lane - 1) .. number) == 1 then
        S[DELAYED + lane] = S[DELAYED + lane] - 1
        isQueued = true
      end
      -- One that a worker has ends when the worker is done with it.
      if isQueued then
        finish(number, lane, flags, bytesOf(lane, text))
        forget(number)
      end
    end
  end
  if not isAttended() then
    while queuedIn(LIFECYCLE) > 0 and dropOldest(LIFECYCLE) do end
  end
end
`
