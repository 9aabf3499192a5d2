/**
 * The part of the queue's script that does what happens to most events, to many at once: new ones of the first lane without flags are
 * enqueued, claimed and acked. A node claims the oldest over all lanes that its workers take, within their credits.
 *
 * If other nodes wait for events of a lane, a node leaves them some: one for each idle worker if it has none itself, and of the rest
 * their share by credits.
 */

/** Goes after `state`. */
export const plain = `
-- What is to be written of new events, in few commands for many.
Q.newTexts, Q.newNumbers = {}, { {}, {}, {} }
function Q.flush()
  if #Q.newTexts == 0 then return end
  call('HSET', Q.eventsKey, unpack(Q.newTexts))
  Q.newTexts = {}
  for lane = 1, 3 do
    if #Q.newNumbers[lane] > 0 then
      call('ZADD', Q.laneKey[lane], unpack(Q.newNumbers[lane]))
      Q.newNumbers[lane] = {}
    end
  end
end

-- The number of the next event. When the first one of each second came is remembered.
function Q.nextNumbers(count)
  local number = S[NEXT]
  S[NEXT] = number + count
  if Q.now - S[TIMED] >= 1000 then
    S[TIMED] = Q.now
    call('ZADD', Q.timesKey, number, Q.now)
  end
  return number
end

-- Many at once, if there is room for all: those between two arguments, of the first lane and without flags.
function Q.enqueueAll(from, to, credits, idle)
  local args, size = ARGV, 0
  for index = from, to do size = size + #args[index] end
  if S[COUNT + 1] + to - from >= Q.capacity or S[SIZE + 1] + size > Q.maxSize then
    local results = {}
    for index = from, to do results[#results + 1] = Q.enqueue(ARGV[index], 0, nil, nil, credits, idle) end
    return table.concat(results)
  end
  S[COUNT + 1] = S[COUNT + 1] + to - from + 1
  S[SIZE + 1] = S[SIZE + 1] + size
  local first, texts, numbers, format = Q.nextNumbers(to - from + 1), {}, {}, string.format
  for at = 0, to - from do
    local number = format('%d', first + at)
    numbers[at + 1], texts[2 * at + 1], texts[2 * at + 2] = number, number, args[from + at]
  end
  call('HSET', Q.eventsKey, unpack(texts))
  call('RPUSH', Q.newKey, unpack(numbers))
  return string.rep('Q', to - from + 1)
end

-- A number as an argument costs Redis more than a text.
Q.sizeTexts = {}
function Q.textOfSize(size)
  local text = Q.sizeTexts[size]
  if not text then
    text = string.format('%d', size)
    Q.sizeTexts[size] = text
  end
  return text
end

-- Many at once, since this is what happens to most: those between two arguments.
function Q.ack(from, to)
  local records = call('HMGET', Q.claimsKey .. Q.self, unpack(ARGV, from, to))
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
    local number, claim = ARGV[index], Q.claimOf(records[index - from + 1])
    Q.unclaim(claim)
    if claim.lane == REQUESTS then Q.respond(number, 'F"its worker has acked it without a response"') end
    Q.finish(number, claim.lane, claim.flags, claim.size)
  end
  -- An event that another node holds keeps its text.
  if count + #special == #records then
    call('HDEL', Q.eventsKey, unpack(ARGV, from, to))
  else
    for index, record in ipairs(records) do
      if record then call('HDEL', Q.eventsKey, ARGV[from + index - 1]) end
    end
  end
  call('HDEL', Q.claimsKey .. Q.self, unpack(ARGV, from, to))
end

function Q.shareOf(lane, credits, idle)
  local queued = Q.queuedIn(lane)
  local others, othersIdle = 0, 0
  for _, entry in ipairs(H) do
    others = others + entry[1 + lane]
    othersIdle = othersIdle + entry[4 + lane]
  end
  if others == 0 then return math.min(credits, queued, MAXCLAIMS) end
  local rest = idle > 0 and queued or math.max(0, queued - othersIdle)
  return math.min(credits, math.ceil(rest * credits / (credits + others)), MAXCLAIMS)
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

Q.none = { '', {}, {} }

-- Many at once, since this is what happens to most: new events, if there is room for all. Returns nothing if there is not.
function Q.claimNew(numbers, credits, idle)
  local texts, records, size, used = call('HMGET', Q.eventsKey, unpack(numbers)), {}, 0, #numbers
  for index = 1, used do
    local bytes = #texts[index]
    size = size + bytes
    records[2 * index - 1], records[2 * index] = numbers[index], Q.textOfSize(bytes)
  end
  if idle[1] < used and (S[HELD + 1] + used > Q.capacity or S[HELDSIZE + 1] + size > Q.maxSize) then return nil end
  S[HELD + 1], S[HELDSIZE + 1] = S[HELD + 1] + used, S[HELDSIZE + 1] + size
  call('LTRIM', Q.newKey, used, -1)
  call('HSET', Q.claimsKey .. Q.self, unpack(records))
  local left = credits[1] - used
  for lane = 1, 3 do
    credits[lane] = math.min(left, credits[lane])
    idle[lane] = math.max(0, idle[lane] - used)
  end
  return { table.concat(numbers, ' '), texts, {} }
end

-- Returns the claims as an answer has them, and the credits and idle workers that are left.
function Q.claim(credits, idle)
  local shares, most = {}, math.min(credits[1], MAXCLAIMS)
  for lane = 1, 3 do
    shares[lane] = most > 0 and credits[lane] > 0 and Q.queuedIn(lane) > 0 and Q.shareOf(lane, credits[lane], idle[lane]) or 0
  end
  if shares[1] + shares[2] + shares[3] == 0 then return Q.none, credits, idle end
  local numbers, laneOf = Q.candidates(shares, most)
  if numbers[1] and not next(laneOf) and #numbers <= most then
    local answer = Q.claimNew(numbers, credits, idle)
    if answer then return answer, credits, idle end
  end
  return Q.claimSome(numbers, laneOf, shares, most, credits, idle)
end
`
