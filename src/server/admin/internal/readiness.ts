/**
 * Whether the broker would deliver: its browsers' port answers a request, what its vhosts have recorded can be written to the storage,
 * and a node of a cluster reaches the others. A broker may be alive and not that, as one that is stopping.
 *
 * Everybody who reaches the port may ask, so all who ask at the same time share one check.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Http from "node:http"
import * as Https from "node:https"
import { Cluster } from "../../engine/Cluster.ts"
import { ofView } from "../../engine/VhostViews.ts"
import type { Vhosts } from "../../Vhosts.ts"

/** How long a check may take. */
const timeout = "2 seconds"

/** What is not well, as sentences; empty if the broker is ready. */
export type Readiness = Effect.Effect<ReadonlyArray<string>>

/** Makes the check. `probe` is a URL of the browsers' port. */
export const make = Effect.fnUntraced(function*(vhosts: Vhosts["Service"], probe: string, isStopping: () => boolean) {
  const cluster = Option.getOrUndefined(yield* Effect.serviceOption(Cluster))
  return yield* Effect.cachedWithTTL(
    Effect.map(
      Effect.all([
        Effect.sync(() => isStopping() ? ["the broker is stopping"] : []),
        check("the port of browsers does not answer", request(probe)),
        check("the storage cannot be written to", persisted(vhosts)),
        Effect.sync(() => Option.toArray(Option.fromUndefinedOr(cluster?.problem())))
      ], { concurrency: "unbounded" }),
      (problems) => problems.flat()
    ),
    0
  )
})

const check = (problem: string, effect: Effect.Effect<unknown, unknown>) =>
  effect.pipe(
    Effect.timeout(timeout),
    Effect.match({ onSuccess: (): ReadonlyArray<string> => [], onFailure: () => [problem] })
  )

const persisted = (vhosts: Vhosts["Service"]) =>
  Effect.flatMap(
    vhosts.list,
    (all) =>
      Effect.forEach(all, (vhost) => ofView(vhost).journal.persisted, { concurrency: "unbounded", discard: true })
  )

// The whole way of a browser but the vhost: accepted by the system, read, answered. Any answer will do, and any certificate:
// it is the broker's own port, by an address that is not in its certificate.
const request = (url: string) =>
  Effect.callback<void, unknown>((resume) => {
    const begin = url.startsWith("https:") ? Https.request : Http.request
    const sent = begin(url, { method: "HEAD", agent: false, rejectUnauthorized: false }, (response) => {
      response.resume()
      resume(Effect.void)
    })
    sent.on("error", (cause) => resume(Effect.fail(cause)))
    sent.end()
    return Effect.sync(() => sent.destroy())
  })
