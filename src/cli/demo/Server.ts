/**
 * The server of the demo, as an application has one: its page, a route for tokens, the broker and the backend on one HTTP
 * server, which only this machine can reach.
 *
 * @since 0.1.0
 */

import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Http from "node:http"
import { fileURLToPath } from "node:url"
import * as Client from "../../client/Client.ts"
import * as Kosmonaut from "../../client/Kosmonaut.ts"
import * as Broker from "../../server/Broker.ts"
import * as Vhosts from "../../server/Vhosts.ts"
import * as Backend from "./Backend.ts"
import { Station } from "./Chat.ts"
import { Crew } from "./Crew.ts"

/** Where the page connects to. */
const path = "/demo"

const host = "127.0.0.1"

/**
 * The options of the server.
 *
 * @since 0.1.0
 */
export interface Options {
  /** 0 picks a free port. */
  readonly port: number
  /** What the broker has accepted is there, and outlasts a restart. */
  readonly storageDir: string
  /** Run when the person asks for a restart. */
  readonly restart: Effect.Effect<unknown>
}

/**
 * Starts the server, and gives its port. It ends with the scope, and pages then reconnect.
 *
 * @since 0.1.0
 */
export const start = Effect.fnUntraced(function*(options: Options) {
  const context = yield* Layer.build(layer(options))
  return Context.get(context, Broker.Broker).websocketPort
})

const layer = ({ port, restart, storageDir }: Options) =>
  HttpRouter.serve(
    Layer.mergeAll(Backend.layer, Page, routes(restart)).pipe(
      Layer.provide(KosmonautLive),
      Layer.provideMerge(
        Broker.layerHttp({ backendPort: 0, tcpPort: 0, storageDir, vhosts: [{ path, channels: [Station.name] }] })
      )
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(Layer.provide(NodeHttpServer.layer(Http.createServer, { port, host })))

const KosmonautLive = Layer.unwrap(Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const vhosts = yield* Vhosts.Vhosts
  return Kosmonaut.layer({ url: broker.urls(yield* vhosts.get(path)).backend })
}))

// Read at each request: who edits the page needs only to load it again.
const Page = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const files = yield* FileSystem.FileSystem
  const page = fileURLToPath(new URL("page.html", import.meta.url))
  yield* router.add(
    "GET",
    "/",
    Effect.map(
      files.readFileString(page),
      (text) => HttpServerResponse.text(text, { contentType: "text/html; charset=utf-8", headers })
    )
  )
}))

const routes = (restart: Effect.Effect<unknown>) =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    const client = yield* Client.Client
    const crew = yield* Crew

    // An application knows its user by a session. Here a tab of a browser is a user.
    yield* router.add(
      "GET",
      "/token",
      Effect.gen(function*() {
        const { tab } = yield* HttpServerRequest.schemaSearchParams(Tab)
        yield* crew.enter(tab)
        const token = yield* client.requestSingleAccessToken({ uid: tab, channels: [Station] })
        return HttpServerResponse.text(Redacted.value(token), { headers })
      })
    )

    // Other sites can send this, too, but a browser says that it comes from there.
    yield* router.add("POST", "/restart", (request) =>
      (request.headers["sec-fetch-site"] ?? "same-origin") === "same-origin"
        ? Effect.as(restart, HttpServerResponse.empty({ status: 202 }))
        : Effect.succeed(HttpServerResponse.empty({ status: 403 })))
  }))

const Tab = Schema.Struct({ tab: Schema.String.check(Schema.isPattern(/^[\w-]{8,40}$/)) })

const headers = { "cache-control": "no-store" }
