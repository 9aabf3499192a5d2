/**
 * Who the browser is. On each connection a token is fetched, since a single access token is used up, and sent; meanwhile what needs a
 * user waits. If the authentication ends, another token is fetched and sent when 80 % of its time are over; meanwhile everything
 * goes on, but for calls while the broker has not responded to the token: they are to be sent by a user that is known.
 *
 * If no token can be fetched, or the broker rejects it, another one is fetched. If that fails too, what waits fails, so
 * that nothing is stuck, and it is tried again after a backoff.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import * as Backoff from "./backoff.ts"
import * as Calls from "./calls.ts"
import * as Failure from "./failure.ts"
import type { Token } from "./input.ts"
import { anonymous, emit, type Machine, send, setState, version, wake } from "./state.ts"
import * as Subscriptions from "./subscriptions.ts"

/** Begins on a new connection. */
export const start = (machine: Machine): void => {
  machine.authentication = anonymous(machine.authentication.fetch)
  if (machine.options.hasToken) fetch(machine)
}

/** Somebody needs a user: tries again, if it has failed and the backoff is over. */
export const demand = (machine: Machine): void => {
  const { by, phase } = machine.authentication
  if (phase === "failed" && by <= machine.now) fetch(machine)
}

/** A token was fetched; `undefined` if nobody is logged in. */
export const fetched = (machine: Machine, number: number, token: Token | undefined): void => {
  if (!isFetching(machine, number)) return
  // Pages without types return anything.
  const jwt = (token as { readonly jwt?: string } | null | undefined)?.jwt
  if (!(jwt ?? token)) return fail(machine, noUser, false)
  machine.authentication.phase = "sent"
  machine.authentication.unanswered++
  waitForResponse(machine)
  const client = version(machine) === 1 ? machine.options.client : undefined
  const shown = jwt === undefined ? { token: String(token as string) } : { jwt: String(jwt) }
  send(machine, "auth", JSON.stringify({ ...shown, client }))
}

/** No token could be fetched. */
export const notFetched = (machine: Machine, number: number, message: string): void => {
  if (isFetching(machine, number)) failOnce(machine, Failure.make("UnauthorizedError", message), true)
}

/** `:authenticated`. One that comes late is as good. */
export const authenticated = (machine: Machine, { channels, expiresIn, uid: user }: JsonObject): void => {
  const { authentication, state } = machine
  const { isUser, uid: before } = authentication
  if (!isAnswered(machine) || state._tag !== "Connected") return
  const uid = typeof user === "string" ? user : undefined
  authentication.phase = "done"
  authentication.by = typeof expiresIn === "number" && expiresIn >= 0 ? machine.now + renewalOf(expiresIn) : Infinity
  wake(machine, authentication.by)
  authentication.failures = 0
  authentication.isUser = true
  authentication.uid = uid
  if (machine.uid !== undefined && machine.uid !== uid) Subscriptions.forgetInbox(machine)
  machine.uid = uid
  if (!isUser || uid !== before) {
    setState(machine, { ...state, isAuthenticated: true, ...uid !== undefined && { uid } })
  }
  if (isUser && uid !== before) {
    Calls.loseRequests(machine)
    Subscriptions.lose(machine)
  }
  Subscriptions.convergeAgain(machine, channels)
}

// Without a timer that is longer or shorter than platforms and backends bear, whatever the broker says.
const renewalOf = (expiresIn: number): number => Math.min(Math.max(0.8 * expiresIn, minRenewal), maxRenewal)

/** `:error` of `auth`: the token was rejected. `false` if none was sent. */
export const rejected = (machine: Machine, failure: Failure.Failure): boolean => {
  const isExpected = isAnswered(machine)
  if (isExpected && machine.authentication.phase === "sent") failOnce(machine, failure, false)
  return isExpected
}

/** Does what was to be done by now: gives up waiting, or tries again. */
export const expire = (machine: Machine): void => {
  const { authentication, now } = machine
  const { by, isRetried, phase } = authentication
  if (by > now) return wake(machine, by)
  if (phase === "waiting" || phase === "done" || (phase === "failed" && isRetried)) fetch(machine)
  else if (phase === "fetching" || phase === "sent") {
    failOnce(machine, Failure.make("UnauthorizedError", "there was no token, or no response to it, in time"), true)
  }
}

// Takes a response to a token. `false` if none is expected.
const isAnswered = (machine: Machine): boolean => {
  if (machine.authentication.unanswered === 0) return false
  machine.authentication.unanswered--
  machine.mayCallsGoOn = true
  return true
}

const isFetching = ({ authentication }: Machine, number: number): boolean =>
  authentication.phase === "fetching" && authentication.fetch === number

const fetch = (machine: Machine): void => {
  const { authentication } = machine
  authentication.phase = "fetching"
  authentication.fetch++
  waitForResponse(machine)
  emit(machine, { _tag: "FetchToken", fetch: authentication.fetch })
}

const waitForResponse = (machine: Machine): void => {
  machine.authentication.by = machine.now + machine.options.connectTimeout
  wake(machine, machine.authentication.by)
}

// The first failure fails nothing that waits: a token may have expired on its way.
const failOnce = (machine: Machine, failure: Failure.Failure, isDelayed: boolean): void => {
  const { authentication } = machine
  emit(machine, { _tag: "Error", failure })
  if (authentication.failures > 0) return fail(machine, failure, true)
  if (isDelayed) retryLater(machine, "waiting")
  else {
    authentication.failures++
    fetch(machine)
  }
}

const fail = (machine: Machine, failure: Failure.Failure, isRetried: boolean): void => {
  machine.authentication.failure = failure
  machine.authentication.isRetried = isRetried
  retryLater(machine, "failed")
  Subscriptions.convergeAll(machine)
  machine.mayCallsGoOn = true
}

const retryLater = (machine: Machine, phase: "waiting" | "failed"): void => {
  const { authentication } = machine
  authentication.phase = phase
  authentication.by = machine.now + Backoff.delay(machine.options, authentication.failures++, machine.random())
  wake(machine, authentication.by)
}

/** How soon and how late an authentication is renewed, in milliseconds. */
const minRenewal = 500
const maxRenewal = 2_000_000_000

const noUser = Failure.make("UnauthorizedError", "nobody is logged in: there is no token")
