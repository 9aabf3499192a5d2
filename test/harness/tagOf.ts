/**
 * What an error is, for comparison: its tag, and for a `ProtocolError` that of its reason, too.
 */
import type { ProtocolError } from "../../src/protocol/KosmonautError.ts"

/** `UnauthorizedError`, or `ProtocolError/BadRequestError`. */
export const tagOf = (error: { readonly _tag: string }): string =>
  error._tag === "ProtocolError" ? `ProtocolError/${(error as ProtocolError).reason._tag}` : error._tag
