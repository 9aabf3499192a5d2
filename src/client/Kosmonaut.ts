/**
 * The usual assembly: a Client and a Worker for one vhost, from one URL, over the transport that its scheme names.
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Endpoint from "../protocol/Endpoint.ts"
import { InvalidEndpointError } from "../protocol/KosmonautError.ts"
import * as TcpTransport from "../transport/TcpTransport.ts"
import type { Transport } from "../transport/Transport.ts"
import * as ZmqTransport from "../transport/ZmqTransport.ts"
import * as Client from "./Client.ts"
import * as Worker from "./Worker.ts"

/**
 * What a Client, a Worker and either transport can be told, see there; the URL is for all.
 *
 * @since 0.1.0
 */
export interface Options extends Client.Options, Worker.Options, TcpTransport.Options {}

/**
 * A Client and a Worker. Nothing is connected before one of them is used.
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Client.Client | Worker.Worker, InvalidEndpointError> =>
  Layer.mergeAll(Client.layer(options), Worker.layer(options)).pipe(Layer.provide(layerTransport(options)))

/**
 * A Client and a Worker, with options from configuration.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Client.Client | Worker.Worker, InvalidEndpointError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * The transport that a URL's scheme names: `wr` ZeroMQ, `wr+tcp` classic TCP.
 *
 * @since 0.1.0
 */
export const layerTransport = (options: Options): Layer.Layer<Transport, InvalidEndpointError> =>
  Layer.unwrap(Effect.fromResult(Result.flatMap(Endpoint.fromUrl(options.url), (endpoint) => {
    switch (endpoint.scheme) {
      case "wr":
        return Result.succeed(ZmqTransport.layer(options))
      case "wr+tcp":
        return Result.succeed(TcpTransport.layer(options))
      default:
        return Result.fail(
          new InvalidEndpointError({
            url: endpoint.toString(),
            detail: `encrypted connections (${endpoint.scheme}) are not available yet, use ${
              endpoint.scheme.replace("s", "")
            }`
          })
        )
    }
  })))
