import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import * as HttpServer from "../../../../../src/server/endpoint/internal/browser/httpServer.ts"

describe("the server of the browsers' port", () => {
  it.live("goes on when a connection cannot be accepted, and tells", () =>
    Effect.gen(function*() {
      let dropped = 0
      const http = yield* HttpServer.listen({
        host: "127.0.0.1",
        port: 0,
        maxConnections: Infinity,
        onDrop: () => dropped++,
        closeTimeout: Duration.seconds(1),
        close: Effect.void,
        destroy: () => {}
      })
      http.on("request", (_, response) => HttpServer.respond(response, 404, "Nothing."))
      http.emit("error", Object.assign(new Error("accept EMFILE"), { code: "EMFILE" }))
      assert.strictEqual(dropped, 1)
      const { status } = yield* Effect.promise(() => fetch(`http://127.0.0.1:${HttpServer.portOf(http)}`))
      assert.strictEqual(status, 404)
    }))
})
