/**
 * Handles the requests on the browsers' port: upgrades them to WebSockets, or rejects them with a reason. A rejected connection
 * is closed within a deadline.
 */

import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Result from "effect/Result"
import type * as Http from "node:http"
import type { Vhost, Vhosts } from "../../../engine/Vhosts.ts"
import { type Admission, type Refusal, refusals } from "./admission.ts"
import type { Closing } from "./closing.ts"
import { closeTimeout, type Entered } from "./connection.ts"
import * as HttpServer from "./httpServer.ts"

/** The options of the handlers. */
export interface Options {
  readonly vhosts: Vhosts["Service"]
  readonly admission: Admission
  readonly closing: Closing
  readonly maxMessageSize: number
  readonly onEnter: (entered: Entered) => void
}

/** The handlers of the HTTP server's events. */
export interface Upgrade {
  readonly onRequest: (request: Http.IncomingMessage, response: Http.ServerResponse) => Effect.Effect<void>
  readonly onUpgrade: (request: Http.IncomingMessage, head: Buffer) => Effect.Effect<void>
}

/** Makes the handlers of one endpoint. */
export const make = ({ admission, closing, maxMessageSize, onEnter, vhosts }: Options): Upgrade => {
  const websockets = makeServer(maxMessageSize)
  // The input of a rejected browser is not read.
  const refusing = makeServer(1024)

  const refuse = (refusal: Refusal, request: Http.IncomingMessage, head: Buffer): Effect.Effect<void> => {
    const { code, status, text } = refusal
    if (versionOf(request) === null) HttpServer.respondTo(request.socket, status, text)
    else {
      refusing.handleUpgrade(request, request.socket, head, (ws) => {
        ws.on("error", constVoid)
        ws.close(code, text)
      })
    }
    closing.add(request.socket)
    return admission.refuse(refusal, request)
  }

  const enter = (vhost: Vhost, request: Http.IncomingMessage, head: Buffer): Effect.Effect<void> => {
    const { socket } = request
    const admitted = admission.admit(request, vhost)
    if (Result.isFailure(admitted)) return refuse(admitted.failure, request, head)
    let hasEntered = false
    websockets.handleUpgrade(request, socket, head, (ws) => {
      hasEntered = true
      onEnter({ vhost, version: versionOf(request) === null ? 0 : 1, ws, socket, release: admitted.success })
    })
    if (hasEntered) return Effect.void
    // The ws package has already responded with what is wrong with the request.
    closing.add(socket)
    return Effect.sync(admitted.success)
  }

  return {
    onRequest: (request, response) =>
      Effect.match(vhosts.get(pathOf(request)), {
        onFailure: () => HttpServer.respond(response, refusals.vhost.status, refusals.vhost.text),
        onSuccess: () => HttpServer.respond(response, 426, noWebSocket)
      }),
    onUpgrade: (request, head) =>
      Effect.flatMap(Effect.result(vhosts.get(pathOf(request))), (vhost) => {
        const version = versionOf(request)
        if (request.headers.upgrade?.toLowerCase() !== "websocket") {
          HttpServer.respondTo(request.socket, 426, noWebSocket)
          closing.add(request.socket)
          return Effect.void
        }
        if (version !== null && version !== "1") return refuse(refusals.version, request, head)
        if (Result.isFailure(vhost)) return refuse(refusals.vhost, request, head)
        return enter(vhost.success, request, head)
      })
  }
}

const noWebSocket = "This is a WebSocket endpoint."

// `closeTimeout` is not in the types of ws. Pongs go through the outbound queue.
/** How many fragments a message may have: each costs a hundred times its byte. Browsers send few. */
const maxFragments = 1024

/** How many pieces of one frame may be buffered, as the system gives them, for the same reason. */
const maxBufferedChunks = 8192

const makeServer = (maxPayload: number) => {
  const options = {
    noServer: true,
    clientTracking: false,
    autoPong: false,
    maxPayload,
    maxFragments,
    maxBufferedChunks,
    closeTimeout
  }
  return new NodeWS.WebSocketServer(options)
}

const pathOf = ({ url = "" }: Http.IncomingMessage): string => url.split("?", 1)[0]!

/** The version of the protocol that the browser asks for; `null` if it does not. */
const versionOf = ({ url = "" }: Http.IncomingMessage): string | null => {
  const query = url.indexOf("?")
  return query === -1 ? null : new URLSearchParams(url.slice(query)).get("v")
}
