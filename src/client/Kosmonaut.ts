/**
 * The usual assembly: a Client and a Worker for one vhost, from one URL, over the transport that its scheme names.
 *
 * **Example** (A Client and a Worker)
 *
 * ```ts
 * import { Config } from "effect"
 * import { Kosmonaut } from "kosmonaut"
 *
 * export const KosmonautLive = Kosmonaut.layer({
 *   url: "wr://token@localhost:8081/shop",
 *   client: { requestTimeout: "2 seconds" },
 *   worker: { concurrency: 10 }
 * })
 *
 * // The same from configuration.
 * export const FromEnvironment = Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })
 * ```
 *
 * @since 0.1.0
 */

import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Endpoint from "../protocol/Endpoint.ts"
import { InvalidEndpointError, type InvalidOptionError } from "../protocol/KosmonautError.ts"
import * as TcpTransport from "../transport/TcpTransport.ts"
import type { Transport } from "../transport/Transport.ts"
import * as ZmqTransport from "../transport/ZmqTransport.ts"
import * as Client from "./Client.ts"
import { unwrap } from "./internal/configuredOptions.ts"
import * as Worker from "./Worker.ts"

/**
 * The options of whatever transport the URL names. `maxConnections` is for `wr+tcp` and `wrs+tcp` alone, `tls` for `wrs+tcp`, and
 * `curve` for `wrs`.
 *
 * @since 0.1.0
 */
export interface DriverOptions extends TcpTransport.Options, ZmqTransport.Options {}

/**
 * The URL of a vhost, and the options of the transport.
 *
 * @since 0.1.0
 */
export interface TransportOptions {
  /** The vhost's URL, `wr://<access token>@<host>:<port>/<vhost>`. */
  readonly url: string | Redacted.Redacted
  /** The options of the transport. */
  readonly transport?: DriverOptions | undefined
}

/**
 * The options of a Client and its transport.
 *
 * @since 0.1.0
 */
export interface ClientOptions extends TransportOptions {
  /** The options of the Client. */
  readonly client?: Omit<Client.Options, "url"> | undefined
}

/**
 * The options of a Client, a Worker and their transport.
 *
 * @since 0.1.0
 */
export interface Options extends ClientOptions {
  /** The options of the Worker. */
  readonly worker?: Omit<Worker.Options, "url"> | undefined
}

/**
 * The options of a Client and its transport, from configuration. `retry` is given as it is.
 *
 * @since 0.1.0
 */
export interface ClientConfigOptions {
  readonly url: Config.Config<string | Redacted.Redacted>
  readonly transport?: { readonly [Key in keyof DriverOptions]: Config.Wrap<DriverOptions[Key]> }
  readonly client?: Omit<Client.ConfigOptions, "url">
}

/**
 * The options of a Client, a Worker and their transport, from configuration. `retry` and `reconnect` are given as they are.
 *
 * @since 0.1.0
 */
export interface ConfigOptions extends ClientConfigOptions {
  readonly worker?: Omit<Worker.ConfigOptions, "url">
}

type WrongOption = InvalidEndpointError | InvalidOptionError

/**
 * A Client and a Worker. Nothing is connected before one of them is used. Fails if the URL or an option is wrong.
 *
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Client.Client | Worker.Worker, WrongOption> =>
  Layer.mergeAll(
    Client.layer({ ...options.client, url: options.url }),
    Worker.layer({ ...options.worker, url: options.url })
  ).pipe(Layer.provide(layerTransport(options)))

/**
 * A Client without a Worker. Nothing is connected before it is used. Fails if the URL or an option is wrong.
 *
 * @since 0.1.0
 */
export const layerClient = (options: ClientOptions): Layer.Layer<Client.Client, WrongOption> =>
  Client.layer({ ...options.client, url: options.url }).pipe(Layer.provide(layerTransport(options)))

/**
 * A Client and a Worker, with options from configuration.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: ConfigOptions
): Layer.Layer<Client.Client | Worker.Worker, WrongOption | Config.ConfigError> =>
  Layer.unwrap(Effect.gen(function*() {
    const worker = yield* unwrap<Omit<Worker.Options, "url">, "reconnect">(options.worker ?? {}, "reconnect")
    return layer({ ...yield* clientOptions(options), worker })
  }))

/**
 * A Client without a Worker, with options from configuration.
 *
 * @since 0.1.0
 */
export const layerClientConfig = (
  options: ClientConfigOptions
): Layer.Layer<Client.Client, WrongOption | Config.ConfigError> =>
  Layer.unwrap(Effect.map(clientOptions(options), layerClient))

const clientOptions = Effect.fnUntraced(
  function*(options: ClientConfigOptions): Effect.fn.Return<ClientOptions, Config.ConfigError> {
    return {
      url: yield* options.url,
      transport: yield* unwrap<DriverOptions, never>(options.transport ?? {}),
      client: yield* unwrap<Omit<Client.Options, "url">, "retry">(options.client ?? {}, "retry")
    }
  }
)

/**
 * The transport that a URL's scheme names: `wr` ZeroMQ, `wrs` the same with CURVE, `wr+tcp` classic TCP, `wrs+tcp` the same over
 * TLS.
 *
 * @since 0.1.0
 */
export const layerTransport = ({ transport, url }: TransportOptions): Layer.Layer<Transport, WrongOption> =>
  Layer.unwrap(Effect.fromResult(Result.flatMap(Endpoint.fromUrl(url), (endpoint) => {
    const { scheme } = endpoint
    if (scheme === "wr+tcp" || scheme === "wrs+tcp") return Result.succeed(TcpTransport.layer(transport))
    return scheme === "wr" || (transport?.curve?.serverKey ?? endpoint.serverKey) !== undefined
      ? Result.succeed(ZmqTransport.layer(transport))
      : Result.fail(new InvalidEndpointError({ url: endpoint.toString(), detail: withoutKey }))
  })))

const withoutKey = "wrs:// needs the broker's public key, as ?serverKey= or the option curve.serverKey of the transport"
