/**
 * Serves `AdminApi`, its OpenAPI document and the page to browse it. All of it is made at the first request for it, since the
 * page alone is two megabytes.
 */

import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiSwagger from "effect/http-api/HttpApiSwagger"
import * as OpenApi from "effect/http-api/OpenApi"
import * as HttpRouter from "effect/http/HttpRouter"
import { isHttpServerError } from "effect/http/HttpServerError"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Vhosts } from "../../Vhosts.ts"
import { AdminApi } from "../AdminApi.ts"
import * as BrokerHandlers from "./brokerHandlers.ts"
import * as Handlers from "./handlers.ts"

type Response = HttpServerResponse.HttpServerResponse

/** Answers requests below `/api`. */
export interface Api {
  readonly respond: Responding
  /** The OpenAPI document. */
  readonly document: Effect.Effect<Response>
  /** The page to browse it. */
  readonly page: Responding
}

type Responding = Effect.Effect<Response, never, HttpServerRequest | Scope.Scope>

/** How many characters a name in a path may have, encoded. */
const maxParamLength = 6000

// The page has its scripts and styles in it, and needs nothing from elsewhere.
const policy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

/** Makes it for the scope, of a broker that has begun at this time, in monotonic nanoseconds. */
export const make = Effect.fnUntraced(function*(
  begun: bigint
): Effect.fn.Return<Api, never, Vhosts | Scope.Scope> {
  const context = yield* Effect.context<Vhosts | Scope.Scope>()
  const respondWith = (layer: Layer.Layer<never, never, Needed>) =>
    Effect.map(
      Effect.cached(
        HttpRouter.toHttpEffect(Layer.provide(layer, NodeHttpServer.layerHttpServices)).pipe(
          Effect.provideService(HttpRouter.RouterConfig, { maxParamLength, ignoreDuplicateSlashes: false }),
          // Not that of the request: handlers would keep it.
          Effect.updateContext((_: Context.Context<never>) => context)
        )
      ),
      (routes): Responding =>
        Effect.flatten(routes).pipe(
          // As a body that is too large, or ends early.
          Effect.catchDefect((defect) => isHttpServerError(defect) ? Effect.fail(defect) : Effect.die(defect)),
          Effect.catch((error) => HttpServerRespondable.toResponseOrElse(error, failed)),
          Effect.provideService(Vhosts, Context.get(context, Vhosts))
        )
    )
  const document = yield* Effect.cached(Effect.sync(() => HttpServerResponse.jsonUnsafe(OpenApi.fromApi(AdminApi))))
  const page = yield* respondWith(HttpApiSwagger.layer(AdminApi, { path: "/api" }))
  return {
    respond: yield* respondWith(
      HttpApiBuilder.layer(AdminApi).pipe(
        Layer.provide(Handlers.layer),
        Layer.provide(Layer.succeed(BrokerHandlers.Begun, begun))
      )
    ),
    document,
    page: Effect.map(page, HttpServerResponse.setHeader("content-security-policy", policy))
  }
})

const failed = HttpServerResponse.empty({ status: 500 })

type Needed =
  | Layer.Services<ReturnType<typeof HttpApiBuilder.layer<"kosmonaut", never>>>
  | Exclude<Layer.Services<typeof Handlers.layer>, BrokerHandlers.Begun>
