/**
 * What the endpoint answers to a request, whatever HTTP server it came in by. The connection is closed after it, so that a
 * peer that does not read cannot hold it.
 */

/** An answer. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** A status and one sentence. */
export const sentence = (status: number, text: string): Answer => ({
  status,
  headers: {
    "content-type": "text/plain",
    connection: "close",
    ...status === 426 && { upgrade: "websocket" },
    ...(status === 429 || status === 503) && { "retry-after": "5" }
  },
  body: `${text}\n`
})
