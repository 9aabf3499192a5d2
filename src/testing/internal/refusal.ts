/**
 * The broker's `:error` as the error of its status code, as far as a browser can tell.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import {
  BadRequestError,
  ChannelNotFoundError,
  EndOfFileError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError,
  type StatusError,
  TooManyRequestsError,
  UnauthorizedError
} from "../../protocol/KosmonautError.ts"

/** The error that was the response to `name` with `payload`. */
export const refusal = (error: JsonObject, name: string, payload: object): StatusError => {
  const channel = "channel" in payload ? String(payload.channel) : ""
  const detail = `the broker answered ${name} with :error ${JSON.stringify(error)}`
  switch (error.code) {
    case 400:
      return new BadRequestError({ detail })
    case 402:
      return new UnauthorizedError({ detail })
    case 403:
      return new ForbiddenError({ detail })
    case 429:
      return new TooManyRequestsError({ detail })
    case 451:
      return new InvalidChannelNameError({ channel })
    case 453:
      return new NotSubscribedError({ channel })
    case 454:
      return new ChannelNotFoundError({ channel })
    case 598:
      return new EndOfFileError({})
    default:
      return new InternalError({ detail })
  }
}
