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

/** The capacity, in instructions and `overhead` of all patterns together. */
const defaultCapacity = 100_000

/** What a pattern costs beside its instructions. */
const overhead = 50

/** Makes an empty cache. */
export const make = (capacity = defaultCapacity): Patterns => {
  // The least recently used is the oldest.
  const compiled = SizedMap.make<Permission.Pattern>(({ size }) => size + overhead)
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
