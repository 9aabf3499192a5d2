/**
 * The options of a browser, checked, with their defaults.
 */

import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { InvalidOptionError } from "../../../protocol/KosmonautError.ts"
import type { Options } from "../../Browser.ts"
import type * as MachineOptions from "../options.ts"
import { urlOf } from "./webSocket.ts"

/** What a browser goes by. Times are milliseconds. */
export interface Settings {
  readonly url: string
  readonly machine: Omit<MachineOptions.Options, "client">
  readonly callTimeout: number
  readonly connectTimeout: number
  readonly eventBuffer: number
}

/** Checks the options. */
export const resolve = (options: Options<unknown, unknown>): Result.Result<Settings, InvalidOptionError> =>
  Result.gen(function*() {
    const url = urlOf(options.url)
    if (url === undefined) {
      return yield* invalid("url", options.url, "the URL of a vhost, ws://<host>:<port>/<vhost> or wss://…")
    }
    const callTimeout = yield* millis("callTimeout", options.callTimeout ?? "10 seconds")
    const connectTimeout = yield* millis("connectTimeout", options.connectTimeout ?? "10 seconds")
    const minBackoff = yield* millis("minBackoff", options.minBackoff ?? "500 millis")
    const maxBackoff = yield* millis("maxBackoff", options.maxBackoff ?? "20 seconds")
    const pingInterval = yield* millis("pingInterval", options.pingInterval ?? "25 seconds")
    const maxCalls = yield* count("maxCalls", options.maxCalls ?? 1000)
    const maxCallBytes = yield* count("maxCallBytes", options.maxCallBytes ?? 8 << 20)
    const eventBuffer = yield* count("eventBuffer", options.eventBuffer ?? 1 << 20)
    const hasToken = options.token !== undefined
    const times = { callTimeout, connectTimeout, minBackoff, maxBackoff, pingInterval }
    return { url, machine: { hasToken, maxCalls, maxCallBytes, ...times }, callTimeout, connectTimeout, eventBuffer }
  })

/** A duration of the user's in milliseconds. */
export const millis = (option: string, input: Duration.Input): Result.Result<number, InvalidOptionError> => {
  const duration = Duration.fromInput(input)
  const value = Option.isSome(duration) ? Duration.toMillis(duration.value) : NaN
  return value > 0 && Number.isFinite(value)
    ? Result.succeed(value)
    : invalid(option, String(input), "a finite duration above zero")
}

const count = (option: string, value: number): Result.Result<number, InvalidOptionError> =>
  Number.isSafeInteger(value) && value > 0
    ? Result.succeed(value)
    : invalid(option, String(value), "a whole number above zero")

const invalid = (option: string, value: string, allowed: string): Result.Result<never, InvalidOptionError> =>
  Result.fail(new InvalidOptionError({ option, value, allowed }))
