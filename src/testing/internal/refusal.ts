/**
 * The broker's `:error` as the error of its status code, as far as a browser can see.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import { fromCode, InternalError, type StatusError } from "../../protocol/KosmonautError.ts"

/** The error that was the response to `name` with `payload`. */
export const refusal = (error: JsonObject, name: string, payload: object): StatusError => {
  const channel = "channel" in payload ? String(payload.channel) : ""
  const detail = `the broker answered ${name} with :error ${JSON.stringify(error)}`
  const made = fromCode(Number(error.code), { channel, detail })
  return made._tag === "UnknownServerError" ? new InternalError({ detail }) : made
}
