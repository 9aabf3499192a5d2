import { Effect, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Browser, ConnectionState } from "../../src/browser/index.ts"
import { TestBroker } from "../../src/testing/index.ts"

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

/** The network is there again, and the browser's backoff ends. */
export const reconnect = (browser: Browser.Browser["Service"]) =>
  Effect.gen(function*() {
    const { browserNetwork } = yield* TestBroker.TestBroker
    yield* browserNetwork.restore
    yield* TestClock.adjust("20 seconds")
    yield* untilState(browser, "Connected")
  })
