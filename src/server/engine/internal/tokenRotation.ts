/**
 * The access tokens of vhosts while these run: they are added and removed, and who listens learns of each that is removed.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { VhostOptions } from "../../BrokerConfig.ts"
import type { Journal } from "../Journal.ts"
import * as VhostTokens from "../VhostTokens.ts"

interface Rotated {
  readonly tokens: VhostTokens.VhostTokens
  readonly journal: Journal
}

/** Adds and removes tokens of the vhosts that `find` finds. The listeners of a removal have until `timeout`. */
export const make = <E>(
  find: (path: string) => Effect.Effect<{ readonly vhost: Rotated }, E>,
  timeout: Duration.Duration
) => {
  const listeners = new Set<(token: VhostTokens.VhostToken) => Effect.Effect<void>>()
  const end = (removed: ReadonlyArray<VhostTokens.VhostToken>) => {
    const told = removed.flatMap((token) => Array.from(listeners, (listener) => listener(token)))
    return Effect.timeoutOption(
      Effect.interruptible(Effect.all(told, { concurrency: "unbounded", discard: true })),
      timeout
    )
  }
  return {
    addToken: (path: string, token?: string | Redacted.Redacted) =>
      Effect.flatMap(
        find(path),
        ({ vhost: { journal, tokens } }) => Effect.tap(tokens.add(token), () => journal.persisted)
      ),
    // Not interruptible, as `regenerateToken`: who has shown the token must not stay connected.
    removeToken: Effect.fnUntraced(function*(path: string, token: string | Redacted.Redacted) {
      const { vhost } = yield* find(path)
      const removed = yield* vhost.tokens.remove(token)
      if (removed === undefined) return false
      yield* end([removed])
      yield* vhost.journal.persisted
      return true
    }, Effect.uninterruptible),
    regenerateToken: Effect.fnUntraced(function*(path: string) {
      const { vhost } = yield* find(path)
      const { removed, token } = yield* vhost.tokens.regenerate
      yield* end(removed)
      yield* vhost.journal.persisted
      return token
    }, Effect.uninterruptible),
    onTokenRemoved: (listener: (token: VhostTokens.VhostToken) => Effect.Effect<void>) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => listeners.add(listener)),
        () => Effect.sync(() => listeners.delete(listener))
      ))
  }
}

/** The tokens of a vhost with these options, or those that it has `initially`. */
export const tokensOf = (
  { otherTokens = [], token }: VhostOptions,
  initially: ReadonlyArray<Redacted.Redacted>
): ReadonlyArray<Redacted.Redacted> => [
  ...token === undefined ? initially : [VhostTokens.redacted(token)],
  ...otherTokens.map(VhostTokens.redacted)
]
