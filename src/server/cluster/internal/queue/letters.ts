/**
 * The part of the queue's script that keeps the dead letters: beyond the limits the oldest are dropped, those first that no worker
 * could decode or had a handler for.
 */

/** Goes after `state`. The text of a letter is its attempts, when it failed, its reason as JSON, and in the next line the event. */
export const letters = `
local function removeLetter(id)
  local text = call('HGET', lettersKey, id)
  if not text then return nil end
  call('HDEL', lettersKey, id)
  call('ZREM', orderKey, id)
  call('ZREM', unhandledKey, id)
  S[DEAD] = S[DEAD] - 1
  S[DEADSIZE] = S[DEADSIZE] - string.match(text, '^(%d+) ')
  return text
end

-- As a broker alone counts letters without other characters than those of ASCII.
local function sizeOf(reason, text)
  local _, _, ends = string.find(text, '\\n()')
  return 2 * (#text - ends + 1 + #reason - 2)
end

local function addLetter(id, attempts, reason, isUnhandled, text)
  local size = sizeOf(reason, text)
  S[DEAD] = S[DEAD] + 1
  S[DEADSIZE] = S[DEADSIZE] + size
  S[DEADNEXT] = S[DEADNEXT] + 1
  call('HSET', lettersKey, id, size .. ' ' .. attempts .. ' ' .. now .. ' ' .. reason .. '\\n' .. text)
  call('ZADD', orderKey, S[DEADNEXT], id)
  if isUnhandled then call('ZADD', unhandledKey, S[DEADNEXT], id) end
  lettersAdded = lettersAdded + 1
  while S[DEAD] > letterCapacity or S[DEADSIZE] > letterSize do
    removeLetter(call('ZRANGE', unhandledKey, 0, 0)[1] or call('ZRANGE', orderKey, 0, 0)[1])
    lettersDropped = lettersDropped + 1
  end
end
`
