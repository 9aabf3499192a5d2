/**
 * Loads node-redis, through `@effect/platform-node`, when a broker has a Redis: applications without one do not need the package
 * `redis`.
 */

import * as Effect from "effect/Effect"
import { messageOf } from "../../../protocol/ErrorText.ts"
import { UnsuitableRedisError } from "../../BrokerError.ts"

/** Loads it. Fails with a sentence if the package is missing. */
export const load = Effect.tryPromise({
  try: () => import("@effect/platform-node/NodeRedis"),
  catch: (cause) => {
    const [why] = messageOf(cause).split("\n")
    return new UnsuitableRedisError({
      detail: `the package redis cannot be loaded: ${why}. Install it (npm install redis)`
    })
  }
})
