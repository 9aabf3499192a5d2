/**
 * The key by which an event that is triggered is queued once.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import { BadRequestError, MessageEncodeError } from "../protocol/KosmonautError.ts"
import { maxDedupeKey } from "../protocol/Trigger.ts"
import type * as Event from "./Event.ts"

/**
 * The key that is given, or else that of a declared event: its name and its `primaryKey`, if it has one. Fails for a key that is
 * empty or too long, and if it cannot be made.
 *
 * @since 0.1.0
 */
export const make = (
  event: string | Event.Any,
  data: unknown,
  given?: string
): Result.Result<string | undefined, MessageEncodeError | BadRequestError> =>
  Result.flatMap(
    given === undefined ? declared(event, data) : Result.succeed(given),
    (key) =>
      key === undefined || (key.length >= 1 && key.length <= maxDedupeKey)
        ? Result.succeed(key)
        : Result.fail(new BadRequestError({ detail: `a dedupe key has 1 to ${maxDedupeKey} characters` }))
  )

// With the event's name, since another event may have the same key.
const declared = (event: string | Event.Any, data: unknown): Result.Result<string | undefined, MessageEncodeError> => {
  if (typeof event === "string" || event.primaryKey === undefined) return Result.succeed(undefined)
  const { _tag, primaryKey } = event
  return Result.try({
    try: () => `${_tag}/${primaryKey(data as never)}`,
    catch: (cause) => new MessageEncodeError({ argument: `the key of ${_tag}`, detail: "it cannot be made", cause })
  })
}
