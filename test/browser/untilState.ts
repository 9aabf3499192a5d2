import { Effect, Option, Stream } from "effect"
import type { Browser, ConnectionState } from "../../src/browser/index.ts"

/** Waits until a browser's connection is in this state, and gives it. */
export const untilState = <Tag extends ConnectionState.ConnectionState["_tag"]>(
  browser: Browser.Browser["Service"],
  tag: Tag
): Effect.Effect<Extract<ConnectionState.ConnectionState, { readonly _tag: Tag }>> =>
  browser.changes.pipe(
    Stream.filter((state): state is Extract<ConnectionState.ConnectionState, { readonly _tag: Tag }> =>
      state._tag === tag
    ),
    Stream.runHead,
    Effect.map(Option.getOrThrow)
  )
