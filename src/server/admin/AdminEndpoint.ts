/**
 * The endpoint of administrators: an HTTP server on a port of its own, on this machine alone unless `admin.host` says otherwise.
 *
 * - `/` is a dashboard, for a browser that a person opens it with. It has nothing in it, and asks that person for the cookie.
 * - `/health`, `/ready` and `/metrics` (Prometheus) are for programs that watch the broker, and ask for nothing.
 * - Everything else needs the cookie, as the header `X-WebRocket-Cookie`: `AdminApi` at `/api`, and the REST interface of the
 *   original broker at the paths of the vhosts. A page to browse `AdminApi` is at `/api` itself, and needs none.
 *
 * No other web site can read a response or send a request with the cookie. A request has at most 8 KiB of headers and 64 KiB
 * of body, and ten seconds to arrive. There are at most 256 connections; beyond that the oldest one that has not shown the
 * cookie is closed.
 *
 * @since 0.1.0
 */

import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constFalse } from "effect/Function"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import type * as Scope from "effect/Scope"
import type { ListenError } from "../../transport/TransportServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import type { InvalidOptionError } from "../BrokerError.ts"
import type { StoreError } from "../store/Store.ts"
import { Vhosts } from "../Vhosts.ts"
import { Admin } from "./Admin.ts"
import type { Api } from "./internal/api.ts"
import * as Classic from "./internal/classic.ts"
import * as Cookie from "./internal/cookie.ts"
import * as Dashboard from "./internal/dashboard.ts"
import * as Gate from "./internal/gate.ts"
import * as HttpServer from "./internal/httpServer.ts"
import * as Readiness from "./internal/readiness.ts"

/**
 * What the endpoint needs to know of the rest of the broker.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The port to bind; 0 picks a free one. */
  readonly port: number
  /** A URL of the port of browsers. */
  readonly probe: string
  /** Whether browsers are to go elsewhere, since the broker ends; default never. */
  readonly isDraining?: (() => boolean) | undefined
  /** For how long a connection may transfer nothing, default 30 seconds: one whose peer does not read, too. */
  readonly idleTimeout?: Duration.Input | undefined
}

/** How large the body of a request may be. */
const maxBodySize = ByteSize.fromInputUnsafe("64 KiB")

const make = Effect.fnUntraced(function*({ idleTimeout = "30 seconds", port, ...options }: Options) {
  const config = yield* BrokerConfig
  const vhosts = yield* Vhosts
  const { host } = config.admin
  const cookie = yield* Cookie.make(config)
  const server = yield* HttpServer.listen({ host, port, idleTimeout: Duration.toMillis(idleTimeout) })
  const gate = Gate.make({ cookie, trustUnsafe: server.trustUnsafe })
  const api = yield* apiOf
  const dashboard = Dashboard.make()
  const open = openOf(yield* Readiness.make(vhosts, options.probe, options.isDraining ?? constFalse), api, dashboard)

  const app = Effect.flatMap(HttpServerRequest, (request) => {
    const path = request.url.split("?", 1)[0]!
    const isRead = request.method === "GET" || request.method === "HEAD"
    const answer = isRead ? path === "/" && Dashboard.isVisit(request) ? dashboard.page : open.get(path) : undefined
    return answer ??
      gate(
        path.startsWith("/api/")
          ? Effect.flatMap(api, ({ respond }) => respond)
          : Classic.respond(vhosts, request, path)
      )
  }).pipe(
    Effect.catchDefect((defect) =>
      Effect.as(
        Effect.logError("A request of an administrator was not handled", defect),
        HttpServerResponse.empty({ status: 500 })
      )
    ),
    Effect.map(HttpServerResponse.setHeaders({ "cache-control": "no-store", "x-content-type-options": "nosniff" })),
    Effect.provideService(HttpIncomingMessage.MaxBodySize, maxBodySize)
  )
  server.http.on("request", yield* NodeHttpServer.makeHandler(app, { scope: yield* Effect.scope }))
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host.includes(":") ? `[${host}]` : host
  return Admin.of({ bound: { address: `http://${reachable}:${server.port}`, port: server.port, cookie } })
})

// Loaded with the first request for it: it needs much of Effect that nothing else does.
const apiOf: Effect.Effect<Effect.Effect<Api>, never, Vhosts | Scope.Scope> = Effect.flatMap(
  Effect.all([Effect.context<Vhosts | Scope.Scope>(), Clock.monotonicTimeNanos]),
  ([context, begun]) =>
    Effect.cached(
      Effect.promise(() => import("./internal/api.ts")).pipe(
        Effect.flatMap(({ make }) => make(begun)),
        // Not that of the request: handlers would keep it.
        Effect.updateContext((_: Context.Context<never>) => context),
        // Whoever waits for it may go.
        Effect.uninterruptible
      )
    )
)

type Response = Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest | Scope.Scope>

// What needs no cookie, by its path.
const openOf = (
  readiness: Readiness.Readiness,
  api: Effect.Effect<Api>,
  { files }: Dashboard.Dashboard
): ReadonlyMap<string, Response> =>
  new Map<string, Response>([
    ...files,
    ["/api", Effect.flatMap(api, ({ page }) => page)],
    ["/api/openapi.json", Effect.flatMap(api, ({ document }) => document)],
    ["/health", Effect.succeed(HttpServerResponse.jsonUnsafe({ status: "alive" }))],
    [
      "/ready",
      Effect.map(readiness, (problems) =>
        HttpServerResponse.jsonUnsafe(
          problems.length === 0 ? { status: "ready" } : { status: "not ready", problems },
          { status: problems.length === 0 ? 200 : 503 }
        ))
    ],
    [
      "/metrics",
      Effect.map(
        PrometheusMetrics.format(),
        (text) => HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
    ]
  ])

/**
 * The endpoint as a layer, bound when the layer is built. When its scope ends, connections are closed, whatever they wait for.
 *
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<Admin, ListenError | InvalidOptionError | StoreError, BrokerConfig | Vhosts> =>
  Layer.effect(Admin, make(options))
