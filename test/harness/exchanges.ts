/**
 * What Clients and Workers do with a transport: requests with their responses, and messages in order.
 */
import { Array as Arr, Duration, Effect, type Scope } from "effect"
import * as Pipeline from "../../src/client/internal/pipeline.ts"
import type { Endpoint } from "../../src/protocol/Endpoint.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import type { ConnectionError } from "../../src/protocol/KosmonautError.ts"
import { send, type Transport } from "../../src/transport/Transport.ts"

/** The options of a requester. */
export interface Options extends Partial<Omit<Pipeline.Options, "transport" | "endpoint" | "requestTimeout">> {
  readonly requestTimeout?: Duration.Input | undefined
}

/** Sends requests, each of which fails with its error alone. */
export const requester = (transport: Transport["Service"], endpoint: Endpoint, options?: Options) =>
  Effect.map(
    Pipeline.make({
      ...options,
      transport,
      endpoint,
      requestTimeout: Duration.fromInputUnsafe(options?.requestTimeout ?? "5 seconds")
    }),
    (pipeline) => ({
      ...pipeline,
      request: (frames: Frames): Effect.Effect<Frames, Pipeline.SendError> =>
        Effect.mapError(pipeline.request(frames), ({ error }) => error)
    })
  )

/** A worker's connection, as frames. */
export interface Session {
  readonly send: (frames: Frames) => Effect.Effect<void, ConnectionError>
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Frames>, ConnectionError>
}

/** Opens a worker's connection. */
export const session = (
  transport: Transport["Service"],
  endpoint: Endpoint
): Effect.Effect<Session, ConnectionError, Scope.Scope> =>
  Effect.map(transport.connect(endpoint, { kind: "dlr" }), (connection) => ({
    send: (frames) => send(connection, frames),
    pull: Effect.map(connection.pull, Arr.map(({ frames }) => frames))
  }))
