/**
 * The export of traces, metrics and logs by OTLP, for `kosmonaut serve --otlp-url`.
 *
 * A collector that cannot be reached costs a line in the log when that begins and one when it is over. What was to be sent
 * is dropped meanwhile, and so is what a slow collector does not take: there are at most 4 requests at a time, each with
 * at most 1000 spans or lines and 10 seconds. A signal that was not taken is tried again a minute later.
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import * as Redacted from "effect/Redacted"
import * as Os from "node:os"
import { version } from "../server/admin/Version.ts"

/** How many requests there may be at a time. */
const maxInFlight = 4

/** How many spans or lines a request has at most. */
const maxBatchSize = 1000

/** How long a request may take. */
const timeout = "10 seconds"

/**
 * Exports to the collector at this URL: to `/v1/traces`, `/v1/metrics` and `/v1/logs` below it. The resource has the name
 * `kosmonaut` unless `OTEL_SERVICE_NAME` is set, the version, the host's name and an id of this process, and what is in
 * `OTEL_RESOURCE_ATTRIBUTES`. Requests have the headers of `OTEL_EXPORTER_OTLP_HEADERS`.
 *
 * @since 0.1.0
 */
export const layer = (url: string): Layer.Layer<never, Config.ConfigError> =>
  Layer.unwrap(Effect.gen(function*() {
    const headers = yield* Config.option(Config.Redacted("OTEL_EXPORTER_OTLP_HEADERS"))
    return Otlp.layerJson({
      baseUrl: url,
      resource: {
        serviceName: yield* Config.withDefault(Config.String("OTEL_SERVICE_NAME"), "kosmonaut"),
        serviceVersion: version,
        attributes: { "service.instance.id": SecureRandom.uuidV4Unsafe(), "host.name": Os.hostname() }
      },
      headers: headers._tag === "None" ? undefined : headersOf(Redacted.value(headers.value)),
      compression: "gzip",
      maxBatchSize,
      shutdownTimeout: "2 seconds"
    })
  })).pipe(
    Layer.provide(layerClient(new URL(url).host)),
    Layer.provide(FetchHttpClient.layer)
  )

// As OpenTelemetry writes them: `name=value,name=value`, percent-encoded.
const headersOf = (text: string): Record<string, string> =>
  Object.fromEntries(new URLSearchParams(text.replaceAll("+", "%2B").replace(/ *, */g, "&")))

// The exporter keeps what it exports until it is sent, and starts as many exports as there are spans for.
const layerClient = (collector: string) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) => {
      const report = makeReports(collector)
      let inFlight = 0
      return HttpClient.transform(client, (response, request) =>
        Effect.suspend(() => {
          // No error, which would be retried.
          if (inFlight >= maxInFlight) return Effect.die(new Error("the collector is too slow"))
          inFlight++
          return response.pipe(
            Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(lateOf(request)) }),
            Effect.tap((response) => report(request, response.status >= 400 ? problemOf(response) : undefined)),
            Effect.tapError((error) => report(request, textOf(error))),
            Effect.ensuring(Effect.sync(() => inFlight--))
          )
        }))
    })
  )

const lateOf = (request: HttpClientRequest.HttpClientRequest) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, description: `there was no response in ${timeout}` })
  })

const problemOf = ({ status }: HttpClientResponse.HttpClientResponse): string => `the status is ${status}`

const textOf = ({ cause, reason }: HttpClientError.HttpClientError): string => {
  const { description } = reason as { readonly description?: string | undefined }
  const inner = (cause as { readonly cause?: unknown } | undefined)?.cause ?? cause
  return description ?? (inner instanceof Error ? inner.message : "it cannot be reached")
}

// One line when a signal is no longer taken, and one when it is again.
const makeReports = (collector: string) => {
  const failing = new Set<string>()
  return (
    { url }: HttpClientRequest.HttpClientRequest,
    problem: string | undefined
  ): Effect.Effect<void> =>
    Effect.suspend(() => {
      const signal = url.slice(url.lastIndexOf("/") + 1)
      if (failing.has(signal) === (problem !== undefined)) return Effect.void
      if (problem === undefined) {
        failing.delete(signal)
        return Effect.logInfo(`The collector at ${collector} takes ${signal} again`)
      }
      failing.add(signal)
      return Effect.logWarning(
        `The collector at ${collector} does not take ${signal}, which are dropped until it does: ${problem}`
      )
    })
}
