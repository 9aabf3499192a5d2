/**
 * The nodes that share the state of a broker. A broker without this service is alone.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { InternalError } from "../../protocol/KosmonautError.ts"
import type { LeaseLostError } from "../BrokerError.ts"

/**
 * A living node.
 *
 * @since 0.1.0
 */
export interface Node {
  /** Its incarnation, 8 hexadecimal digits. */
  readonly node: string
  /** What people call it. */
  readonly name: string
  /** In how many milliseconds its lease ends, unless it is renewed. */
  readonly lease: number
  /** The version of the package that it runs. */
  readonly version: string
  /** When it has started, in milliseconds since 1970 by its own clock. */
  readonly startedAt: number
  /** What it has to do. */
  readonly load: Load
}

/**
 * What a node has to do, by name: `browsers`, `workers`.
 *
 * @since 0.1.0
 */
export type Load = Readonly<Record<string, number>>

/**
 * The nodes, and this one among them.
 *
 * @since 0.1.0
 */
export class Cluster extends Context.Service<Cluster, {
  /** The incarnation of this node. */
  readonly self: string
  /** All living nodes. */
  readonly nodes: Effect.Effect<ReadonlyArray<Node>, InternalError>
  /** Fails when this node has lost its lease. Nothing that it does counts from then on. */
  readonly fenced: Effect.Effect<never, LeaseLostError>
  /** Says from now on what this node has to do. */
  readonly report: (load: () => Load) => void
  /** What is not well now, as a sentence; `undefined` if all is. */
  readonly problem: () => string | undefined
}>()("kosmonaut/server/engine/Cluster") {}
