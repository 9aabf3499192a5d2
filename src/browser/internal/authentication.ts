/**
 * Who the browser is. On each connection a single access token is fetched, since it is used up, and sent; meanwhile what needs a
 * user waits.
 *
 * If no token can be fetched, or the broker rejects it, another one is fetched. If that fails too, what waits fails, so
 * that nothing is stuck, and it is tried again after a backoff.
 */

import * as Backoff from "./backoff.ts"
import * as Failure from "./failure.ts"
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
export const fetched = (machine: Machine, number: number, token: string | undefined): void => {
  if (!isFetching(machine, number)) return
  if (!token) return fail(machine, noUser, false)
  machine.authentication.phase = "sent"
  waitForResponse(machine)
  const client = version(machine) === 1 ? machine.options.client : undefined
  send(machine, "auth", JSON.stringify({ token, client }))
}

/** No token could be fetched. */
export const notFetched = (machine: Machine, number: number, message: string): void => {
  if (isFetching(machine, number)) failOnce(machine, Failure.make("UnauthorizedError", message), true)
}

/** `:authenticated`. */
export const authenticated = (machine: Machine, uid: unknown): void => {
  const { authentication, state } = machine
  if (authentication.phase !== "sent" || state._tag !== "Connected") return
  authentication.phase = "done"
  authentication.by = Infinity
  authentication.failures = 0
  authentication.uid = typeof uid === "string" ? uid : undefined
  setState(machine, { ...state, isAuthenticated: true, ...(typeof uid === "string" && { uid }) })
  Subscriptions.convergeAll(machine)
  machine.mayCallsGoOn = true
}

/** `:error` of `auth`: the token was rejected. `false` if none was sent. */
export const rejected = (machine: Machine, failure: Failure.Failure): boolean => {
  const isExpected = machine.authentication.phase === "sent"
  if (isExpected) failOnce(machine, failure, false)
  return isExpected
}

/** Does what was to be done by now: gives up waiting, or tries again. */
export const expire = (machine: Machine): void => {
  const { authentication, now } = machine
  const { by, isRetried, phase } = authentication
  if (by > now) return wake(machine, by)
  if (phase === "waiting" || (phase === "failed" && isRetried)) fetch(machine)
  else if (phase === "fetching" || phase === "sent") {
    failOnce(machine, Failure.make("UnauthorizedError", "there was no token, or no response to it, in time"), true)
  }
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

const noUser = Failure.make("UnauthorizedError", "nobody is logged in: there is no token")
