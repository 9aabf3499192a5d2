/**
 * The cache of compiled permission patterns of a broker. Each is compiled once, however many browsers have it. Beyond the
 * capacity the least recently used patterns are evicted, and compiled again when they are needed.
 */

import * as Result from "effect/Result"
import type { InternalError } from "../../../protocol/KosmonautError.ts"
import * as SizedMap from "../../../protocol/SizedMap.ts"
import * as Permission from "../../domain/Permission.ts"

/** Compiles a pattern, or returns it from the cache. */
export type Patterns = (pattern: string) => Result.Result<Permission.Pattern, InternalError>

/** How many bytes of memory all patterns together may take. */
const defaultCapacity = 33_554_432

/** Makes an empty cache. */
export const make = (capacity = defaultCapacity): Patterns => {
  // The least recently used is the oldest.
  const compiled = SizedMap.make<Permission.Pattern>(({ bytes }) => bytes)
  return (pattern) => {
    const known = compiled.renew(pattern)
    if (known !== undefined) return Result.succeed(known)
    const result = Permission.compile(pattern)
    if (Result.isSuccess(result)) {
      compiled.set(pattern, result.success)
      while (compiled.size() > capacity) compiled.removeOldest()
    }
    return result
  }
}
