/**
 * The part of the queue's script that changes events: it enqueues, requeues and ends them, and settles deliveries. Each change
 * takes constant or logarithmic time.
 */

/** Goes after `letters`. */
export const events = `
-- The text of an event begins with its lane and flags (1 a dedupe key, 2 a deadline). What follows only nodes read.
function Q.headOf(text)
  return string.byte(text, 1) - 47, string.byte(text, 2) - 48
end

-- With what a request takes beside its text.
function Q.bytesOf(lane, text) return lane == REQUESTS and #text + 512 or #text end

-- An event that is neither queued nor delayed any more is gone.
function Q.finish(number, lane, flags, size)
  S[COUNT + lane] = S[COUNT + lane] - 1
  S[SIZE + lane] = S[SIZE + lane] - size
  call('HDEL', Q.eventsKey, number)
  if flags % 2 == 1 then
    local key = call('HGET', Q.keyOfKey, number)
    call('HDEL', Q.keysKey, key)
    call('HDEL', Q.keyOfKey, number)
  end
  if flags >= 2 and call('ZREM', Q.deadlinesKey, number) == 1 then S[DEADLINES] = S[DEADLINES] - 1 end
end

function Q.forget(number)
  if S[MARKS] > 0 then S[MARKS] = S[MARKS] - call('HDEL', Q.marksKey, number) end
end

-- A request has one result, which goes to the node that it came from.
function Q.respond(number, result)
  if call('ZREM', Q.deadlinesKey, number) == 0 then return end
  S[DEADLINES] = S[DEADLINES] - 1
  local node, id = string.match(call('HGET', Q.eventsKey, number), '^%d%d %d+ %d+ (%w+):(%S+) ')
  if not node or call('HEXISTS', Q.nodesKey, node) == 0 then return end
  call('RPUSH', Q.mailKey .. node, id .. ' ' .. result)
  Q.woken[node] = true
end

function Q.delay(number, lane, millis)
  S[DELAYED + lane] = S[DELAYED + lane] + 1
  call('ZADD', Q.delayedKey, Q.now + millis, (lane - 1) .. number)
end

-- At its old place. A request that has its result already is gone.
function Q.requeue(number, claim, millis)
  local lane = claim.lane
  if claim.flags >= 2 and not call('ZSCORE', Q.deadlinesKey, number) then
    return Q.finish(number, lane, claim.flags, claim.size)
  end
  if claim.attempts > 0 or claim.losses > 0 then
    local marks = claim.attempts .. ' ' .. claim.failures .. ' ' .. claim.releases .. ' ' .. claim.losses
    S[MARKS] = S[MARKS] + call('HSET', Q.marksKey, number, marks)
  end
  if millis > 0 then Q.delay(number, lane, millis) else call('ZADD', Q.laneKey[lane], number, number) end
end

function Q.redeliver(number, claim, times)
  Q.redelivered = Q.redelivered + 1
  Q.requeue(number, claim, times == 0 and 0 or FIRSTBACKOFF * 2 ^ math.min(times - 1, 6))
end

function Q.fail(number, claim, reason, isUnhandled)
  local text = call('HGET', Q.eventsKey, number)
  if claim.lane == REQUESTS then
    Q.respond(number, 'F' .. reason)
  else
    Q.addLetter(S[PREFIX] .. '-' .. number, claim.attempts, reason, isUnhandled, text)
  end
  Q.finish(number, claim.lane, claim.flags, claim.size)
end

-- Of an event in the first lane without flags that is delivered for the first time only the number is recorded.
function Q.plainClaim(number)
  return { lane = 1, flags = 0, size = call('HSTRLEN', Q.eventsKey, number), attempts = 1, failures = 0, releases = 0, losses = 0 }
end

-- What is recorded of another claim.
function Q.claimOf(record)
  local lane, flags, bytes, attempts, failures, releases, losses =
    string.match(record, '^(%d)(%d) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return { lane = lane + 1, flags = tonumber(flags), size = tonumber(bytes), attempts = tonumber(attempts),
    failures = tonumber(failures), releases = tonumber(releases), losses = tonumber(losses) }
end

function Q.unclaim(claim)
  S[HELD + claim.lane] = S[HELD + claim.lane] - 1
  S[HELDSIZE + claim.lane] = S[HELDSIZE + claim.lane] - claim.size
end

function Q.takePlain(number)
  return call('SREM', Q.plainKey .. Q.self, number) == 1 and Q.plainClaim(number) or nil
end

-- What a node does not have, it cannot settle.
function Q.take(number)
  local record = call('HGET', Q.claimsKey .. Q.self, number)
  if record then call('HDEL', Q.claimsKey .. Q.self, number) end
  local claim = record and Q.claimOf(record) or Q.takePlain(number)
  if claim then Q.unclaim(claim) end
  return claim
end

function Q.lose(number, claim, isCounted)
  if isCounted then
    claim.losses = claim.losses + 1
    if claim.losses >= MAXDELIVERIES then
      local times = claim.losses == 1 and ' time' or ' times'
      return Q.fail(number, claim, '"delivered ' .. claim.losses .. times .. ' without an acknowledgement: its worker crashed, ' ..
        'timed out or lost its connection"', false)
    end
  end
  Q.redeliver(number, claim, 0)
end

-- Whether an event beyond the limits would be delivered at once by this node or one that waits.
function Q.canPlace(lane, credits, idle)
  for _, entry in ipairs(H) do
    credits = credits + entry[1 + lane]
    idle = idle + entry[4 + lane]
  end
  local queued = Q.queuedIn(lane)
  return credits > queued and (idle > queued or (S[HELD + lane] + queued < CAPACITY and S[HELDSIZE + lane] < MAXSIZE))
end

function Q.isFull(lane, size) return S[COUNT + lane] >= CAPACITY or S[SIZE + lane] + size > MAXSIZE end

function Q.dropOldest(lane)
  Q.flush()
  local oldest = call('ZPOPMIN', Q.laneKey[lane])[1]
  if not oldest then return false end
  local text = call('HGET', Q.eventsKey, oldest)
  local _, flags = Q.headOf(text)
  Q.dropped = Q.dropped + 1
  Q.finish(oldest, lane, flags, Q.bytesOf(lane, text))
  Q.forget(oldest)
  return true
end

-- Q: queued, D: a duplicate, N: no worker takes the lane, F: full.
function Q.enqueue(text, millis, left, key, credits, idle)
  local lane = Q.headOf(text)
  local size = Q.bytesOf(lane, text)
  if key and call('HEXISTS', Q.keysKey, key) == 1 then return 'D' end
  if lane == REQUESTS and S[WORKERS + REQUESTS] == 0 then return 'N' end
  if lane == LIFECYCLE then
    if not Q.isAttended() then return 'N' end
    while Q.isFull(lane, size) and Q.dropOldest(lane) do end
  elseif Q.isFull(lane, size) and (millis > 0 or not Q.canPlace(lane, credits[lane], idle[lane])) then
    return 'F'
  end
  local number = string.format('%d', Q.nextNumbers(1))
  S[COUNT + lane] = S[COUNT + lane] + 1
  S[SIZE + lane] = S[SIZE + lane] + size
  Q.newTexts[#Q.newTexts + 1] = number
  Q.newTexts[#Q.newTexts + 1] = text
  if key then
    call('HSET', Q.keysKey, key, number)
    call('HSET', Q.keyOfKey, number, key)
  end
  if left then
    call('ZADD', Q.deadlinesKey, Q.now + left, number)
    S[DEADLINES] = S[DEADLINES] + 1
  end
  if millis > 0 then
    Q.delay(number, lane, millis)
  else
    local numbers = Q.newNumbers[lane]
    numbers[#numbers + 1] = number
    numbers[#numbers + 1] = number
  end
  if #Q.newTexts >= 1000 then Q.flush() end
  return 'Q'
end

-- Removes an event that waits, and was never delivered.
function Q.cancel(key)
  Q.flush()
  local number = call('HGET', Q.keysKey, key)
  if not number then return '0' end
  if S[MARKS] > 0 then
    local marks = call('HGET', Q.marksKey, number)
    if marks and not string.find(marks, '^0 ') then return '0' end
  end
  local text = call('HGET', Q.eventsKey, number)
  local lane, flags = Q.headOf(text)
  if call('ZREM', Q.laneKey[lane], number) == 0 then
    if call('ZREM', Q.delayedKey, (lane - 1) .. number) == 0 then return '0' end
    S[DELAYED + lane] = S[DELAYED + lane] - 1
  end
  Q.finish(number, lane, flags, Q.bytesOf(lane, text))
  Q.forget(number)
  return '1'
end

-- Delays and backoffs that have ended, and deadlines that have passed: at most 256 of each in a call.
function Q.sweep()
  if S[DELAYED + 1] + S[DELAYED + 2] + S[DELAYED + 3] > 0 then
    for _, member in ipairs(call('ZRANGEBYSCORE', Q.delayedKey, '-inf', Q.now, 'LIMIT', 0, 256)) do
      local lane, number = string.sub(member, 1, 1) + 1, string.sub(member, 2)
      call('ZREM', Q.delayedKey, member)
      S[DELAYED + lane] = S[DELAYED + lane] - 1
      call('ZADD', Q.laneKey[lane], number, number)
    end
  end
  if S[DEADLINES] > 0 then
    for _, number in ipairs(call('ZRANGEBYSCORE', Q.deadlinesKey, '-inf', Q.now, 'LIMIT', 0, 256)) do
      call('ZREM', Q.deadlinesKey, number)
      S[DEADLINES] = S[DEADLINES] - 1
      local text = call('HGET', Q.eventsKey, number)
      local lane, flags = Q.headOf(text)
      local isQueued = call('ZREM', Q.laneKey[lane], number) == 1
      if not isQueued and call('ZREM', Q.delayedKey, (lane - 1) .. number) == 1 then
        S[DELAYED + lane] = S[DELAYED + lane] - 1
        isQueued = true
      end
      -- One that a worker has ends when the worker is done with it.
      if isQueued then
        Q.finish(number, lane, flags, Q.bytesOf(lane, text))
        Q.forget(number)
      end
    end
  end
  if not Q.isAttended() then
    while Q.queuedIn(LIFECYCLE) > 0 and Q.dropOldest(LIFECYCLE) do end
  end
end
`
