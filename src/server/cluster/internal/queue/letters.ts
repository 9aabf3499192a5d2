/**
 * The part of the queue's script that keeps the dead letters: beyond the limits the oldest are dropped, those first that no worker
 * could decode or had a handler for.
 */

/** Goes after `state`. The text of a letter is its attempts, when it failed, its reason as JSON, and in the next line the event. */
export const letters = `
function Q.removeLetter(id)
  local text = call('HGET', Q.lettersKey, id)
  if not text then return nil end
  call('HDEL', Q.lettersKey, id)
  call('ZREM', Q.orderKey, id)
  call('ZREM', Q.unhandledKey, id)
  S[DEAD] = S[DEAD] - 1
  S[DEADSIZE] = S[DEADSIZE] - string.match(text, '^(%d+) ')
  return text
end

-- As a broker alone counts letters without other characters than those of ASCII.
function Q.sizeOf(reason, text)
  local _, _, ends = string.find(text, '\\n()')
  return 2 * (#text - ends + 1 + #reason - 2)
end

function Q.addLetter(id, attempts, reason, isUnhandled, text)
  local size = Q.sizeOf(reason, text)
  S[DEAD] = S[DEAD] + 1
  S[DEADSIZE] = S[DEADSIZE] + size
  S[DEADNEXT] = S[DEADNEXT] + 1
  call('HSET', Q.lettersKey, id, size .. ' ' .. attempts .. ' ' .. Q.now .. ' ' .. reason .. '\\n' .. text)
  call('ZADD', Q.orderKey, S[DEADNEXT], id)
  if isUnhandled then call('ZADD', Q.unhandledKey, S[DEADNEXT], id) end
  Q.lettersAdded = Q.lettersAdded + 1
  while S[DEAD] > LETTERCAPACITY or S[DEADSIZE] > LETTERSIZE do
    Q.removeLetter(call('ZRANGE', Q.unhandledKey, 0, 0)[1] or call('ZRANGE', Q.orderKey, 0, 0)[1])
    Q.lettersDropped = Q.lettersDropped + 1
  end
end
`
