/**
 * The broker's events that a worker has, over all its connections.
 *
 * When a connection ends the broker redelivers what was not acknowledged on it, here or elsewhere. So events that no handler
 * has begun are dropped here. If an event comes back whose handler is still at work, that handler settles it on the new
 * connection; if its handler has ended well, and the broker has not received that, it is acknowledged again.
 */

import { format } from "effect/Formatter"
import * as Predicate from "effect/Predicate"
import { FromClient } from "../../protocol/Command.ts"
import type { Delivery } from "../../protocol/Trigger.ts"

/** An event that is the broker's until it is acknowledged. */
export interface Delivered extends Delivery {
  /** Begins to handle it; `false` says not to, since its connection has ended. */
  readonly beginUnsafe: () => boolean
  readonly acknowledgeUnsafe: () => void
  /** Its handler has failed with this error. The reason that the broker receives begins with the error's tag. */
  readonly nackUnsafe: (error: unknown) => void
  /** Returns it unhandled. */
  readonly releaseUnsafe: () => void
  /** Releases it at the next heartbeat: at once it would come at once, again and again. */
  readonly releaseLaterUnsafe: () => void
}

/** The way to the broker that a delivery came from. What is sent on one that has ended is dropped. */
export interface Way {
  readonly sendUnsafe: (command: FromClient) => void
  readonly hasEnded: () => boolean
}

/** The deliveries of a worker. */
export interface Deliveries {
  /** One has arrived; `undefined` says that nothing is to be done for it. */
  readonly arrivedUnsafe: (delivery: Delivery, way: Way) => Delivered | undefined
  /** Releases what was to be released later. */
  readonly releaseUnsafe: () => void
  /** Releases it, too, and from now on everything at once. */
  readonly pauseUnsafe: () => void
  /** Releases everything that handlers have begun. How those handlers end is not reported. */
  readonly abandonUnsafe: () => void
}

/**
 * None yet. On one connection at most `prefetch` are not acknowledged, and acknowledgements arrive in order: those that the
 * broker may not have received are among the last so many.
 */
export const make = (prefetch: number): Deliveries => {
  const begun = new Map<string, { way: Way }>()
  const handled = new Set<string>()
  let later: Array<() => void> = []
  let paused = false
  let abandoned = false

  const remember = (id: string) => {
    handled.add(id)
    if (handled.size <= prefetch) return
    for (const oldest of handled) {
      handled.delete(oldest)
      return
    }
  }
  const releaseDueUnsafe = () => {
    const due = later
    later = []
    for (const release of due) release()
  }

  return {
    releaseUnsafe: releaseDueUnsafe,
    pauseUnsafe: () => {
      paused = true
      releaseDueUnsafe()
    },
    abandonUnsafe: () => {
      releaseDueUnsafe()
      for (const [id, { way }] of begun) way.sendUnsafe(returned(id, ""))
      abandoned = true
    },
    arrivedUnsafe: (delivery, way) => {
      const { id } = delivery
      const atWork = begun.get(id)
      if (atWork !== undefined) {
        atWork.way = way
        return undefined
      }
      if (handled.has(id)) {
        way.sendUnsafe(acknowledgementOf(id))
        return undefined
      }
      const mine = { way }
      const end = (command: FromClient) => {
        begun.delete(id)
        if (!abandoned) mine.way.sendUnsafe(command)
      }
      const release = () => end(returned(id, ""))
      return {
        ...delivery,
        beginUnsafe: () => {
          if (way.hasEnded()) return false
          begun.set(id, mine)
          return true
        },
        acknowledgeUnsafe: () => {
          remember(id)
          end(acknowledgementOf(id))
        },
        nackUnsafe: (error) => end(returned(id, reasonOf(error))),
        releaseUnsafe: release,
        releaseLaterUnsafe: () => {
          if (paused) release()
          else later.push(release)
        }
      }
    }
  }
}

const acknowledgementOf = (id: string): FromClient => FromClient.Ack({ deliveries: [id] })

// A frame of classic TCP is a line, and a person reads it.
const returned = (delivery: string, reason: string): FromClient =>
  FromClient.Nack({ delivery, reason: reason.replace(/\s+/g, " ").slice(0, 500).toWellFormed() })

// It begins with the error's tag, or else its name. Never empty, which would say that nothing failed.
const reasonOf = (error: unknown): string => {
  if (typeof error === "string") return error || "it failed"
  if (!(error instanceof Error)) return format(error) || "it failed"
  return `${Predicate.hasProperty(error, "_tag") ? String(error._tag) : error.name}: ${error.message}`
}
