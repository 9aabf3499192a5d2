/**
 * The script's requests and triggers, over the WebSocket of Node.js, with a broker and a router.
 */
import { describe, it } from "@effect/vitest"
import { DateTime, Effect, Layer, Redacted } from "effect"
import { expect } from "vitest"
import type * as Script from "../../src/browser/script.ts"
import { Client, EventRouter } from "../../src/index.ts"
import { eventually } from "../harness/eventually.ts"
import { build } from "../harness/script.ts"
import { backend, TestBroker } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"
import { Chat, Taken } from "./page/events.ts"

const loaded: Effect.Effect<typeof Script> = Effect.promise(() =>
  import(/* @vite-ignore */ `data:text/javascript;base64,${Buffer.from(build("esm")).toString("base64")}`)
)

const connected = Effect.gen(function*() {
  const { connect } = yield* loaded
  const client = yield* Client.Client
  const { urls } = yield* TestBroker
  const token = () => Effect.runPromise(Effect.map(client.requestSingleAccessToken("joe", ".*"), Redacted.value))
  return yield* Effect.acquireRelease(
    Effect.sync(() => connect<typeof Chat>(urls.websocket, { token })),
    (connection) => Effect.sync(connection.close)
  )
})

const outcome = (promise: Promise<unknown>) =>
  Effect.promise(() => promise.then((data) => ({ data }), (error: Script.CallError) => error))

const at = "2026-01-01T00:00:00.000Z"

describe.each(["backend", "backendTcp"] as const)("requests of the script, with a worker at %s", (url) => {
  it.live("are responded to, fail as declared, and fail without a worker and by a defect", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const connection = yield* connected
      expect(yield* outcome(connection.request("chat/when", { at }))).toMatchObject({
        _tag: "NoWorkerError",
        code: 457
      })
      const handled: Array<unknown> = []
      const handlers = Chat.toLayer({
        say: ({ n }, { uid }) => Effect.sync(() => void handled.push([n, uid])),
        when: ({ at }) => Effect.succeed(DateTime.add(at, { days: 1 })),
        rename: () => new Taken({ by: "ann" }),
        crash: () => Effect.die(new Error("a secret"))
      })
      const router = EventRouter.layer(Chat, { onException: () => Effect.void })
      yield* Layer.build(Layer.provide(router, Layer.merge(handlers, Layer.fresh(backend(url)))))
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length > 0)
      yield* eventually(
        outcome(connection.request("chat/when", { at })),
        (outcome) => "data" in outcome && outcome.data === "2026-01-02T00:00:00.000Z"
      )
      expect(yield* outcome(connection.request("chat/rename", { to: "ann" }))).toMatchObject({
        _tag: "DeclaredError",
        error: { _tag: "Taken", by: "ann" }
      })
      const failed = yield* outcome(connection.request("chat/crash", {}))
      expect(failed).toMatchObject({ _tag: "HandlerFailedError", code: 458 })
      expect((failed as Error).message).not.toContain("a secret")
      // Each has its own response, whatever the order.
      const days = yield* Effect.promise(() =>
        Promise.all(
          Array.from({ length: 28 }, (_, n) =>
            connection.request("chat/when", { at: `2026-02-${String(n + 1).padStart(2, "0")}T00:00:00.000Z` }))
        )
      )
      expect(days.map((day) => Date.parse(day))).toEqual(days.map((_, n) => Date.UTC(2026, 1, n + 2)))
      expect(yield* outcome(connection.trigger("chat/say", { n: 1 }))).toEqual({ data: null })
      yield* eventually(Effect.sync(() => JSON.stringify(handled)), (json) => json === `[[1,"joe"]]`)
    }).pipe(Effect.provide(Layer.fresh(backend("backend"))), withBroker()))
})
