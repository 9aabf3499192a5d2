import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Result } from "effect"
import * as Http from "node:http"
import * as Https from "node:https"
import { sentence } from "../../../../../src/server/endpoint/internal/browser/answer.ts"
import * as HttpServer from "../../../../../src/server/endpoint/internal/browser/httpServer.ts"
import * as TlsServer from "../../../../../src/transport/TlsServer.ts"
import * as Certificates from "../../../../harness/certificates.ts"
import * as RawTcp from "../../../../harness/RawTcp.ts"

describe("the server of the browsers' port", () => {
  it.live("logs that a connection cannot be accepted, and goes on", () =>
    Effect.gen(function*() {
      let dropped = 0
      const http = yield* HttpServer.listen({
        host: "127.0.0.1",
        port: 0,
        decrypt: undefined,
        maxConnections: Infinity,
        upgraded: () => 0,
        onDrop: () => dropped++,
        closeTimeout: Duration.seconds(1),
        close: Effect.void,
        destroy: () => {}
      })
      http.on("request", (request, response) => HttpServer.respond(request, response, sentence(404, "Nothing.")))
      http.emit("error", Object.assign(new Error("accept EMFILE"), { code: "EMFILE" }))
      assert.strictEqual(dropped, 1)
      const { status } = yield* Effect.promise(() => fetch(`http://127.0.0.1:${HttpServer.portOf(http)}`))
      assert.strictEqual(status, 404)
    }))

  it.live.each([
    { scheme: "http", decrypt: undefined },
    { scheme: "https", decrypt: Result.getOrThrow(TlsServer.make(Certificates.contentOf("server"))) }
  ])(
    "closes the connection that has waited longest without a request to make room, $scheme",
    ({ decrypt, scheme }) =>
      Effect.gen(function*() {
        let dropped = 0
        let upgraded = 1
        const http = yield* HttpServer.listen({
          host: "127.0.0.1",
          port: 0,
          decrypt,
          maxConnections: 4,
          upgraded: () => upgraded,
          onDrop: () => dropped++,
          closeTimeout: Duration.seconds(1),
          close: Effect.void,
          destroy: () => {}
        })
        http.on("request", (request, response) => HttpServer.respond(request, response, sentence(404, "Nothing.")))
        const port = HttpServer.portOf(http)
        const silent = yield* Effect.replicateEffect(RawTcp.connect(port), 3)
        const request = Effect.callback<number | undefined>((resume) => {
          const { get } = scheme === "http" ? Http : Https
          get(`${scheme}://127.0.0.1:${port}`, { ca: Certificates.ca, agent: false }, (response) => {
            response.resume()
            resume(Effect.succeed(response.statusCode))
          })
        })
        assert.strictEqual(yield* request, 404)
        yield* silent[0]!.ended
        assert.strictEqual(dropped, 1)
        // The place of one that has been answered is free again.
        assert.strictEqual(yield* request, 404)
        assert.strictEqual(dropped, 1)
        assert.isFalse(yield* silent[1]!.hasEnded)
        upgraded = 4
        yield* (yield* RawTcp.connect(port)).ended.pipe(Effect.raceFirst(silent[1]!.ended))
        assert.strictEqual(dropped, 2)
      })
  )
})
