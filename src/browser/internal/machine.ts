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
 *   for (const output of Machine.step(machine, input, performance.now(), Math.random)) perform(output)
 * }
 * give({ _tag: "Connect" })
 * ```
 *
 * - Nothing is sent before the broker has sent `:connected`, nothing that needs a user before `:authenticated`.
 * - Every call ends exactly once, and within its timeout.
 * - Subscriptions converge to what the user wants, whatever the broker and the connection do.
 * - There is one timer, and no timer when the connection is closed.
 * - The same inputs give the same outputs. A step changes the machine in place and nothing else, and never throws.
 */

import * as Authentication from "./authentication.ts"
import * as Calls from "./calls.ts"
import * as Connection from "./connection.ts"
import type { Input } from "./input.ts"
import * as Messages from "./messages.ts"
import type { ConnectionState, Output, SubscriptionState } from "./output.ts"
import type { Member } from "./presence.ts"
import { emit, type Machine, version } from "./state.ts"
import * as Subscriptions from "./subscriptions.ts"

export { type Machine, make } from "./state.ts"

/**
 * Takes one input. `now` is the time in milliseconds of a clock that never goes back, `random` makes random numbers of [0, 1).
 * Gives what is to be done, in order.
 */
export const step = (machine: Machine, input: Input, now: number, random: () => number): ReadonlyArray<Output> => {
  machine.now = now
  machine.random = random
  machine.outputs = []
  take(machine, input)
  Calls.sendAll(machine)
  if (input._tag === "Call") flushSoon(machine)
  else if (!machine.isFlushDue) flush(machine)
  setTimer(machine)
  return machine.outputs
}

/** The state of the connection. */
export const connectionState = (machine: Machine): ConnectionState => machine.state

/** The state of a subscription; `Unsubscribed` if nobody wants it. */
export const subscriptionState = (machine: Machine, channel: string): SubscriptionState =>
  machine.subscriptions.get(channel)?.state ?? { _tag: "Unsubscribed" }

/** The members of a presence channel, in the order in which they joined; nobody until the list is complete. */
export const members = (machine: Machine, channel: string): ReadonlyArray<Member> => {
  const presence = machine.subscriptions.get(channel)?.presence
  return presence === undefined || presence.next !== undefined ? [] : [...presence.members.values()]
}

const take = (machine: Machine, input: Input): void => {
  switch (input._tag) {
    case "Message":
      if (input.connection !== machine.connection || !isOpen(machine)) return
      Connection.received(machine)
      return Messages.receive(machine, input.message)
    case "Closed":
      return input.connection === machine.connection ? Connection.ended(machine, input.code, input.reason) : undefined
    case "Timer":
      return expire(machine)
    case "TokenFetched":
      return Authentication.fetched(machine, input.fetch, input.token)
    case "TokenFailed":
      return Authentication.notFetched(machine, input.fetch, input.message)
    case "Hint":
      return Connection.hint(machine, input.hint)
    case "Connect":
      return Connection.start(machine)
    case "Flush":
      machine.isFlushDue = false
      return
    case "Close":
      flush(machine)
      return Connection.stop(machine)
    case "Subscribe":
      if (Subscriptions.needsUser(input.channel)) Authentication.demand(machine)
      return Subscriptions.subscribe(machine, input)
    case "Unsubscribe":
      return Subscriptions.unsubscribe(machine, input.channel)
    case "Call":
      if (input.kind !== "broadcast") Authentication.demand(machine)
      return Calls.make(machine, input)
    case "Cancel":
      return Calls.cancel(machine, input.call)
  }
}

const isOpen = ({ state: { _tag } }: Machine): boolean => _tag === "Connecting" || _tag === "Connected"

const expire = (machine: Machine): void => {
  machine.timer = Infinity
  machine.wakeAt = Infinity
  Calls.expire(machine)
  Connection.expire(machine)
  Authentication.expire(machine)
  Subscriptions.expire(machine)
}

// Who makes one call often makes several, also by several messages that have just arrived.
const flushSoon = (machine: Machine): void => {
  if (machine.messages.length === 0 || machine.isFlushDue) return
  machine.isFlushDue = true
  emit(machine, { _tag: "Flush" })
}

// One message for as many as the broker takes at once.
const flush = (machine: Machine): void => {
  const { messages } = machine
  if (messages.length === 0) return
  machine.messages = []
  const isBatched = version(machine) === 1
  let batch: Array<string> = []
  let length = 0
  const sendBatch = () => emit(machine, { _tag: "Send", text: batch.length === 1 ? batch[0]! : `[${batch.join(",")}]` })
  for (const message of messages) {
    if (
      batch.length > 0 && (!isBatched || batch.length === Messages.maxBatch || length + message.length > maxBatchLength)
    ) {
      sendBatch()
      batch = []
      length = 0
    }
    batch.push(message)
    length += message.length
  }
  sendBatch()
}

// On a closed connection nothing is waited for. (A call that is made before it was ever connected has a deadline.)
const setTimer = (machine: Machine): void => {
  const isIdle = !isOpen(machine) && machine.state._tag !== "Waiting" && machine.calls.size === 0
  const at = isIdle ? Infinity : machine.wakeAt
  machine.wakeAt = at
  if (at === machine.timer) return
  machine.timer = at
  emit(machine, at === Infinity ? { _tag: "ClearTimer" } : { _tag: "SetTimer", at })
}

/** How many characters of messages are sent at once, so that a batch stays far below the size that a message may have. */
const maxBatchLength = 65_536
