/**
 * What the document knows of the network and of who looks at it, if there is a document.
 */

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Input } from "../input.ts"

type Hint = Extract<Input, { readonly _tag: "Hint" }>["hint"]

interface Target {
  readonly addEventListener?: (type: string, listener: () => void) => void
  readonly removeEventListener?: (type: string, listener: () => void) => void
}

/** Listens until the scope ends. Without a document, as in Node.js, there are no hints. */
export const listen = (onHint: (hint: Hint) => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    const global = globalThis as Target & { readonly document?: Target & { readonly visibilityState?: string } }
    const { document } = global
    const on = (target: Target | undefined, type: string, listener: () => void) =>
      Effect.acquireRelease(
        Effect.sync(() => target?.addEventListener?.(type, listener)),
        () => Effect.sync(() => target?.removeEventListener?.(type, listener))
      )
    return Effect.all([
      on(global, "online", () => onHint("online")),
      on(global, "offline", () => onHint("offline")),
      on(document, "visibilitychange", () => {
        if (document?.visibilityState === "visible") onHint("visible")
      })
    ], { discard: true })
  })
