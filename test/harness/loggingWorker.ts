/** A worker that records what it is given. */
import { Effect } from "effect"
import type { Worker } from "../../src/server/engine/Lobby.ts"

/** A worker that handles each event at once, and whose dismissal is recorded, too. */
export const loggingWorker = (id: string, log: Array<string>): Worker => ({
  id,
  connection: {},
  lifecycle: false,
  prefetch: undefined,
  maxAttempts: 1,
  deliverUnsafe: (json, _origin, settled) => {
    log.push(json)
    settled(true)
  },
  heartbeatUnsafe: () => {},
  dismiss: Effect.sync(() => void log.push(`dismissed ${id}`))
})
