/**
 * What a worker has of the broker's events, over all its connections.
 *
 * When a connection ends the broker hands out again what was not acknowledged on it, here or elsewhere. So what no handler
 * has begun is nobody's here any more. Where an event comes back whose handler is still at work, that handler speaks for
 * it from then on; where its handler has ended well, and the broker has not heard of it, it is told again.
 */

import { FromClient } from "../../protocol/Command.ts"
import type { Delivery } from "../../protocol/Trigger.ts"

/** An event that is the broker's until it is acknowledged. */
export interface Delivered extends Delivery {
  /** Begins to handle it; `false` says not to, since its connection has gone. */
  readonly beginUnsafe: () => boolean
  readonly acknowledgeUnsafe: () => void
  /** Gives it back, for whoever is next; with a reason where its handler failed. */
  readonly giveBackUnsafe: (reason: string) => void
  /** Gives it back at the next heartbeat: at once it would come at once, again and again. */
  readonly giveBackLaterUnsafe: () => void
}

/** The way to the broker that a delivery came from. What is said on one that has gone is for nobody. */
export interface Way {
  readonly sayUnsafe: (command: FromClient) => void
  readonly hasGone: () => boolean
}

/** The deliveries of a worker. */
export interface Deliveries {
  /** One has arrived; `undefined` says that nothing is to be done for it. */
  readonly arrivedUnsafe: (delivery: Delivery, way: Way) => Delivered | undefined
  /** Gives back what was to be given back later. */
  readonly giveBackUnsafe: () => void
  /** Gives it back, too, and from now on everything at once. */
  readonly pauseUnsafe: () => void
}

/**
 * None yet. On one connection at most `prefetch` are not acknowledged, and acknowledgements arrive in order: what the
 * broker may not have heard of is among the last so many.
 */
export const make = (prefetch: number): Deliveries => {
  const begun = new Map<string, { way: Way }>()
  const handled = new Set<string>()
  let later: Array<() => void> = []
  let paused = false

  const remember = (id: string) => {
    handled.add(id)
    if (handled.size <= prefetch) return
    for (const oldest of handled) {
      handled.delete(oldest)
      return
    }
  }
  const giveBackUnsafe = () => {
    const due = later
    later = []
    for (const giveBack of due) giveBack()
  }

  return {
    giveBackUnsafe,
    pauseUnsafe: () => {
      paused = true
      giveBackUnsafe()
    },
    arrivedUnsafe: (delivery, way) => {
      const { id } = delivery
      const atWork = begun.get(id)
      if (atWork !== undefined) {
        atWork.way = way
        return undefined
      }
      if (handled.has(id)) {
        way.sayUnsafe(acknowledgementOf(id))
        return undefined
      }
      const mine = { way }
      const end = (command: FromClient) => {
        begun.delete(id)
        mine.way.sayUnsafe(command)
      }
      const giveBack = (reason: string) => end(FromClient.Return({ delivery: id, reason: oneLine(reason) }))
      return {
        ...delivery,
        beginUnsafe: () => {
          if (way.hasGone()) return false
          begun.set(id, mine)
          return true
        },
        acknowledgeUnsafe: () => {
          remember(id)
          end(acknowledgementOf(id))
        },
        giveBackUnsafe: giveBack,
        giveBackLaterUnsafe: () => {
          if (paused) giveBack("")
          else later.push(() => giveBack(""))
        }
      }
    }
  }
}

const acknowledgementOf = (id: string): FromClient => FromClient.Acknowledge({ deliveries: [id] })

// A frame of classic TCP is a line, and a person reads it.
const oneLine = (reason: string): string => reason.replace(/\s+/g, " ").slice(0, 500).toWellFormed()
