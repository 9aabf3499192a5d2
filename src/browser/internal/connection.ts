/**
 * Connects, reconnects after a backoff, and gives up a broker that is no longer there.
 *
 * The broker is asked for a sign of life if nothing was received for an interval. Hints, of the network or of somebody who looks, make this
 * and the next attempt sooner. They decide nothing: a browser that calls itself offline may be connected.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import * as Authentication from "./authentication.ts"
import * as Backoff from "./backoff.ts"
import * as Calls from "./calls.ts"
import * as Failure from "./failure.ts"
import { alive, anonymous, emit, type Machine, send, setState, version, wake } from "./state.ts"
import * as Subscriptions from "./subscriptions.ts"

/** The user wants to connect. */
export const start = (machine: Machine): void => {
  const { state: { _tag } } = machine
  if (_tag !== "Idle" && _tag !== "Closed") return
  machine.attempts = 0
  if (_tag === "Closed") Subscriptions.lose(machine)
  connect(machine)
}

/** The user wants no connection. */
export const stop = (machine: Machine): void => {
  const { state: { _tag } } = machine
  if (_tag === "Connecting" || _tag === "Connected") disconnect(machine, 1000)
  if (_tag !== "Closed") close(machine, 1000, "")
}

/** `:connected`. */
export const connected = (machine: Machine, { pingInterval, sid, v }: JsonObject): void => {
  if (machine.state._tag !== "Connecting" || typeof sid !== "string") return
  const { now, options } = machine
  machine.connectBy = Infinity
  machine.connectedAt = now
  const interval = typeof pingInterval === "number" && pingInterval > 0 ? pingInterval : options.pingInterval
  const bounded = Math.min(Math.max(interval, minPingInterval), maxPingInterval)
  machine.liveness = alive(v === 1 ? bounded : Infinity, now)
  wake(machine, now + machine.liveness.interval)
  setState(machine, { _tag: "Connected", sid, version: v === 1 ? 1 : 0, isAuthenticated: false })
  Authentication.start(machine)
  Subscriptions.convergeAll(machine)
  machine.mayCallsGoOn = true
}

/** Something was received. */
export const received = ({ liveness, now }: Machine): void => {
  liveness.receivedAt = now
  liveness.respondBy = Infinity
  liveness.isExtended = false
}

/** The connection has ended. */
export const ended = (machine: Machine, code: number, reason: string): void => {
  const { state: { _tag } } = machine
  if (_tag === "Connecting" || _tag === "Connected") lose(machine, code, reason)
}

/** The network or a person came or went. */
export const hint = (machine: Machine, kind: "online" | "offline" | "visible"): void => {
  const { liveness, now, options: { minBackoff }, random, state } = machine
  if (state._tag === "Waiting" && kind !== "offline") {
    const until = now + random() * minBackoff
    if (until >= state.until) return
    setState(machine, { ...state, until })
    wake(machine, until)
  } else if (version(machine) === 1) {
    const by = now + Math.min(hintTimeout, liveness.interval / 2)
    if (liveness.respondBy === Infinity) ping(machine, by)
    else if (by < liveness.respondBy) respondBy(machine, by)
  }
}

/** Does what was to be done by now. */
export const expire = (machine: Machine): void => {
  const { connectBy, now, state } = machine
  if (state._tag === "Connecting") {
    if (connectBy > now) return wake(machine, connectBy)
    giveUp(machine, "the connection could not be opened in time")
  } else if (state._tag === "Waiting") {
    if (state.until > now) return wake(machine, state.until)
    connect(machine)
  } else if (version(machine) === 1) checkLiveness(machine)
}

const checkLiveness = (machine: Machine): void => {
  const { liveness, now } = machine
  const { interval, isExtended, receivedAt } = liveness
  if (liveness.respondBy <= now) {
    // If this side was paused, the response may have arrived meanwhile and is read next.
    if (isExtended || now - liveness.respondBy < interval / 4) return giveUp(machine, "the broker does not respond")
    ping(machine, now + interval / 2)
    liveness.isExtended = true
  } else if (liveness.respondBy === Infinity && receivedAt + interval <= now) {
    ping(machine, now + interval / 2)
  } else wake(machine, liveness.respondBy === Infinity ? receivedAt + interval : liveness.respondBy)
}

const ping = (machine: Machine, by: number): void => {
  send(machine, "ping", "{}")
  respondBy(machine, by)
}

const respondBy = (machine: Machine, by: number): void => {
  machine.liveness.respondBy = by
  wake(machine, by)
}

const connect = (machine: Machine): void => {
  machine.connection++
  machine.unwanted = 0
  machine.connectBy = machine.now + machine.options.connectTimeout
  wake(machine, machine.connectBy)
  setState(machine, { _tag: "Connecting", attempt: machine.attempts })
  emit(machine, { _tag: "Connect", connection: machine.connection })
}

const giveUp = (machine: Machine, reason: string): void => {
  disconnect(machine, 4000)
  lose(machine, lost, reason)
}

const disconnect = (machine: Machine, code: 1000 | 4000): void => {
  machine.messages = []
  emit(machine, { _tag: "Disconnect", code })
}

const lose = (machine: Machine, code: number, reason: string): void => {
  if (isFinal(code)) return close(machine, code, reason)
  const { connectedAt, now, options, state: { _tag } } = machine
  if (_tag === "Connected" && now - connectedAt >= options.stableAfter) machine.attempts = 0
  machine.messages = []
  Calls.lose(machine, code === tooLarge)
  machine.authentication = anonymous(machine.authentication.fetch)
  const until = now + Backoff.delay(options, machine.attempts, machine.random())
  machine.attempts++
  wake(machine, until)
  setState(machine, { _tag: "Waiting", attempt: machine.attempts, until, code, reason })
  Subscriptions.lose(machine)
}

const close = (machine: Machine, code: number, reason: string): void => {
  const failure = Failure.closed({ code, reason })
  machine.messages = []
  machine.authentication = anonymous(machine.authentication.fetch)
  setState(machine, { _tag: "Closed", code, reason })
  Calls.failAll(machine, failure)
  Subscriptions.lose(machine, failure)
}

// 1000 and 1005, which somebody wanted, and 4400 to 4499, with which the broker says that reconnecting cannot help. A browser comes
// back after all others, those that it does not know among them.
const isFinal = (code: number): boolean => code === 1000 || code === 1005 || (code >= 4400 && code < 4500)

/** The code that stands for a connection that was lost, or could not be opened, and that of one whose message was too large. */
const lost = 1006
const tooLarge = 1009

/** The limits of the ping interval, in milliseconds, whatever the broker says: no timer of a platform may be much longer. */
const minPingInterval = 100
const maxPingInterval = 3_600_000

/** How long the broker may take to respond after a hint, in milliseconds. */
const hintTimeout = 5000
