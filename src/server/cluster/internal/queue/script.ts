/**
 * The script of the event queue: a turn of a node, or the end of one, in one step.
 */

import * as Script from "../../Script.ts"
import { claims } from "./claims.ts"
import { events } from "./events.ts"
import { letters } from "./letters.ts"
import { operations } from "./operations.ts"
import { plain } from "./plain.ts"
import { places, state } from "./state.ts"
import { dispatch, turn } from "./turn.ts"

// Each call creates its functions anew, which takes as long as some events do: those that most turns do not use come when one is called.
const seldom = `
setmetatable(Q, { __index = function(_, name)
  setmetatable(Q, nil)
  ${[letters, events, claims, operations].join("")}
  return Q[name]
end })
`

/** Run it with `Nodes.run`; its key is the base key, and its arguments are those of `codec.ts`. */
export const script = Script.fenced(
  [state, plain, turn, seldom, dispatch].join("").replace(/\b[A-Z]+\b/g, (word) => String(places[word] ?? word))
)

/**
 * Reads dead letters after a cursor: `KEYS` has their order and their texts, `ARGV` the cursor and how many. Returns pairs of id and
 * cursor, and the texts.
 */
export const lettersAfter = Script.make(`
local ids = redis.call('ZRANGE', KEYS[1], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
local texts = {}
for index = 1, #ids, 2 do texts[#texts + 1] = redis.call('HGET', KEYS[2], ids[index]) end
return { ids, texts }`)
