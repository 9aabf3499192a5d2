/**
 * A browser of the demo: a real WebSocket connection that sends and receives messages.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Json from "../protocol/Json.ts"
import * as TaggedError from "../protocol/TaggedError.ts"

/**
 * A browser did not receive what it should have. Exported for the declarations of the demo, which name it.
 *
 * @public
 * @since 0.1.0
 */
export class DemoError extends TaggedError.make("kosmonaut/cli/DemoBrowser")<DemoError>()("DemoError", {
  who: Schema.String,
  event: Schema.String,
  detail: Schema.String
}, ({ detail, event, who }) => `${who} waited for ${event} and ${detail}`) {}

/**
 * A browser of the demo.
 *
 * @since 0.1.0
 */
export interface DemoBrowser {
  readonly name: string
  /** Sends a message to the broker. */
  readonly send: (message: object) => Effect.Effect<void, Socket.SocketError>
  /** Waits for the next message that is this event, and gives its payload; messages before it are skipped. */
  readonly receive: (event: string) => Effect.Effect<Json.JsonObject, Socket.SocketError | DemoError>
}

/**
 * Connects a browser. It is disconnected with the scope.
 *
 * @since 0.1.0
 */
export const connect = Effect.fnUntraced(function*(
  url: string,
  name: string
): Effect.fn.Return<DemoBrowser, Socket.SocketError, Scope.Scope> {
  const socket = yield* Effect.provide(Socket.makeWebSocket(url), Socket.layerWebSocketConstructorGlobal)
  const { pull } = yield* socket.reader
  const { write } = yield* socket.writer
  let inbox: ReadonlyArray<string | Uint8Array> = []

  const next = Effect.gen(function*() {
    if (inbox.length === 0) inbox = yield* pull
    const [message, ...others] = inbox
    inbox = others
    return Json.single(Result.getOrUndefined(Json.parse(String(message)))) ?? ["", Json.empty] as const
  })

  const receive: DemoBrowser["receive"] = Effect.fnUntraced(
    function*(event) {
      for (;;) {
        const [received, data] = yield* next
        if (received === event) return data
        if (received === ":error") {
          return yield* new DemoError({ who: name, event, detail: `received ${JSON.stringify(data)}` })
        }
      }
    },
    (effect, event) =>
      Effect.timeoutOrElse(effect, {
        duration: "5 seconds",
        orElse: () => Effect.fail(new DemoError({ who: name, event, detail: "received nothing for 5 seconds" }))
      })
  )

  return { name, receive, send: (message) => write(JSON.stringify(message)) }
})
