/**
 * The gauge of events that wait in inboxes. All Workers of a vhost in one process are one gauge, which is their sum.
 */

import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import type { Inbox } from "./inbox.ts"

interface Gauge {
  readonly workers: Set<ReadonlySet<Inbox>>
  readonly registration: Metric.Registration
}

// By registry, and there by address and vhost.
const registries = new WeakMap<object, Map<string, Gauge>>()

/** Counts what waits in these inboxes until the scope ends. The sizes are read when somebody looks. */
export const register = Effect.fnUntraced(
  function*(inboxes: ReadonlySet<Inbox>, { address, vhost }: Endpoint): Effect.fn.Return<void, never, Scope.Scope> {
    const context = yield* Effect.context<never>()
    const registry = yield* Metric.MetricRegistry
    const key = `${address}${vhost}`
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const gauges = registries.get(registry) ?? new Map<string, Gauge>()
        registries.set(registry, gauges)
        let gauge = gauges.get(key)
        if (gauge === undefined) {
          const workers = new Set<ReadonlySet<Inbox>>()
          const metric = Metric.withAttributes(ClientMetrics.inboxEvents, { address, vhost })
          const registration = Metric.registerUnsafe(metric, context, {
            get: () => ({ value: sizeOf(workers) }),
            update: constVoid,
            modify: constVoid
          })
          gauge = { workers, registration }
          gauges.set(key, gauge)
        }
        gauge.workers.add(inboxes)
        return { gauge, gauges }
      }),
      ({ gauge, gauges }) =>
        Effect.sync(() => {
          gauge.workers.delete(inboxes)
          if (gauge.workers.size > 0) return
          gauges.delete(key)
          gauge.registration.remove()
        })
    )
  }
)

const sizeOf = (workers: Iterable<ReadonlySet<Inbox>>): number => {
  let size = 0
  for (const inboxes of workers) for (const inbox of inboxes) size += Queue.sizeUnsafe(inbox)
  return size
}
