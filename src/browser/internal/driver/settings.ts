/**
 * The options of a browser, checked, with their defaults.
 */

import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { InvalidOptionError } from "../../../protocol/KosmonautError.ts"
import * as Check from "../../../protocol/Options.ts"
import type { Options } from "../../BrowserOptions.ts"
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
      const allowed = "the URL of a vhost, ws://<host>:<port>/<vhost> or wss://<host>:<port>/<vhost>"
      return yield* Result.fail(new InvalidOptionError({ option: "url", value: options.url.slice(0, 100), allowed }))
    }
    const callTimeout = yield* millis("callTimeout", options.callTimeout ?? "10 seconds")
    const connectTimeout = yield* millis("connectTimeout", options.connectTimeout ?? "10 seconds")
    const minBackoff = yield* millis("minBackoff", options.minBackoff ?? "500 millis")
    const maxBackoff = yield* millis("maxBackoff", options.maxBackoff ?? "20 seconds")
    const pingInterval = yield* millis("pingInterval", options.pingInterval ?? "25 seconds")
    const maxCalls = yield* Check.integer("maxCalls", options.maxCalls ?? 1000)
    const maxCallBytes = yield* Check.integer("maxCallBytes", options.maxCallBytes ?? 8 << 20)
    const eventBuffer = yield* Check.integer("eventBuffer", options.eventBuffer ?? 1 << 20)
    const hasToken = options.token !== undefined
    const times = { callTimeout, connectTimeout, minBackoff, maxBackoff, pingInterval }
    return { url, machine: { hasToken, maxCalls, maxCallBytes, ...times }, callTimeout, connectTimeout, eventBuffer }
  })

/** A duration of the user's in milliseconds. */
export const millis = (option: string, input: Duration.Input): Result.Result<number, InvalidOptionError> =>
  Result.map(Check.duration(option, input), Duration.toMillis)
