/**
 * What a browser's connection does, as a state machine: it connects, authenticates, subscribes, sends calls, reconnects and
 * gives up. It has no socket, no clock, no randomness and no dependency. Two drivers run it: `kosmonaut/browser` and the
 * script.
 *
 * A driver gives inputs with the time and does what the outputs say:
 *
 * ```ts
 * const machine = Machine.make({ client: crypto.randomUUID(), hasToken: true })
 * const give = (input: Input) => {
 *   for (const output of Machine.step(machine, input, performance.now(), Math.random())) perform(output)
 * }
 * give({ _tag: "Connect" })
 * ```
 *
 * - Nothing is sent before the broker has sent `:connected`, nothing that needs a user before `:authenticated`.
 * - Every call ends exactly once, and within its timeout.
 * - Subscriptions converge to what the user wants, whatever the broker and the connection do.
 * - There is one timer. After `Close` there is none.
 * - The same inputs give the same outputs. A step changes the machine in place and nothing else, and never throws.
 */

import type { Input } from "./input.ts"
import * as Options from "./options.ts"
import type { ConnectionState, Output, SubscriptionState } from "./output.ts"
import type { Member } from "./presence.ts"

/** A machine. What it holds is its own. */
export interface Machine {
  readonly options: Options.Complete
  state: ConnectionState
}

/** Makes a machine that is `Idle`. */
export const make = (options: Options.Options): Machine => ({
  options: Options.complete(options),
  state: { _tag: "Idle" }
})

/**
 * Takes one input. `now` is the time in milliseconds of a clock that never goes back, `random` a new random number of [0, 1).
 * Gives what is to be done, in order.
 */
export const step = (_machine: Machine, _input: Input, _now: number, _random: number): ReadonlyArray<Output> => []

/** The state of the connection. */
export const connectionState = (machine: Machine): ConnectionState => machine.state

/** The state of a subscription; `Unsubscribed` if nobody wants it. */
export const subscriptionState = (_machine: Machine, _channel: string): SubscriptionState => ({ _tag: "Unsubscribed" })

/**
 * The members of a presence channel, in the order in which they joined; empty until the list is complete. The same array until
 * they change.
 */
export const members = (_machine: Machine, _channel: string): ReadonlyArray<Member> => []
