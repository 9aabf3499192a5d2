/**
 * The connections whose responses are cached, and which of them has been idle for longest.
 *
 * Responses of a connection that is idle for `retention` are removed. Beyond 10 000 connections the half of them that has been
 * idle for longest is evicted.
 */

import type * as Clock from "effect/Clock"
import * as Responses from "./responses.ts"
import * as Timeline from "./timeline.ts"

/** The connections of one vhost. */
export interface CachedConnections {
  readonly find: (id: string) => Responses.Responses | undefined
  /** Those of a connection, empty if it is new. */
  readonly get: (id: string) => Responses.Responses
  /** A request has arrived on this connection. */
  readonly use: (responses: Responses.Responses) => void
  /** The one with responses that has been idle for longest. */
  readonly idlest: () => Responses.Responses | undefined
  /** Removes the responses of one. */
  readonly clear: (responses: Responses.Responses) => void
}

/** How many connections are known. */
const maxConnections = 10_000

/** How often idle connections are looked for at most, in milliseconds. */
const sweepInterval = 1000

/** Knows no connection at first. `retention` is in milliseconds; `counters.cached` and `total` are updated. */
export const make = (
  clock: Clock.Clock,
  retention: number,
  counters: { cached: number },
  total: { length: number }
): CachedConnections => {
  const connections = new Map<string, Responses.Responses>()
  let sequence = 0
  let nextSweep = 0

  const clear = (responses: Responses.Responses) => {
    counters.cached -= Responses.clear(responses)
  }
  // Clears idle connections. The id of a connection's last message is known for longer than its responses, so that a retry
  // of a later message is known never to have arrived.
  const sweep = () => {
    const now = Timeline.nowOf(clock)
    if (now < nextSweep && connections.size < maxConnections) return
    nextSweep = now + Math.min(retention, sweepInterval)
    for (const responses of connections.values()) {
      if (responses.lastUsed !== responses.lastUsedAtSweep) {
        responses.lastUsedAtSweep = responses.lastUsed
        responses.idleSince = now
      } else if (now - responses.idleSince >= retention) clear(responses)
    }
    if (connections.size < maxConnections) return
    const byLastUse = [...connections].sort(([, one], [, other]) => one.lastUsed - other.lastUsed)
    for (const [id, responses] of byLastUse.slice(0, maxConnections / 2)) {
      clear(responses)
      responses.isEvicted = true
      connections.delete(id)
    }
  }
  return {
    find: (id) => connections.get(id),
    get: (id) => {
      const known = connections.get(id)
      if (known !== undefined) return known
      sweep()
      const responses = Responses.make(total)
      connections.set(id, responses)
      return responses
    },
    use: (responses) => {
      responses.lastUsed = ++sequence
    },
    idlest: makeIdlest(connections),
    clear
  }
}

// The list is sorted once and serves many times; connections that were used since then are skipped.
const makeIdlest = (connections: ReadonlyMap<string, Responses.Responses>): CachedConnections["idlest"] => {
  const byLastUse: Array<{ readonly responses: Responses.Responses; readonly lastUsed: number }> = []
  return () => {
    for (let isSorted = false;; isSorted = true) {
      for (let next = byLastUse.pop(); next !== undefined; next = byLastUse.pop()) {
        if (next.responses.lastUsed === next.lastUsed && Responses.sizeOf(next.responses) > 0) return next.responses
      }
      if (isSorted) return undefined
      for (const responses of connections.values()) {
        if (Responses.sizeOf(responses) > 0) byLastUse.push({ responses, lastUsed: responses.lastUsed })
      }
      byLastUse.sort((one, other) => other.lastUsed - one.lastUsed)
    }
  }
}
