/**
 * Options from configuration, beside those that no configuration can hold, as Schedules.
 */

import * as Config from "effect/Config"
import * as Effect from "effect/Effect"

// The options `T`, each from configuration, but those in `Plain`, which are given as they are.
type Configured<T, Plain extends keyof T> =
  & { readonly [Key in keyof Omit<T, Plain>]: Config.Wrap<T[Key]> }
  & Pick<T, Plain>

/** Reads the options from configuration. */
export const unwrap = <T, Plain extends keyof T>(
  options: Configured<T, Plain>,
  ...plain: ReadonlyArray<Plain>
): Effect.Effect<T, Config.ConfigError> => {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  const isPlain = ([key]: readonly [string, unknown]) => plain.some((name) => name === key)
  const wrapped = Object.fromEntries(entries.filter((entry) => !isPlain(entry)))
  // The compiler cannot see that the parts are the whole.
  return Effect.map(
    Config.unwrap<Record<string, unknown>>(wrapped as Config.Wrap<Record<string, unknown>>),
    (read) => ({ ...read, ...Object.fromEntries(entries.filter(isPlain)) }) as T
  )
}
