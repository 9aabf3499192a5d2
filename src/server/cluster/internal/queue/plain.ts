/**
 * The part of the queue's script that does what happens to most events, to many at once: new ones of the first lane without flags are
 * enqueued, claimed and acked. A node claims the oldest over all lanes that its workers take, within their credits.
 *
 * If other nodes wait for events of a lane, a node leaves them some: one for each idle worker if it has none itself, and of the rest
 * their share by credits.
 */

import * as Script from "../../Script.ts"

/** Goes after `state`. */
export const plain = `
-- What is to be written of new events, in few commands for many; and the first number of those that the node has at once.
Q.newTexts, Q.newNumbers, Q.given = {}, { {}, {}, {} }, ''
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
    call('ZADD', Q.timesKey, number, string.format('%d', Q.now))
  end
  return number
end

-- The node has new events of so many bytes from now on, if there is room for all. Returns whether there is.
function Q.hold(numbers, size, credits, idle)
  local used = #numbers
  if idle[1] < used and (S[HELD + 1] + used > CAPACITY or S[HELDSIZE + 1] + size > MAXSIZE) then return false end
  S[HELD + 1], S[HELDSIZE + 1] = S[HELD + 1] + used, S[HELDSIZE + 1] + size
  call('SADD', Q.plainKey .. Q.self, unpack(numbers))
  local left = credits[1] - used
  for lane = 1, 3 do
    credits[lane] = math.min(left, credits[lane])
    idle[lane] = math.max(0, idle[lane] - used)
  end
  return true
end

-- Many at once, if there is room for all: those between two arguments, of the first lane and without flags.
-- Where no event and no other node waits, the node that they come from has them at once: they are not queued.
function Q.enqueueAll(from, to, credits, idle)
  local args, count, size = ARGV, to - from + 1, 0
  for index = from, to do size = size + #args[index] end
  if S[COUNT + 1] + count > CAPACITY or S[SIZE + 1] + size > MAXSIZE then
    local results = {}
    for index = from, to do results[#results + 1] = Q.enqueue(ARGV[index], 0, nil, nil, credits, idle) end
    return table.concat(results)
  end
  local isFirst = count <= credits[1] and #H == 0 and Q.given == '' and Q.queuedIn(1) + Q.queuedIn(2) + Q.queuedIn(3) == 0
  S[COUNT + 1] = S[COUNT + 1] + count
  S[SIZE + 1] = S[SIZE + 1] + size
  local first, fields, numbers, format = Q.nextNumbers(count), {}, {}, string.format
  for at = 0, count - 1 do
    local number = format('%d', first + at)
    numbers[at + 1], fields[2 * at + 1], fields[2 * at + 2] = number, number, args[from + at]
  end
  call('HSET', Q.eventsKey, unpack(fields))
  if isFirst and Q.hold(numbers, size, credits, idle) then
    Q.given = numbers[1]
    return string.rep('G', count)
  end
  call('RPUSH', Q.newKey, unpack(numbers))
  S[NEW] = S[NEW] + count
  return string.rep('Q', count)
end

-- Many at once, since this is what happens to most: the numbers between two arguments, of so many bytes. Most are in the set. Those of
-- a later delivery are not. A node that acks what it does not have, which only others can cause who change its keys, begins anew.
function Q.ack(size, from, to)
  local count, key = to - from + 1, Q.plainKey .. Q.self
  local left = count - call('SREM', key, unpack(ARGV, from, to))
  if left > 0 then left = left - call('HDEL', Q.claimsKey .. Q.self, unpack(ARGV, from, to)) end
  if left > 0 then return redis.error_reply('${Script.leaseLost} the event queue does not have what this node has acked') end
  S[HELD + 1] = S[HELD + 1] - count
  S[HELDSIZE + 1] = S[HELDSIZE + 1] - size
  S[COUNT + 1] = S[COUNT + 1] - count
  S[SIZE + 1] = S[SIZE + 1] - size
  call('HDEL', Q.eventsKey, unpack(ARGV, from, to))
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

Q.none = { '', {}, {} }

-- New events, if there is room for all. Returns nothing if there is not.
function Q.claimNew(most, credits, idle)
  local numbers = call('LRANGE', Q.newKey, '0', string.format('%d', most - 1))
  local texts, size = call('HMGET', Q.eventsKey, unpack(numbers)), 0
  for index = 1, #texts do size = size + #texts[index] end
  if not Q.hold(numbers, size, credits, idle) then return nil end
  S[NEW] = S[NEW] - #numbers
  call('LTRIM', Q.newKey, string.format('%d', #numbers), '-1')
  return { table.concat(numbers, ' '), texts, {} }
end

-- Returns the claims as an answer has them, and the credits and idle workers that are left.
function Q.claim(credits, idle)
  local shares, most = {}, math.min(credits[1], MAXCLAIMS)
  for lane = 1, 3 do
    shares[lane] = most > 0 and credits[lane] > 0 and Q.queuedIn(lane) > 0 and Q.shareOf(lane, credits[lane], idle[lane]) or 0
  end
  if shares[1] + shares[2] + shares[3] == 0 then return Q.none, credits, idle end
  if shares[2] + shares[3] == 0 and S[NEW] == Q.queuedIn(1) then
    local answer = Q.claimNew(math.min(shares[1], most), credits, idle)
    if answer then return answer, credits, idle end
  end
  return Q.claimSome(shares, most, credits, idle)
end
`
