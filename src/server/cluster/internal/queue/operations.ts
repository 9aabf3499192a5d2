/**
 * The part of the queue's script that executes what nodes call for beside what is plain, and what is seldom: a poll, the repetition of a
 * turn, the end of a node.
 */

/** Goes after `claims`. */
export const operations = `
-- The number of the oldest queued event of a lane.
function Q.oldestIn(lane)
  local number = call('ZRANGE', Q.laneKey[lane], 0, 0)[1]
  local new = lane == 1 and call('LINDEX', Q.newKey, 0)
  return new and (not number or tonumber(new) < tonumber(number)) and new or number
end

-- How long the oldest event of each lane has been in the queue, to the second.
function Q.agesOf()
  local ages, first = {}, nil
  for lane = 1, 3 do
    local oldest = Q.queuedIn(lane) > 0 and Q.oldestIn(lane)
    local time = oldest and
      (call('ZRANGE', Q.timesKey, oldest, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1] or call('ZRANGE', Q.timesKey, 0, 0)[1])
    ages[lane] = time and math.max(0, Q.now - time) or -1
    if oldest and (not first or tonumber(oldest) < first) then first = tonumber(oldest) end
  end
  -- Times of events that are gone are not needed. An event that is held or delayed may return.
  if S[HELD + 1] + S[HELD + 2] + S[HELD + 3] + S[DELAYED + 1] + S[DELAYED + 2] + S[DELAYED + 3] == 0 then
    local from = first and call('ZRANGE', Q.timesKey, first, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
    call('ZREMRANGEBYSCORE', Q.timesKey, '-inf', '(' .. (from or S[NEXT]))
    if not first then S[TIMED] = -1000 end
  end
  call('ZREMRANGEBYRANK', Q.timesKey, 0, -10001)
  return ages
end

-- The nodes that have ended without being removed here.
function Q.endedNodes()
  local ended = {}
  for _, node in ipairs(call('HKEYS', Q.nodesKey)) do
    if node ~= '-' and not call('ZSCORE', KEYS[1], node) then ended[#ended + 1] = node end
  end
  return ended
end

-- What is remembered of a node: the number of its last turn, its workers, how its calls were answered, what happened, and what it
-- was given, from the queue and of its own.
function Q.repeated(record)
  local numbers, attempts, texts = {}, {}, {}
  for number in string.gmatch(record[10], '%d+') do numbers[#numbers + 1] = number end
  if #numbers > 0 then
    texts = call('HMGET', Q.eventsKey, unpack(numbers))
    for index, claim in ipairs(call('HMGET', Q.claimsKey .. Q.self, unpack(numbers))) do
      local attempt = claim and Q.claimOf(claim).attempts or 1
      if attempt > 1 then attempts[index] = attempt end
    end
  end
  local events = { record[6], record[7], record[8], record[9] }
  return Q.answer(record[5], record[11], events, Q.answerOf(numbers, texts, attempts), Q.empty, Q.empty)
end

-- To ask for nothing changes nothing.
function Q.emit(index, epoch, count)
  if S[EPOCH] ~= epoch then
    if count == 0 then return '<0>' end
    S[EPOCH] = epoch
    S[EMITTED] = 0
  end
  for offset = 0, count - 1 do
    local number, text = tonumber(ARGV[index + 2 * offset]), ARGV[index + 2 * offset + 1]
    if number > S[EMITTED] then
      S[EMITTED] = number
      if text ~= '' then Q.enqueue(text, 0, nil, nil, { 0, 0, 0 }, { 0, 0, 0 }) end
    end
  end
  return '<' .. S[EMITTED] .. '>'
end

-- A dead letter becomes a new event, which can be handled from now on, or stays.
function Q.replay(id, credits, idle)
  local letter = call('HGET', Q.lettersKey, id)
  if not letter then return '0' end
  local lane, head, rest = string.match(letter, '\\n(%d)%d( %d+ %d+ %S+ )%d+(\\n.*)$')
  local done = Q.enqueue(lane .. '0' .. head .. string.format('%013d', Q.now) .. rest, 0, nil, nil, credits, idle)
  if done == 'Q' then Q.removeLetter(id) end
  return done
end

-- An event is handled; to whoever has requested something this is the result.
function Q.done(number, claim, result)
  if claim.lane == REQUESTS then Q.respond(number, result) end
  Q.finish(number, claim.lane, claim.flags, claim.size)
end

-- As plainOperations.
Q.operations = {
  X = function(index, credits, idle)
    local key = ARGV[index + 3]
    return index + 4,
      Q.enqueue(ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2]), key ~= '' and key or nil, credits, idle)
  end,
  C = function(index) return index + 1, Q.cancel(ARGV[index]) end,
  V = function(index, credits, idle) return index + 1, Q.replay(ARGV[index], credits, idle) end,
  T = function(index)
    local text = Q.removeLetter(ARGV[index])
    return index + 1, text and '1' or '0'
  end,
  B = function(index)
    Q.addLetter(ARGV[index], tonumber(ARGV[index + 1]), ARGV[index + 2], ARGV[index + 3] == '1', ARGV[index + 4])
    return index + 5, '1'
  end,
  M = function(index)
    local count = tonumber(ARGV[index + 1])
    return index + 2 + 2 * count, Q.emit(index + 2, ARGV[index], count)
  end,
  K = function(index)
    local last, key = index + tonumber(ARGV[index]), Q.claimsKey .. Q.self
    for at, record in ipairs(call('HMGET', key, unpack(ARGV, index + 1, last))) do
      local claim = record and Q.claimOf(record) or Q.takePlain(ARGV[index + at])
      if claim then
        Q.unclaim(claim)
        Q.done(ARGV[index + at], claim, 'F"its worker has acked it without a response"')
      end
    end
    call('HDEL', key, unpack(ARGV, index + 1, last))
    return last + 1
  end,
  P = function(index)
    local claim = Q.take(ARGV[index])
    if claim then Q.done(ARGV[index], claim, ARGV[index + 1]) end
    return index + 2
  end,
  N = function(index)
    local number, reason, isUnhandled, maxAttempts =
      ARGV[index], ARGV[index + 1], ARGV[index + 2] == '1', tonumber(ARGV[index + 3])
    local claim = Q.take(number)
    if claim then
      claim.failures = claim.failures + 1
      if claim.failures >= maxAttempts or claim.lane == REQUESTS then
        Q.fail(number, claim, reason, isUnhandled)
      else
        Q.redeliver(number, claim, claim.failures)
      end
    end
    return index + 4
  end,
  R = function(index)
    local claim = Q.take(ARGV[index])
    if claim then
      claim.releases = claim.releases + 1
      Q.redeliver(ARGV[index], claim, claim.releases - 1)
    end
    return index + 1
  end,
  U = function(index)
    local claim = Q.take(ARGV[index])
    if claim then
      claim.attempts = claim.attempts - 1
      Q.requeue(ARGV[index], claim, 0)
    end
    return index + 1
  end,
  L = function(index)
    local claim = Q.take(ARGV[index])
    if claim then Q.lose(ARGV[index], claim, ARGV[index + 1] == '1') end
    return index + 2
  end
}

-- A node whose lease has ended, or that leaves: its events return to their places.
function Q.endNode()
  local node, isCounted = ARGV[4], ARGV[5] == '1'
  if node ~= Q.self and call('ZSCORE', KEYS[1], node) then return 0 end
  local record = call('HGET', Q.nodesKey, node)
  if record then
    record = cmsgpack.unpack(record)
    Q.attend({ record[2], record[3], record[4] }, { 0, 0, 0 })
  end
  Q.withdraw(node)
  call('HDEL', Q.nodesKey, node)
  local claims, numbers = {}, {}
  local records = call('HGETALL', Q.claimsKey .. node)
  for index = 1, #records, 2 do
    numbers[#numbers + 1] = records[index]
    claims[records[index]] = Q.claimOf(records[index + 1])
  end
  for _, number in ipairs(call('SMEMBERS', Q.plainKey .. node)) do
    numbers[#numbers + 1] = number
    claims[number] = Q.plainClaim(number)
  end
  table.sort(numbers, function(one, other) return tonumber(one) < tonumber(other) end)
  call('DEL', Q.claimsKey .. node, Q.plainKey .. node, Q.mailKey .. node)
  for _, number in ipairs(numbers) do
    Q.unclaim(claims[number])
    Q.lose(number, claims[number], isCounted)
  end
  Q.wakeNodes()
  call('HSET', Q.nodesKey, '-', Q.packed())
  return #numbers
end
`
