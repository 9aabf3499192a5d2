/**
 * `kosmonaut nodes`: the living nodes of a cluster.
 *
 * @since 0.1.0
 */

import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { connect, flags, printList } from "./AdminTarget.ts"

/**
 * `kosmonaut nodes`.
 *
 * @since 0.1.0
 */
export const nodes = Command.make(
  "nodes",
  flags,
  (input) =>
    Effect.flatMap(connect(input), ({ broker }) =>
      printList(
        input,
        () => Effect.map(broker.nodes(), ({ nodes }) => ({ items: nodes })),
        ["node", "name", "version", "lease", "browsers", "workers", "position"],
        ({ leaseSeconds, load, name, node, version }) => [
          node,
          name,
          version,
          `${leaseSeconds} s`,
          ...["browsers", "workers", "position"].map((what) => load[what] ?? "-")
        ]
      ))
).pipe(
  Command.withDescription(
    "List the living nodes of a cluster: in how many seconds the lease of each ends unless it is renewed, how many browsers and workers are connected to it, and how many entries of the logs it has read. A broker without --redis-url has none. Any of them is asked, by its admin port, http://127.0.0.1:8082 unless you give --address"
  ),
  Command.withExamples([{ command: "kosmonaut nodes --json | jq -r .name" }])
)
