/**
 * Compiled permission patterns of a broker: each is compiled once, however many browsers have it. The least recently used
 * are forgotten when all together are too large, and compiled anew when they are needed.
 */

import * as Result from "effect/Result"
import type { InternalError } from "../../../protocol/KosmonautError.ts"
import * as Permission from "../../domain/Permission.ts"

/** Compiles a pattern, or gives what it was compiled to before. */
export type Patterns = (pattern: string) => Result.Result<Permission.Pattern, InternalError>

/** How large all compiled patterns may be together, in instructions; a pattern counts for some more than it has. */
const defaultCapacity = 100_000

/** What a pattern costs beside its instructions. */
const overhead = 50

/** Makes an empty cache. */
export const make = (capacity = defaultCapacity): Patterns => {
  // The least recently used is the first.
  const compiled = new Map<string, Permission.Pattern>()
  let size = 0

  const forgetOldest = () => {
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
      forgetOldest()
    }
    return result
  }
}
