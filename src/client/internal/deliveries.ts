/**
 * The unacknowledged events of a worker, over all its connections.
 *
 * When a connection ends, the broker redelivers its unacknowledged events, here or elsewhere, so events that no handler has begun
 * are dropped. If an event is redelivered whose handler is still running, that handler settles it on the new connection. If its
 * handler has succeeded and the ack or the response was lost, that is sent again. At most 1 MiB of responses is
 * cached for that: the oldest are dropped, and their handlers run again.
 */

import { format } from "effect/Formatter"
import * as Predicate from "effect/Predicate"
import { FromClient } from "../../protocol/Command.ts"
import * as SizedMap from "../../protocol/SizedMap.ts"
import { TransientMap } from "../../protocol/TransientMap.ts"
import type { Delivery } from "../../protocol/Trigger.ts"

/** An event that must be acknowledged. */
export interface Delivered extends Delivery {
  /** Begins to handle it; `false` if it must not be handled, because its connection has ended. */
  readonly beginUnsafe: () => boolean
  readonly acknowledgeUnsafe: () => void
  /** Responds to a request, which acknowledges it. */
  readonly respondUnsafe: (outcome: "ok" | "error", json: string) => void
  /** Its handler has failed with this error. The reason that the broker receives begins with the error's tag. */
  readonly nackUnsafe: (error: unknown) => void
  /** Returns it unhandled. */
  readonly releaseUnsafe: () => void
  /** Releases it at the next heartbeat. An immediate release would be redelivered immediately, in a loop. */
  readonly releaseLaterUnsafe: () => void
}

/** The connection of a delivery. What is sent on it after its end is dropped. */
export interface Way {
  readonly sendUnsafe: (command: FromClient) => void
  readonly hasEnded: () => boolean
}

/** The deliveries of a worker. */
export interface Deliveries {
  /** An event was delivered; `undefined` if it need not be handled. */
  readonly arrivedUnsafe: (delivery: Delivery, way: Way) => Delivered | undefined
  /** Releases the events of `releaseLaterUnsafe`. */
  readonly releaseUnsafe: () => void
  /** The same, and later releases are immediate. */
  readonly pauseUnsafe: () => void
  /** Releases all events whose handlers are running. The outcome of those handlers is not reported. */
  readonly abandonUnsafe: () => void
}

/**
 * Makes it without events. At most `prefetch` events are unacknowledged on one connection, and acks arrive in order. So only
 * the last `prefetch` acks can have been lost.
 */
export const make = (prefetch: number): Deliveries => {
  const state: State = {
    prefetch,
    begun: new TransientMap(),
    handled: SizedMap.make(sizeOf),
    later: makeLater(),
    isAbandoned: false
  }
  const { begun, handled, later } = state

  return {
    releaseUnsafe: later.releaseUnsafe,
    pauseUnsafe: later.pauseUnsafe,
    abandonUnsafe: () => {
      later.releaseUnsafe()
      for (const [id, { way }] of begun) way.sendUnsafe(nackOf(id, ""))
      state.isAbandoned = true
    },
    arrivedUnsafe: (delivery, way) => {
      const { id } = delivery
      const running = begun.get(id)
      if (running !== undefined) {
        running.way = way
        return undefined
      }
      const sent = handled.entries.get(id)
      if (sent !== undefined) {
        way.sendUnsafe(sent)
        return undefined
      }
      return new Held(state, delivery, way)
    }
  }
}

interface State {
  readonly prefetch: number
  /** The events whose handlers are running, by their ids. */
  readonly begun: TransientMap<string, Held>
  /** What was sent, by event id. It is sent again if the event is redelivered, because then it was lost. */
  readonly handled: SizedMap.SizedMap<FromClient>
  readonly later: ReturnType<typeof makeLater>
  /** Whether the outcome of running handlers is not reported any more. */
  isAbandoned: boolean
}

// A class, since every event has one: its functions are made once.
class Held implements Delivered {
  readonly id: string
  readonly attempt: number
  readonly state: State
  way: Way
  constructor(state: State, { attempt, id }: Delivery, way: Way) {
    this.id = id
    this.attempt = attempt
    this.state = state
    this.way = way
  }
  beginUnsafe(): boolean {
    if (this.way.hasEnded()) return false
    this.state.begun.set(this.id, this)
    return true
  }
  acknowledgeUnsafe(): void {
    this.succeed(ackOf(this.id))
  }
  respondUnsafe(outcome: "ok" | "error", json: string): void {
    this.succeed({ _tag: "Respond", delivery: this.id, outcome, json })
  }
  nackUnsafe(error: unknown): void {
    this.end(nackOf(this.id, reasonOf(error)))
  }
  releaseUnsafe(): void {
    this.end(nackOf(this.id, ""))
  }
  releaseLaterUnsafe(): void {
    this.state.later.addUnsafe(() => this.releaseUnsafe())
  }
  private succeed(command: FromClient): void {
    const { handled, prefetch } = this.state
    handled.set(this.id, command)
    while (handled.entries.size > prefetch || handled.size() > maxSize) handled.removeOldest()
    this.end(command)
  }
  private end(command: FromClient): void {
    this.state.begun.delete(this.id)
    if (!this.state.isAbandoned) this.way.sendUnsafe(command)
  }
}

// Releases that wait for the next heartbeat.
const makeLater = () => {
  let waiting: Array<() => void> = []
  let isPaused = false
  const releaseUnsafe = () => {
    const due = waiting
    waiting = []
    for (const release of due) release()
  }
  return {
    addUnsafe: (release: () => void) => {
      if (isPaused) release()
      else waiting.push(release)
    },
    releaseUnsafe,
    pauseUnsafe: () => {
      isPaused = true
      releaseUnsafe()
    }
  }
}

/** How many characters the responses that may be sent again may have together. */
const maxSize = 1_048_576

const sizeOf = (command: FromClient): number => command._tag === "Respond" ? command.json.length : 0

const ackOf = (id: string): FromClient => FromClient.Ack({ deliveries: [id] })

// One line, as classic TCP needs it, and short enough for a person.
const nackOf = (delivery: string, reason: string): FromClient =>
  FromClient.Nack({ delivery, reason: reason.replace(/\s+/g, " ").slice(0, 500).toWellFormed() })

// It begins with the error's tag or name. It is never empty, because an empty reason means a release.
const reasonOf = (error: unknown): string => {
  if (typeof error === "string") return error || "it failed"
  if (!(error instanceof Error)) return format(error) || "it failed"
  return `${Predicate.hasProperty(error, "_tag") ? String(error._tag) : error.name}: ${error.message}`
}
