/**
 * What a node of a cluster has to do, for the lists of nodes.
 */

import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Iterable from "effect/Iterable"
import * as Option from "effect/Option"
import type { Browsers } from "../Browsers.ts"
import { Cluster } from "../Cluster.ts"
import type { Lobby } from "../Lobby.ts"

/** What is counted of a vhost. */
interface Busy {
  readonly browsers: Browsers
  readonly lobby: Lobby
}

/** Says from now on what this node has to do. A broker that is alone says it to nobody. */
export const report = (vhosts: () => Iterable<Busy>) =>
  Effect.map(
    Effect.serviceOption(Cluster),
    Option.match({
      onNone: constVoid,
      onSome: (cluster) => {
        const sum = (count: (vhost: Busy) => number) =>
          Iterable.reduce(vhosts(), 0, (total, vhost) => total + count(vhost))
        cluster.report(() => ({
          browsers: sum(({ browsers }) => browsers.countOwn()),
          workers: sum(({ lobby }) => lobby.counters.workers)
        }))
      }
    })
  )
