/**
 * The status codes of the WebRocket protocol: the only table of numbers.
 *
 * Codes from 400 on are errors and travel to backends as `ER <code>` and to browsers as `:error {code, status}`. Of
 * them only 453 is never sent to a backend. Codes below 400 are information for logs and never travel; 408 travels only to
 * a Client that retries a request (see `Retry`).
 *
 * @since 0.1.0
 */

/**
 * Every code with its text, as the original broker spells it; 429 and 455 to 459 are ours.
 *
 * @since 0.1.0
 */
export const text = {
  201: "Authenticated",
  202: "Subscribed",
  203: "Unsubscribed",
  204: "Broadcasted",
  205: "Triggered",
  207: "Closed",
  250: "Channel opened",
  251: "Channel exists",
  252: "Channel closed",
  270: "Single access token generated",
  300: "Ready",
  301: "Heartbeat",
  305: "Connected",
  309: "Disconnected",
  400: "Bad request",
  402: "Unauthorized",
  403: "Forbidden",
  408: "Expired",
  429: "Too many requests",
  451: "Invalid channel name",
  453: "Not subscribed",
  454: "Channel not found",
  455: "Browser not found",
  456: "Dead letter not found",
  457: "No worker",
  458: "Handler failed",
  459: "Deadline exceeded",
  597: "Internal error",
  598: "End of file"
} as const

/**
 * A code of the table.
 *
 * @since 0.1.0
 */
export type Code = keyof typeof text

/**
 * The codes that are errors, each the `code` of one class, by the table in `StatusError`.
 *
 * @since 0.1.0
 */
export type ErrorCode = 400 | 402 | 403 | 429 | 451 | 453 | 454 | 455 | 456 | 457 | 458 | 459 | 597 | 598
