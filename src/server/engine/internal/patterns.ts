/**
 * The cache of compiled permission patterns of a broker. Each is compiled once, however many browsers have it. Beyond the
 * capacity the least recently used patterns are evicted, and compiled again when they are needed.
 */

import * as Result from "effect/Result"
import type { InternalError } from "../../../protocol/KosmonautError.ts"
import * as Permission from "../../domain/Permission.ts"

/** Compiles a pattern, or returns it from the cache. */
export type Patterns = (pattern: string) => Result.Result<Permission.Pattern, InternalError>

/** The capacity, in instructions and `overhead` of all patterns together. */
const defaultCapacity = 100_000

/** What a pattern costs beside its instructions. */
const overhead = 50

/** Makes an empty cache. */
export const make = (capacity = defaultCapacity): Patterns => {
  // The least recently used is the first.
  const compiled = new Map<string, Permission.Pattern>()
  let size = 0

  const evictOldest = () => {
    for (const [pattern, one] of compiled) {
      if (size <= capacity) return
      compiled.delete(pattern)
      size -= one.size + overhead
    }
  }
  return (pattern) => {
    const known = compiled.get(pattern)
    if (known !== undefined) {
      compiled.delete(pattern)
      compiled.set(pattern, known)
      return Result.succeed(known)
    }
    const result = Permission.compile(pattern)
    if (Result.isSuccess(result)) {
      compiled.set(pattern, result.success)
      size += result.success.size + overhead
      evictOldest()
    }
    return result
  }
}
