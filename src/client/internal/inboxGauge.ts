/**
 * The gauge of events that wait in inboxes. All Workers of a vhost in one process share one gauge, their sum.
 */

import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as MetricSources from "../../protocol/MetricSources.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import type { Inbox } from "./inbox.ts"

/** Adds the sizes of these inboxes to the gauge until the scope ends. They are read on demand. */
export const register = Effect.fnUntraced(
  function*(inboxes: ReadonlySet<Inbox>, { address, vhost }: Endpoint): Effect.fn.Return<void, never, Scope.Scope> {
    const context = yield* Effect.context<never>()
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        MetricSources.gauge(ClientMetrics.inboxEvents, { address, vhost }, context, () => sizeOf(inboxes))
      ),
      (remove) => Effect.sync(remove)
    )
  }
)

const sizeOf = (inboxes: Iterable<Inbox>): number => {
  let size = 0
  for (const inbox of inboxes) size += Queue.sizeUnsafe(inbox)
  return size
}
