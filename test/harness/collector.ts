/**
 * A collector of OpenTelemetry: what was sent to it, by signal.
 */
import { Effect } from "effect"
import * as Http from "node:http"
import { gunzipSync } from "node:zlib"
import { listening } from "./listening.ts"

export interface Received {
  readonly path: string
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

/** Makes one on a free port, until the scope ends. By default it accepts everything. */
export const make = Effect.gen(function*() {
  const received: Array<Received> = []
  let answer: (response: Http.ServerResponse) => void = (response) => response.end("{}")
  const server = Http.createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const bytes = Buffer.concat(chunks)
      const body = (request.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString()
      received.push({ path: request.url!, headers: request.headers, body })
      answer(response)
    })
  })
  const url = yield* listening(server)
  return {
    url,
    received,
    answers: (next: typeof answer) => {
      answer = next
    },
    /** Everything that was sent for a signal, as one text. */
    sent: (signal: "traces" | "metrics" | "logs") =>
      received.filter(({ path }) => path === `/v1/${signal}`).map(({ body }) => body).join("\n")
  }
})
