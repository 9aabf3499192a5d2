/**
 * What the user sends and wants to be confirmed: triggers, requests, broadcasts and updates. Each ends exactly once, within its timeout.
 *
 * A call waits until it may be sent. If the connection is lost after that, a trigger or a request of an authenticated browser is
 * sent again with its number, by which the broker knows it, and so is an update, which is safe to repeat; any other call may have
 * happened, and fails.
 */

import * as Failure from "./failure.ts"
import type { Call } from "./input.ts"
import type { CallResult } from "./output.ts"
import { emit, type Machine, type Pending, send, type Subscription, version, wake } from "./state.ts"

/** Takes a call, and sends it if it may be sent. */
export const make = (machine: Machine, call: Call): void => {
  const { options: { callTimeout, maxCallBytes, maxCalls }, state } = machine
  if (machine.calls.has(call.call)) return
  const { channel = "", data, dedupeKey = "", event, timeout = callTimeout } = call
  const bytes = overhead + 2 * (data.length + event.length + channel.length + dedupeKey.length)
  const pending: Pending = {
    ...call,
    bytes,
    deadline: machine.now + (timeout >= 0 ? Math.min(timeout, maxTimeout) : 0),
    isSent: false,
    sent: undefined
  }
  if (state._tag === "Closed") return fail(machine, pending, Failure.closed(state))
  if (machine.calls.size >= maxCalls || machine.callBytes + bytes > maxCallBytes) {
    return fail(machine, pending, Failure.make("TooManyCallsError", "too many calls are pending"))
  }
  machine.calls.set(call.call, pending)
  machine.callBytes += bytes
  wake(machine, pending.deadline)
  trySend(machine, pending)
}

/** Ends a call that the user no longer wants. */
export const cancel = (machine: Machine, number: number): void => {
  const call = machine.calls.get(number)
  if (call === undefined) return
  if (call.isSent && call.kind === "request") send(machine, "cancel", JSON.stringify({ id: number }))
  end(machine, call, { _tag: "Cancelled" })
}

/** `:triggered`, `:updated` and `:response`: a call has succeeded, or a request's handler has failed as it declared. */
export const respond = (machine: Machine, id: unknown, { data = null, error }: CallResponse): void => {
  const call = machine.calls.get(id as number)
  if (call === undefined) return
  const subscription = call.kind === "update" ? machine.subscriptions.get(call.channel!) : undefined
  // What it subscribes with from now on.
  if (subscription !== undefined) subscription.data = call.data
  end(machine, call, error === undefined ? { _tag: "Success", data } : { _tag: "Declared", error })
}

/** What `:response` has. */
export interface CallResponse {
  readonly data?: unknown
  readonly error?: unknown
}

/** `:error` with an id. `false` if it belongs to no call. */
export const reject = (machine: Machine, id: unknown, failure: Failure.Failure): boolean => {
  const call = machine.calls.get(id as number)
  if (call !== undefined) fail(machine, call, failure)
  return call !== undefined
}

/** At the end of the step: sends all that may be sent now, in order, and fails what never can. */
export const sendAll = (machine: Machine): void => {
  if (!machine.mayCallsGoOn) return
  machine.mayCallsGoOn = false
  for (const call of machine.calls.values()) {
    if (!call.isSent) trySend(machine, call)
  }
}

/** The connection is lost. `isTooLarge`: because of a message of ours, which was the largest in flight. */
export const lose = (machine: Machine, isTooLarge: boolean): void => {
  const inFlight = [...machine.calls.values()].filter(({ isSent }) => isSent)
  const largest = isTooLarge && inFlight.length > 0 ? inFlight.reduce((a, b) => b.bytes > a.bytes ? b : a) : undefined
  if (largest) {
    fail(machine, largest, Failure.make("MessageTooLargeError", "the message is larger than the broker accepts", 1009))
  }
  const isRemembered = version(machine) === 1 && machine.authentication.isUser
  for (const call of inFlight) {
    if (call === largest) continue
    call.isSent = false
    if (call.kind === "broadcast" || (call.kind !== "update" && !isRemembered)) fail(machine, call, connectionLost)
  }
}

/** There is another user: the broker sends no responses to what the last one has requested. */
export const loseRequests = (machine: Machine): void => {
  for (const call of machine.calls.values()) {
    if (call.isSent && call.kind === "request") fail(machine, call, connectionLost)
  }
}

/** Ends all calls: the connection is closed. */
export const failAll = (machine: Machine, failure: Failure.Failure): void => {
  for (const call of machine.calls.values()) fail(machine, call, failure)
}

/** Ends the calls whose time is over. */
export const expire = (machine: Machine): void => {
  for (const call of machine.calls.values()) {
    if (call.deadline > machine.now) {
      wake(machine, call.deadline)
      continue
    }
    const wasSent = call.sent !== undefined
    const may = wasSent ? "it was sent, and may have happened" : "it was not sent"
    const failure = Failure.make("RequestTimeoutError", `there was no response in time; ${may}`)
    fail(machine, call, { ...failure, wasSent })
  }
}

const trySend = (machine: Machine, call: Pending): void => {
  const known = version(machine)
  if (known === undefined) return
  const { kind } = call
  const obstacle = known === 0 && (kind === "request" || kind === "update")
    ? Failure.make("UnsupportedError", `the broker is too old for ${kind}s`)
    : isStale(machine, call, known)
    ? connectionLost
    : kind === "broadcast" || kind === "update"
    ? subscriptionOf(machine, call)
    : userOf(machine)
  if (obstacle === "wait") return
  if (obstacle) fail(machine, call, obstacle)
  else transmit(machine, call, known)
}

// Whether the broker may have forgotten this call, and would execute it again.
const isStale = ({ authentication, now }: Machine, { kind, sent }: Pending, version: 0 | 1): boolean =>
  sent !== undefined && kind !== "update" &&
  (version === 0 || now - sent.at > retention ||
    (authentication.isUser && sent.uid !== authentication.uid))

const userOf = ({ authentication, options }: Machine): Failure.Failure | "wait" | undefined => {
  const { failure, isUser, phase, unanswered } = authentication
  if (isUser) return unanswered > 0 ? "wait" : undefined
  if (!options.hasToken) return Failure.noToken
  return phase === "failed" ? failure : "wait"
}

const subscriptionOf = (
  { subscriptions }: Machine,
  { channel = "", kind }: Pending
): Failure.Failure | "wait" | undefined => {
  const { count, phase, state }: Partial<Subscription> = subscriptions.get(channel) ?? {}
  return !count
    ? Failure.make("NotSubscribedError", `this needs a subscription: subscribe to ${channel} first`)
    : phase === "on" || (phase === "sent" && kind === "broadcast")
    ? undefined
    : state?._tag === "Failed"
    ? state.failure
    : "wait"
}

const transmit = (machine: Machine, call: Pending, version: 0 | 1): void => {
  const { call: id, channel, data, deadline, dedupeKey, event, kind, traceparent } = call
  const head = JSON.stringify({
    channel,
    event: event || undefined,
    ...version === 1 && { id, dedupeKey, traceparent },
    timeout: kind === "request" ? Math.max(1, Math.ceil(deadline - machine.now)) : undefined
  })
  send(machine, kind, `${head.slice(0, -1)},"data":${data}}`)
  call.isSent = true
  call.sent = { at: machine.now, uid: machine.authentication.uid }
  // Such a broker confirms nothing.
  if (version === 0) end(machine, call, { _tag: "Success", data: null })
}

const fail = (machine: Machine, call: Pending, failure: Failure.Failure): void =>
  end(machine, call, { _tag: "Failure", failure })

const end = (machine: Machine, call: Pending, result: CallResult): void => {
  if (machine.calls.delete(call.call)) machine.callBytes -= call.bytes
  emit(machine, { _tag: "Settle", call: call.call, result })
}

const connectionLost = Failure.make(
  "ConnectionLostError",
  "the connection or its user was lost; it was sent, and may have happened"
)

/** What a pending call takes beside its texts. */
const overhead = 256

/** No call may last longer, in milliseconds: the broker takes no request that does. */
const maxTimeout = 3_600_000

/** For how long a broker surely remembers a call, in milliseconds. */
const retention = 240_000
