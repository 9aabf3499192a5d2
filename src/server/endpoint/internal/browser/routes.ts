/**
 * The broker's routes on the router of an application: one for the script, and one for each vhost, also for those that are
 * added later. They win over patterns of the application, such as `/*`, and lose to a route of the application with the same
 * path. An upgrade for which there is no route at all is handled as well, so that browsers receive why they are rejected.
 */

import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import { type HttpServerError, isHttpServerError } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type * as Http from "node:http"
import type { Vhosts } from "../../../engine/Vhosts.ts"
import * as Script from "./script.ts"
import { pathOf } from "./upgrade.ts"

/** The options of the routes. */
export interface Options {
  /** The path below which they are. */
  readonly prefix: `/${string}` | ""
  readonly vhosts: Vhosts["Service"]
  /** Handles a request for a path below the prefix. */
  readonly handle: (request: HttpServerRequest, path: string) => Effect.Effect<HttpServerResponse>
}

/** Adds the routes to the router in the context. */
export const add = Effect.fnUntraced(function*({ handle, prefix, vhosts }: Options) {
  const router = yield* HttpRouter.HttpRouter
  // It has the middleware that the application has provided the broker with.
  const context = yield* Effect.context<never>()
  const added = new Set<string>()

  const hasRoute = (path: string) => path === Script.path ? Effect.succeed(true) : Effect.isSuccess(vhosts.get(path))
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
})

/** Whether a WebSocket is requested. */
export const isUpgrade = ({ headers }: Pick<HttpServerRequest, "headers">): boolean =>
  headers.upgrade?.toLowerCase() === "websocket"

const isRouteNotFound = (error: unknown): error is HttpServerError =>
  isHttpServerError(error) && error.reason._tag === "RouteNotFound"

const pathBelow = (prefix: string, request: HttpServerRequest): `/${string}` | undefined => {
  const path = pathOf(NodeHttpServerRequest.toIncomingMessage(request) as Http.IncomingMessage)
  return path.startsWith(`${prefix}/`) ? `/${path.slice(prefix.length + 1)}` : undefined
}
