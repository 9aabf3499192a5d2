/**
 * Sends each request on a connection of its own, for brokers that close a connection after its response. At most
 * `maxConnections` are open at a time; further requests stay unsent. The connection of a cancelled request is closed.
 */

import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Frames } from "../../protocol/Frame.ts"
import type { ConnectionError } from "../../protocol/KosmonautError.ts"
import { type Connection, send } from "../../transport/Transport.ts"
import type { Outlet } from "./exchange.ts"

/** The options of single connections. */
export interface Options {
  readonly connect: Effect.Effect<Connection, ConnectionError, Scope.Scope>
  readonly maxConnections: number
  readonly onResponse: (envelope: string, frames: Frames) => Effect.Effect<void>
  readonly onFailure: (envelope: string, cause: Cause.Cause<ConnectionError>) => void
}

/** Makes the outlet. Its connections are closed with the scope. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  const open = new Map<string, Fiber.Fiber<void>>()
  let onFree: (() => void) | undefined

  const exchange = (envelope: string, frames: Frames) =>
    Effect.gen(function*() {
      const connection = yield* options.connect
      yield* send(connection, frames)
      const [response] = yield* connection.pull
      return response.frames
    }).pipe(
      Effect.scoped,
      Effect.matchCauseEffect({
        onFailure: (cause) => Effect.sync(() => options.onFailure(envelope, cause)),
        onSuccess: (response) => options.onResponse(envelope, response)
      }),
      Effect.ensuring(Effect.sync(() => {
        open.delete(envelope)
        const free = onFree
        onFree = undefined
        free?.()
      }))
    )
  const outlet: Outlet = {
    id: "",
    enough: 1,
    isKosmonaut: () => false,
    batches: () => false,
    sendUnsafe: ([{ envelope, frames }], settled) => {
      const fiber = Effect.runForkWith(context)(Effect.andThen(Effect.yieldNow, exchange(envelope, frames)))
      open.set(envelope, Fiber.runIn(fiber, scope))
      if (open.size < options.maxConnections) settled()
      else onFree = settled
    },
    cancelUnsafe: (envelope) => open.get(envelope)?.interruptUnsafe()
  }
  return outlet
})
