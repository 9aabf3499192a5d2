/**
 * The broker's routes on the router of an application: one for the script, and one for each vhost, also for those that are
 * added later. They win over patterns of the application, such as `/*`, and lose to a route of the application with the same
 * path. An upgrade for which there is no route at all is handled as well, so that browsers receive why they are rejected.
 */

import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import { type HttpServerError, isHttpServerError } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type { Vhosts } from "../../../engine/Vhosts.ts"
import * as Script from "./script.ts"
import { pathOf } from "./upgrade.ts"

/** What handles the requests below the prefix. */
export interface Served {
  readonly vhosts: Vhosts["Service"]
  /** Handles a request for a path below the prefix. */
  readonly handle: (request: HttpServerRequest, path: string) => Effect.Effect<HttpServerResponse.HttpServerResponse>
}

/** The routes of a broker, whichever serves them: a node of a cluster that starts anew takes the place of the one before. */
export class Mount extends Context.Service<Mount, {
  /** The path below which they are. */
  readonly prefix: `/${string}` | ""
  /** Serves them until the scope ends. While nobody does, browsers get 503. */
  readonly serve: (served: Served) => Effect.Effect<void, never, Scope.Scope>
}>()("kosmonaut/server/endpoint/Mount") {}

const make = Effect.fnUntraced(function*(prefix: `/${string}` | "") {
  const router = yield* HttpRouter.HttpRouter
  // It has the middleware that the application has provided the broker with.
  const context = yield* Effect.context<never>()
  const added = new Set<string>()
  let served: Served | undefined

  const hasRoute = (path: string) =>
    served === undefined
      ? Effect.succeed(false)
      : path === Script.path
      ? Effect.succeed(true)
      : Effect.isSuccess(served.vhosts.get(path))
  const handle: Served["handle"] = (request, path) =>
    served === undefined ? Effect.succeed(starting) : served.handle(request, path)
  // A router refuses a second route with the same path by a defect. The first one is the application's.
  const addRoute = (path: `/${string}`) =>
    Effect.suspend(() => {
      added.add(path)
      // The router may have ignored case and slashes.
      const route = router.add("GET", `${prefix}${path}`, (request) =>
        handle(request, pathBelow(prefix, request) ?? path))
      return Effect.exit(Effect.provideContext(route, context))
    })

  // At the first request all layers are built, so that the routes of the application are there.
  yield* router.addGlobalMiddleware((application) =>
    Effect.flatMap(HttpServerRequest, (request) => {
      const path = pathBelow(prefix, request)
      if (path === undefined) return application
      const routed = added.has(path)
        ? application
        : Effect.flatMap(hasRoute(path), (has) => has ? Effect.andThen(addRoute(path), application) : application)
      return isUpgrade(request)
        ? Effect.catchIf(routed, isRouteNotFound, () => handle(request, path))
        : routed
    })
  )
  return Mount.of({
    prefix,
    serve: (next) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => served = next),
        () => Effect.sync(() => served = undefined)
      ))
  })
})

/** Adds the routes to the router in the context. */
export const layer = (prefix: `/${string}` | ""): Layer.Layer<Mount, never, HttpRouter.HttpRouter> =>
  Layer.effect(Mount, make(prefix))

const starting = HttpServerResponse.text("The broker is starting.", { status: 503 })

/** Whether a WebSocket is requested. */
export const isUpgrade = ({ headers }: Pick<HttpServerRequest, "headers">): boolean =>
  headers.upgrade?.toLowerCase() === "websocket"

const isRouteNotFound = (error: unknown): error is HttpServerError =>
  isHttpServerError(error) && error.reason._tag === "RouteNotFound"

const pathBelow = (prefix: string, request: HttpServerRequest): `/${string}` | undefined => {
  const path = pathOf(NodeHttpServerRequest.toIncomingMessage(request) as Http.IncomingMessage)
  return path.startsWith(`${prefix}/`) ? `/${path.slice(prefix.length + 1)}` : undefined
}
