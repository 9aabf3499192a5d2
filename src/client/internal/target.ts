/**
 * What a Client and a Worker share: their endpoint, and the errors of status codes.
 */

import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { FromServer } from "../../protocol/Command.ts"
import * as Endpoint from "../../protocol/Endpoint.ts"
import {
  type About,
  fromCode,
  InvalidEndpointError,
  type ProtocolError,
  UnknownServerError,
  type WithCode
} from "../../protocol/KosmonautError.ts"
import type * as Status from "../../protocol/Status.ts"
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

/** The errors of the statuses that mean the same whatever was requested. */
export type AnswerError = WithCode<400 | 402 | 429 | 597 | 598> | UnknownServerError

/** The broker's response to a request that failed. */
type Failed = Pick<Extract<FromServer, { readonly _tag: "Failure" }>, "code" | "reason">

/** The error of a status that means the same for every request. The broker's reason, if it has one, is the most precise. */
export const statusError = ({ code, reason }: Failed, what: string, endpoint: Endpoint.Endpoint): AnswerError => {
  const error = fromCode(code, { detail: reason ?? detailOf(code, what, endpoint) })
  return error._tag === "UnauthorizedError" || isReason(error) ? error : new UnknownServerError({ code })
}

/** The errors of the statuses that mean something to one operation, by the fields of its command. */
export const expecting = <const Code extends Status.ErrorCode>(...codes: ReadonlyArray<Code>) =>
(
  { code, reason = "" }: Failed,
  command: Omit<About, "detail">
): WithCode<Code> | undefined =>
  codes.some((expected) => expected === code)
    ? fromCode(code, { ...command, detail: reason }) as WithCode<Code>
    : undefined

/** Whether an error is one of the reasons of a `ProtocolError`. */
export const isReason = (
  error: { readonly _tag: string }
): error is WithCode<400 | 429 | 597 | 598> | UnknownServerError => reasons.has(error._tag)

const reasons: ReadonlySet<string> = new Set<ProtocolError["reason"]["_tag"]>([
  "BadRequestError",
  "TooManyRequestsError",
  "InternalError",
  "EndOfFileError",
  "UnknownServerError"
])

const detailOf = (code: number, what: string, { address, vhost }: Endpoint.Endpoint): string => {
  switch (code) {
    case 400:
      return `the broker did not understand ${what}`
    case 402:
      return `the access token does not open ${vhost} at ${address}`
    case 429:
      return `the broker refused ${what} for now`
    default:
      return `the broker failed at ${what}`
  }
}
