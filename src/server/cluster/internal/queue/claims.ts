/**
 * The part of the queue's script that gives a node events which are not all plain: redelivered ones, requests, lifecycle events.
 */

/** Goes after `events`. */
export const claims = `
-- The marks of earlier deliveries, which are then the claim's.
function Q.marksOf(numbers)
  local marks = {}
  if S[MARKS] == 0 then return marks end
  local found = {}
  for index, text in ipairs(call('HMGET', Q.marksKey, unpack(numbers))) do
    if text then
      marks[index] = text
      found[#found + 1] = numbers[index]
    end
  end
  if #found > 0 then S[MARKS] = S[MARKS] - call('HDEL', Q.marksKey, unpack(found)) end
  return marks
end

-- What an answer has of claims: their numbers in one text, their texts, and of those with more than a first attempt the index, the
-- attempt, and how long a response is useful.
function Q.answerOf(numbers, texts, attempts)
  local more = {}
  for index, text in ipairs(texts) do
    local hasDeadline = string.byte(text, 2) >= 50
    if hasDeadline or attempts[index] then
      local deadline = hasDeadline and call('ZSCORE', Q.deadlinesKey, numbers[index])
      more[#more + 1] = index - 1
      more[#more + 1] = attempts[index] or 1
      more[#more + 1] = deadline and math.max(0, deadline - Q.now) or hasDeadline and 0 or -1
    end
  end
  return { table.concat(numbers, ' '), texts, more }
end

-- Claims what was chosen, and returns it as an answer has it. Most are plain: of the first lane, and without flags.
function Q.record(claimed, lanes, texts, sizes, arePlain)
  local plainNumbers, records, attempts, marks = {}, {}, {}, Q.marksOf(claimed)
  for index, number in ipairs(claimed) do
    local mark = marks[index]
    if mark or not arePlain and (lanes[index] > 1 or string.byte(texts[index], 2) > 48) then
      local attempt, rest = 0, ' 0 0 0'
      if mark then attempt, rest = string.match(mark, '^(%d+)( .*)$') end
      attempt = attempt + 1
      if attempt > 1 then
        attempts[index] = attempt
        arePlain = false
      end
      records[#records + 1] = number
      records[#records + 1] = string.sub(texts[index], 1, 2) .. ' ' .. sizes[index] .. ' ' .. attempt .. rest
    else
      plainNumbers[#plainNumbers + 1] = number
    end
  end
  if #plainNumbers > 0 then call('SADD', Q.plainKey .. Q.self, unpack(plainNumbers)) end
  if #records > 0 then call('HSET', Q.claimsKey .. Q.self, unpack(records)) end
  return arePlain and { table.concat(claimed, ' '), texts, {} } or Q.answerOf(claimed, texts, attempts)
end

-- The oldest of each lane, in order: their numbers, and the lane of each that is in a sorted set. The others are new. Of the first lane
-- there may be its share of either, of which only the oldest are its share.
function Q.candidates(shares, most)
  local all, laneOf = shares[1] > 0 and call('LRANGE', Q.newKey, 0, math.min(shares[1], most) - 1) or {}, {}
  for lane = 1, 3 do
    if shares[lane] > 0 then
      for _, number in ipairs(call('ZRANGE', Q.laneKey[lane], 0, math.min(shares[lane], most) - 1)) do
        all[#all + 1] = number
        laneOf[number] = lane
      end
    end
  end
  if all[1] and laneOf[all[1]] ~= laneOf[all[#all]] then
    table.sort(all, function(one, other) return tonumber(one) < tonumber(other) end)
  end
  return all, laneOf
end

-- The first ones of these, as long as there is room. Those that are too late are gone.
function Q.claimSome(shares, most, credits, idle)
  local numbers, laneOf = Q.candidates(shares, most)
  local claimed, lanes, claimedTexts, sizes, used, arePlain = {}, {}, {}, {}, 0, true
  local removed, taken, seen, spent, blocked = { 0, 0, 0 }, 0, { 0, 0, 0 }, { 0, 0, 0 }, {}
  local held, heldSize = { S[HELD + 1], S[HELD + 2], S[HELD + 3] }, { S[HELDSIZE + 1], S[HELDSIZE + 2], S[HELDSIZE + 3] }
  local byte = string.byte
  for index, text in ipairs(call('HMGET', Q.eventsKey, unpack(numbers))) do
    if used == most then break end
    local number = numbers[index]
    local from = laneOf[number]
    local lane = from or 1
    local hasNoRoom = idle[lane] <= used and (held[lane] >= CAPACITY or heldSize[lane] >= MAXSIZE)
    if blocked[lane] or seen[lane] == shares[lane] or hasNoRoom then
      blocked[lane] = true
    else
      seen[lane] = seen[lane] + 1
      if from then removed[lane] = removed[lane] + 1 else taken = taken + 1 end
      local flags = byte(text, 2) - 48
      local deadline = flags >= 2 and call('ZSCORE', Q.deadlinesKey, number)
      if deadline and tonumber(deadline) <= Q.now then
        Q.finish(number, lane, flags, Q.bytesOf(lane, text))
        Q.forget(number)
      else
        local size = Q.bytesOf(lane, text)
        used = used + 1
        claimed[used], lanes[used], claimedTexts[used], sizes[used] = number, lane, text, size
        held[lane], heldSize[lane], spent[lane] = held[lane] + 1, heldSize[lane] + size, spent[lane] + 1
        if lane > 1 or flags > 0 then arePlain = false end
      end
    end
  end
  for lane = 1, 3 do
    S[HELD + lane], S[HELDSIZE + lane] = held[lane], heldSize[lane]
    if removed[lane] > 0 then call('ZREMRANGEBYRANK', Q.laneKey[lane], 0, removed[lane] - 1) end
  end
  if taken > 0 then
    call('LTRIM', Q.newKey, taken, -1)
    S[NEW] = S[NEW] - taken
  end
  local left = { credits[1] - used }
  for lane = 1, 3 do
    left[lane] = math.max(0, math.min(left[1], lane == 1 and left[1] or credits[lane] - spent[lane]))
    idle[lane] = math.max(0, idle[lane] - used)
  end
  return used > 0 and Q.record(claimed, lanes, claimedTexts, sizes, arePlain) or Q.none, left, idle
end
`
