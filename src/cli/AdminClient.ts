/**
 * A client of a broker's admin API, for the commands `kosmonaut admin …`. It is loaded with the first of them, since the other
 * commands need no HTTP.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TaggedError from "../protocol/TaggedError.ts"
import { AdminApi } from "../server/admin/AdminApi.ts"
import * as CommandLine from "./CommandLine.ts"

/**
 * Where the broker is, and where its cookie is.
 *
 * @since 0.1.0
 */
export interface Target {
  /** The address of its admin port. */
  readonly address: string
  /** The cookie; `undefined` if it is in the storage folder. */
  readonly cookie: Redacted.Redacted | undefined
  /** Its storage folder, if it has one. */
  readonly storageDir: string | undefined
}

/**
 * The admin port cannot be reached, or does not accept the cookie.
 *
 * @since 0.1.0
 */
export class AdminConnectionError
  extends TaggedError.make("kosmonaut/cli/AdminClient")<AdminConnectionError>()("AdminConnectionError", {
    address: Schema.String,
    detail: Schema.String
  }, ({ address, detail }) => `The broker at ${address} ${detail}`)
{}

/**
 * Makes a client. Its calls fail with the errors of `AdminApi`, and with `AdminConnectionError`.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(target: Target) {
  const { address } = target
  const cookie = yield* cookieOf(target)
  const fail = (detail: string) => Effect.fail(new AdminConnectionError({ address, detail }))
  const httpClient = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.setHeader("x-webrocket-cookie", Redacted.value(cookie))),
    HttpClient.transformResponse((response) =>
      response.pipe(
        Effect.catch(() => fail("does not answer. Is it running, and is this the port of its administrators?")),
        Effect.flatMap((response) =>
          response.status === 403
            ? fail("does not accept the cookie. Give that of its storage folder, or the one that it was started with")
            : Effect.succeed(response)
        )
      )
    )
  )
  return yield* HttpApiClient.makeWith(AdminApi, { httpClient, baseUrl: address })
}, Effect.provide(FetchHttpClient.layer))

const cookieOf = Effect.fnUntraced(function*({ cookie, storageDir }: Target) {
  if (cookie !== undefined) return cookie
  if (storageDir === undefined) {
    return yield* CommandLine.wrongUse(
      "The cookie is missing: give --storage-dir, --cookie, or set KOSMONAUT_ADMIN_COOKIE. A broker without storage prints its cookie to its terminal, unless it was started with one"
    )
  }
  const [files, path] = [yield* FileSystem.FileSystem, yield* Path.Path]
  const file = path.join(storageDir, "kosmonaut.cookie")
  const text = yield* Effect.mapError(
    files.readFileString(file),
    ({ reason }) =>
      CommandLine.wrongUse(
        reason._tag === "NotFound"
          ? `There is no ${file}: give the --storage-dir of a broker that has an admin port, or set KOSMONAUT_ADMIN_COOKIE`
          : `The cookie cannot be read from ${file}: ${reason._tag}`
      )
  )
  return Redacted.make(text.trim())
})
