/**
 * The script of the event queue: a turn of a node, or the end of one, in one step.
 */

import * as Duration from "effect/Duration"
import type { Limits } from "../../../engine/SharedQueue.ts"
import * as Script from "../../Script.ts"
import { claims } from "./claims.ts"
import { events } from "./events.ts"
import { letters } from "./letters.ts"
import { operations } from "./operations.ts"
import { plain } from "./plain.ts"
import { names, places, state } from "./state.ts"
import { dispatch, turn } from "./turn.ts"

// Each call creates its functions anew, which takes as long as some events do: those that most turns do not use come when one is called.
const seldom = `
setmetatable(Q, { __index = function(_, name)
  setmetatable(Q, nil)
  ${[letters, events, claims, operations].join("")}
  return Q[name]
end })
`

/** What a number is that has no bound. */
const unbounded = 9e15

/** A number for the script, which knows none without a bound. */
export const bounded = (value: number): number => Math.min(value, unbounded)

/** The limits as the script has them. */
export const numbersOf = (limits: Limits): Readonly<Record<string, number>> => ({
  CAPACITY: limits.queueCapacity,
  MAXSIZE: limits.queueSize,
  MAXDELIVERIES: limits.maxDeliveries,
  FIRSTBACKOFF: Duration.toMillis(limits.redeliveryBackoff),
  RETENTION: Duration.toMillis(limits.lifecycleRetention),
  LETTERCAPACITY: limits.deadLetterCapacity,
  LETTERSIZE: limits.deadLetterSize
})

/** Makes the script with these limits of `numbersOf`. Run it with `Nodes.run`; its key is the base key, and its arguments are those of `codec.ts`. */
export const make = (limits: Readonly<Record<string, number>>): Script.Script => {
  const numbers = { ...places, ...limits }
  return Script.fenced(
    [names, state, plain, turn, seldom, dispatch].join("").replace(
      /\b[A-Z]+\b/g,
      (word) => Object.hasOwn(numbers, word) ? String(bounded(numbers[word]!)) : word
    )
  )
}

/**
 * Deletes all that the queue of a vhost has: its key is the base key. Nodes that do not know yet that the vhost is removed still take turns:
 * the last one that leaves deletes it. If that does not come it expires.
 */
export const removal = Script.fenced(`${names}
local keys, others = { Q.eventsKey, Q.marksKey, Q.delayedKey, Q.deadlinesKey, Q.nodesKey, Q.keysKey, Q.keyOfKey, Q.timesKey,
  Q.lettersKey, Q.orderKey, Q.unhandledKey, Q.newKey, Q.laneKey[1], Q.laneKey[2], Q.laneKey[3] }, false
for _, node in ipairs(call('HKEYS', Q.nodesKey)) do
  keys[#keys + 1] = Q.claimsKey .. node
  keys[#keys + 1] = Q.plainKey .. node
  keys[#keys + 1] = Q.mailKey .. node
  others = others or node ~= Q.self and call('ZSCORE', KEYS[1], node)
end
if not others then return call('UNLINK', unpack(keys)) end
for _, key in ipairs(keys) do call('EXPIRE', key, 3600) end
return 0`)

/**
 * Reads dead letters after a cursor: `KEYS` has their order and their texts, `ARGV` the cursor and how many. Returns pairs of id and
 * cursor, and the texts.
 */
export const lettersAfter = Script.make(`
local ids = redis.call('ZRANGE', KEYS[1], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
local texts = {}
for index = 1, #ids, 2 do texts[#texts + 1] = redis.call('HGET', KEYS[2], ids[index]) end
return { ids, texts }`)
