/**
 * Which channels a user may join: a user id and a pattern over whole channel names, RE2 syntax.
 *
 * RE2 matches in time linear in the name, whatever the pattern, so that a pattern from outside can do no harm; a
 * backtracking engine would not promise that.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import { RE2JS } from "re2js"
import { InternalError } from "../../protocol/KosmonautError.ts"

/** How long a pattern may be; its length bounds what matching costs. A user id likewise, since others are told it. */
const maxLength = 1000

/**
 * What a single access token grants.
 *
 * @since 0.1.0
 */
export interface Permission {
  readonly uid: string
  /** Whether the pattern matches the whole of `channel`. */
  readonly allows: (channel: string) => boolean
}

/**
 * Compiles a permission. A pattern that is none fails with the protocol's 597.
 *
 * @since 0.1.0
 */
export const make = (uid: string, pattern: string): Result.Result<Permission, InternalError> =>
  uid.length > maxLength || pattern.length > maxLength
    ? Result.fail(
      new InternalError({ detail: `a user id and a permission pattern have at most ${maxLength} characters each` })
    )
    : Result.try({
      try: () => RE2JS.compile(pattern),
      catch: (cause) => new InternalError({ detail: `the permission pattern does not compile: ${String(cause)}` })
    }).pipe(Result.map((compiled) => ({ uid, allows: (channel) => compiled.matches(channel) })))
