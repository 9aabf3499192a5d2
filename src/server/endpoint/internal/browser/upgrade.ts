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
import { type Answer, sentence } from "./answer.ts"
import type { Closing } from "./closing.ts"
import { closeTimeout, type Entered } from "./connection.ts"
import * as HttpServer from "./httpServer.ts"
import * as Script from "./script.ts"

/** The options of the handlers. */
export interface Options {
  readonly vhosts: Vhosts["Service"]
  readonly admission: Admission
  readonly closing: Closing
  readonly maxMessageSize: number
  readonly onEnter: (entered: Entered) => void
  /** Whether the broker admits no more browsers. */
  readonly isStopping: () => boolean
}

/** The handlers of requests, by the path of the vhost. */
export interface Upgrade {
  /** Answers a request that is no upgrade. */
  readonly answer: (request: Http.IncomingMessage, path: string) => Effect.Effect<Answer>
  /** Upgrades a connection, or rejects it. */
  readonly upgrade: (request: Http.IncomingMessage, path: string, head: Buffer) => Effect.Effect<void>
}

/** Makes the handlers of one endpoint. */
export const make = ({ admission, closing, isStopping, maxMessageSize, onEnter, vhosts }: Options): Upgrade => {
  const websockets = makeServer(maxMessageSize)
  // The input of a rejected browser is not read.
  const refusing = makeServer(1024)
  const script = Script.make()

  const refuse = (refusal: Refusal, request: Http.IncomingMessage, head: Buffer): Effect.Effect<void> => {
    const { code, status, text } = refusal
    if (code === undefined || versionOf(request) === null) HttpServer.respondTo(request.socket, sentence(status, text))
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
      onEnter({ vhost, version: versionOf(request) === null ? 0 : 1, ws, socket, ...admitted.success })
    })
    if (hasEntered) return Effect.void
    // The ws package has already responded with what is wrong with the request.
    closing.add(socket)
    return Effect.sync(admitted.success.release)
  }

  return {
    answer: (request, path) =>
      path === Script.path
        ? Effect.sync(() => script(request))
        : Effect.match(vhosts.get(path), {
          onFailure: () => sentence(refusals.vhost.status, refusals.vhost.text),
          onSuccess: () => noWebSocket
        }),
    upgrade: (request, path, head) =>
      Effect.flatMap(Effect.result(vhosts.get(path)), (vhost) => {
        const version = versionOf(request)
        if (request.headers.upgrade?.toLowerCase() !== "websocket") {
          HttpServer.respondTo(request.socket, noWebSocket)
          closing.add(request.socket)
          return Effect.void
        }
        if (version !== null && version !== "1") return refuse(refusals.version, request, head)
        if (isStopping()) return refuse(refusals.stopping, request, head)
        if (Result.isFailure(vhost)) return refuse(refusals.vhost, request, head)
        return enter(vhost.success, request, head)
      })
  }
}

const noWebSocket = sentence(426, "This is a WebSocket endpoint.")

/** How many fragments a message may have: each costs a hundred times its byte. Browsers send few. */
const maxFragments = 1024

/** How many pieces of one frame may be buffered, as the system gives them, for the same reason. */
const maxBufferedChunks = 8192

// `closeTimeout` is not in the types of ws. Pongs go through the outbound queue.
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

/** The path that a request is for. */
export const pathOf = ({ url = "" }: Http.IncomingMessage): string => url.split("?", 1)[0]!

/** The version of the protocol that the browser asks for; `null` if it does not. */
const versionOf = ({ url = "" }: Http.IncomingMessage): string | null => {
  const query = url.indexOf("?")
  return query === -1 ? null : new URLSearchParams(url.slice(query)).get("v")
}
