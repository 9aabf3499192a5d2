/**
 * Checks the values of options, so that a wrong one is an `InvalidOptionError` of the layer that takes it.
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { InvalidOptionError } from "./KosmonautError.ts"

/**
 * A whole number, `minimum` or more.
 *
 * @since 0.1.0
 */
export const integer = (option: string, value: number, minimum = 1): Result.Result<number, InvalidOptionError> =>
  Number.isSafeInteger(value) && value >= minimum
    ? Result.succeed(value)
    : invalid(option, value, `a whole number, ${minimum} or more`)

/**
 * A duration of `minimum` milliseconds or more.
 *
 * @since 0.1.0
 */
export const duration = (
  option: string,
  input: Duration.Input,
  minimum = 1
): Result.Result<Duration.Duration, InvalidOptionError> => {
  const parsed = Number.isNaN(input) ? undefined : Option.getOrUndefined(Duration.fromInput(input))
  return parsed !== undefined && Duration.toMillis(parsed) >= minimum
    ? Result.succeed(parsed)
    : invalid(option, input, minimum === 0 ? "a duration that is not negative" : `a duration of ${minimum} ms or more`)
}

const invalid = (option: string, value: unknown, allowed: string): Result.Result<never, InvalidOptionError> =>
  Result.fail(
    new InvalidOptionError({
      option,
      value: (Object(value) === value || typeof value === "string" ? JSON.stringify(value) : String(value))
        .slice(0, 100),
      allowed
    })
  )
