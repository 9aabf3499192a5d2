/**
 * Lets requests pass that have the cookie as the header `X-WebRocket-Cookie`. It is compared in constant time, and comes back
 * with the response. All others are answered 403 with an empty body, as the original does.
 *
 * Guessing is slow: a wrong cookie is answered after a second, and while 16 such answers are due, the connections of
 * further ones are closed. Whoever has the cookie does not wait.
 *
 * The cookie is a header of its own, which no form and no link of a web site can send, and scripts of other sites are not
 * allowed to: requests cannot be forged (CSRF).
 */

import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Mac from "effect/crypto/Mac"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import * as Throttle from "../../../protocol/Throttle.ts"

/** The header. */
const header = "x-webrocket-cookie"

/** How many wrong cookies may wait for their answer, and for how long each does. */
const maxWaiting = 16
const delay = "1 second"

/** Answers a request, or lets it pass. */
export type Gate = <E, R>(
  pass: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest>

/** The options of a gate. */
export interface Options {
  readonly cookie: Redacted.Redacted
  /** Called for the connection of a request with the cookie. */
  readonly trustUnsafe: (socket: Socket) => void
}

/** Makes a gate. */
export const make = ({ cookie, trustUnsafe }: Options): Gate => {
  const isRight = (given: string | undefined) =>
    given !== undefined && Mac.timingSafeEqual(encoder.encode(given), encoder.encode(Redacted.value(cookie)))
  const echo = HttpServerResponse.setHeader(header, Redacted.value(cookie))
  const slow = makeSlow()
  return (pass) =>
    Effect.flatMap(HttpServerRequest, (request) => {
      const { socket } = NodeHttpServerRequest.toIncomingMessage(request) as IncomingMessage
      const given = request.headers[header]
      if (given === undefined) return Effect.succeed(forbidden)
      if (!isRight(given)) return slow(socket)
      trustUnsafe(socket)
      return Effect.map(pass, echo)
    })
}

const makeSlow = () => {
  const waiting = Semaphore.makeUnsafe(maxWaiting)
  const warn = Throttle.warning((count) =>
    `${count === 1 ? "1 request" : `${count} requests`} to the admin endpoint had a wrong cookie`
  )
  return (socket: Socket) =>
    warn("").pipe(
      Effect.andThen(waiting.withPermitsIfAvailable(1)(Effect.sleep(delay))),
      Effect.map((slept) => {
        if (Option.isNone(slept)) socket.destroy()
        return forbidden
      })
    )
}

const forbidden = HttpServerResponse.empty({ status: 403 })

const encoder = new TextEncoder()
