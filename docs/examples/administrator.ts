/**
 * A program that asks a broker at its port of administrators.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { AdminApi } from "kosmonaut/server/admin/AdminApi"

// A client of the admin API, with the cookie.
const admin = (address: string, cookie: string) =>
  HttpApiClient.make(AdminApi, {
    baseUrl: address,
    transformClient: HttpClient.mapRequest(HttpClientRequest.setHeader("X-WebRocket-Cookie", cookie))
  })

const longestQueue = Effect.gen(function*() {
  const { vhosts } = yield* admin("http://127.0.0.1:8082", yield* Config.String("KOSMONAUT_ADMIN_COOKIE"))
  const { items } = yield* vhosts.list({ query: {} })
  return Math.max(...items.map(({ counts }) => counts.queued))
})

longestQueue.pipe(
  Effect.flatMap((queued) => Console.log(`The longest queue has ${queued} events`)),
  Effect.provide(FetchHttpClient.layer),
  NodeRuntime.runMain
)
