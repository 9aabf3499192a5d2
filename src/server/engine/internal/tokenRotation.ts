/**
 * The access tokens of vhosts while these run: they are added and removed, and who listens learns of each that is removed.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as VhostTokens from "../VhostTokens.ts"
import type * as Registry from "./registry.ts"

/** Those who learn of tokens that are removed. They have until `timeout`. */
export const makeListeners = (timeout: Duration.Duration) => {
  const listeners = new Set<(token: VhostTokens.VhostToken) => Effect.Effect<void>>()
  return {
    end: (removed: ReadonlyArray<VhostTokens.VhostToken>) => {
      const told = removed.flatMap((token) => Array.from(listeners, (listener) => listener(token)))
      return Effect.timeoutOption(
        Effect.interruptible(Effect.all(told, { concurrency: "unbounded", discard: true })),
        timeout
      )
    },
    onTokenRemoved: (listener: (token: VhostTokens.VhostToken) => Effect.Effect<void>) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => listeners.add(listener)),
        () => Effect.sync(() => listeners.delete(listener))
      ))
  }
}

/** Adds and removes tokens. */
export const make = <E extends Registry.Entry>(
  change: Registry.Registry<E>["changeTokens"],
  { end }: Pick<ReturnType<typeof makeListeners>, "end">
) => {
  // Not interruptible: who has shown a token that is removed must not stay connected.
  const rotated = <A, F>(changing: Effect.Effect<Registry.Changed<E, A>, F>) =>
    Effect.uninterruptible(
      Effect.flatMap(
        changing,
        ({ removed, value, vhost: { journal } }) => Effect.as(Effect.andThen(end(removed), journal.persisted), value)
      )
    )
  return {
    addToken: (path: string, token?: string | Redacted.Redacted) =>
      rotated(change(path, (tokens) => VhostTokens.adding(path, tokens, token))),
    removeToken: (path: string, token: string | Redacted.Redacted) =>
      rotated(change(path, (tokens) => VhostTokens.removing(path, tokens, token))),
    regenerateToken: (path: string) =>
      rotated(change(path, () => {
        const token = VhostTokens.random()
        return Result.succeed({ tokens: [token], value: token })
      }))
  }
}
