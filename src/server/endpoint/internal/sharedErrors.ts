/**
 * Errors that browsers and Clients can cause often: each is made once for each text.
 */

import { DeadlineExceededError, HandlerFailedError, TooManyRequestsError } from "../../../protocol/KosmonautError.ts"
import { shared } from "../../domain/sharedError.ts"
import type { RequestResult } from "../../engine/EventQueue.ts"

/** The error of a limit, which `detail` names. */
export const tooMany = shared((detail) => new TooManyRequestsError({ detail }))

/**
 * The error of a request for this event; `undefined` if it has a response, or was cancelled. Why its handler failed is in the log only.
 */
export const errorOf = (
  event: string,
  { _tag }: RequestResult
): HandlerFailedError | DeadlineExceededError | undefined =>
  _tag === "Failed"
    ? failed(event)
    : _tag === "Expired"
    ? expired(event)
    : undefined

const failed = shared((event) =>
  new HandlerFailedError({ event, detail: "its handler failed; the broker's log has the reason" })
)
const expired = shared((event) => new DeadlineExceededError({ event }))

/** The error of a response that is larger than a message may be. */
export const responseTooLarge = (event: string, largest: number): HandlerFailedError =>
  new HandlerFailedError({ event, detail: `its response is larger than a message may be, ${largest} bytes` })
