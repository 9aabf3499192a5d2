/**
 * Requests of an administrator, as bytes on a connection of their own: what goes over the wire and nothing else.
 */
import { Effect, Redacted } from "effect"
import * as Http from "node:http"
import { TestBroker } from "./TestBroker.ts"

/** A response. */
export interface Response {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

/** What a request has beside its method and its path. */
export interface Options {
  readonly headers?: Http.OutgoingHttpHeaders | undefined
  readonly body?: string | undefined
}

/** The header of who has the cookie. */
export const header = "x-webrocket-cookie"

/** Sends a request to this port. */
export const send = (port: number, method: string, path: string, { body, headers }: Options = {}) =>
  Effect.callback<Response, Error>((resume) => {
    const request = Http.request({ host: "127.0.0.1", port, method, path, headers: headers ?? {}, agent: false })
    request.on("response", (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => body += text)
      response.on(
        "end",
        () => resume(Effect.succeed({ status: response.statusCode!, headers: response.headers, body }))
      )
      response.on("error", (cause) => resume(Effect.fail(cause)))
    })
    request.on("error", (cause) => resume(Effect.fail(cause)))
    request.end(body)
    return Effect.sync(() => request.destroy())
  })

/** The admin endpoint of the test's broker. */
export const bound = Effect.map(TestBroker, ({ broker }) => broker.admin!)

/** Sends a request without the cookie. */
export const sendAsStranger = (method: string, path: string, options?: Options) =>
  Effect.flatMap(bound, ({ port }) => send(port, method, path, options))

/** Sends a request with the cookie. */
export const request = (method: string, path: string, { headers, ...options }: Options = {}) =>
  Effect.flatMap(
    bound,
    ({ cookie, port }) =>
      send(port, method, path, { ...options, headers: { [header]: Redacted.value(cookie), ...headers } })
  )
