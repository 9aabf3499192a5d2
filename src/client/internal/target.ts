/**
 * What a Client and a Worker share: their endpoint, and the errors of status codes.
 */

import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Endpoint from "../../protocol/Endpoint.ts"
import {
  BadRequestError,
  EndOfFileError,
  InternalError,
  InvalidEndpointError,
  TooManyRequestsError,
  UnauthorizedError,
  UnknownServerError
} from "../../protocol/KosmonautError.ts"
import { Transport } from "../../transport/Transport.ts"

/** The URL as an endpoint, and the transport provided, which must speak its scheme. */
export const resolve = Effect.fnUntraced(function*(url: string | Redacted.Redacted) {
  const transport = yield* Transport
  const endpoint = yield* Effect.fromResult(Endpoint.fromUrl(url))
  if (!transport.schemes.includes(endpoint.scheme)) {
    return yield* new InvalidEndpointError({
      url: endpoint.toString(),
      detail: `the transport provided speaks ${transport.schemes.join(", ")}`
    })
  }
  return { transport, endpoint }
})

/** The statuses that mean the same whatever was asked; `what` says what that was. */
export type AnswerError =
  | BadRequestError
  | UnauthorizedError
  | TooManyRequestsError
  | InternalError
  | EndOfFileError
  | UnknownServerError

/** The error of a status code, one to one. The broker's reason, if it gives one, says more than we can guess. */
export const statusError = (
  { code, reason }: { readonly code: number; readonly reason?: string | undefined },
  what: string,
  endpoint: Endpoint.Endpoint
): AnswerError => {
  switch (code) {
    case 400:
      return new BadRequestError({ detail: reason ?? `the broker did not understand ${what}` })
    case 402:
      return new UnauthorizedError({
        detail: reason ?? `the access token does not open ${endpoint.vhost} at ${endpoint.address}`
      })
    case 429:
      return new TooManyRequestsError({ detail: reason ?? `the broker refused ${what} for now` })
    case 597:
      return new InternalError({ detail: reason ?? `the broker failed at ${what}` })
    case 598:
      return new EndOfFileError({})
    default:
      return new UnknownServerError({ code })
  }
}
