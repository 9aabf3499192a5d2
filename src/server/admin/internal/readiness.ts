/**
 * Whether the broker would deliver: its browsers' port answers a request, a probe comes back on the way of all changes of each vhost, and
 * what its vhosts have recorded can be written to the storage. Of several nodes that way is the log in Redis, which all of them read. A
 * broker may be alive and not that, as one that is stopping.
 *
 * Everybody who reaches the port may ask, so all who ask at the same time share one check.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Http from "node:http"
import * as Https from "node:https"
import { Cluster } from "../../engine/Cluster.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
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
        check("the storage cannot be written to", ofAll(vhosts, ({ journal }) => journal.persisted)),
        // A node may know why: then that is the problem.
        Effect.map(
          check(
            "broadcasts do not come back from the log within 2 seconds",
            ofAll(vhosts, ({ channels }) => channels.probe)
          ),
          (late) =>
            Option.match(Option.fromUndefinedOr(cluster?.problem()), { onNone: () => late, onSome: (known) => [known] })
        )
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

const ofAll = (vhosts: Vhosts["Service"], one: (vhost: Vhost) => Effect.Effect<unknown, unknown>) =>
  Effect.flatMap(
    vhosts.list,
    (all) => Effect.forEach(all, (vhost) => one(ofView(vhost)), { concurrency: "unbounded", discard: true })
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
