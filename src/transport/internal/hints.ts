/**
 * Explains what probably listens at an address that does not answer like a broker, and what to do: most often the URL has
 * another of the broker's ports.
 */

import type { Scheme } from "../../protocol/Endpoint.ts"
import { ConnectionClosedError, ConnectionError } from "../../protocol/KosmonautError.ts"

/** What the first bytes of a `wr+tcp://` connection reveal about a peer that is no broker. */
export const stranger = (bytes: Uint8Array): Error | undefined =>
  bytes[0] === 0xff
    ? new Error(
      "what listens there speaks ZeroMQ. Use a wr:// URL with this port, which by default is 8081, or the port for " +
        "wr+tcp://, by default 8083"
    )
    : startsWith(bytes, "HTTP/")
    ? new Error(
      "what listens there is a web server. Use the port for wr+tcp://, by default 8083, and not that for browsers (8080) " +
        "or for administration (8082)"
    )
    : undefined

/** The peer of a `wr+tcp://` connection sent nothing. */
export const silent = new Error(
  "it accepts connections and sends nothing. Is this the port for wr+tcp:// (by default 8083), and does the broker run?"
)

/** Where the original broker ends a message: it reads about so many bytes, and takes the rest for another message. */
export const largeForTheOriginal = 3500

/** A connection that ended instead of a response to a message that was large. */
export const maybeTooLarge = (error: ConnectionError, size: number): ConnectionError =>
  error.reason._tag !== "ConnectionClosedError" ? error : new ConnectionError({
    reason: new ConnectionClosedError({
      address: error.address,
      cause: new Error(
        `the message has ${size} bytes, and the original broker refuses messages of about 4000 bytes and more`
      )
    })
  })

/** Why a `wrs+tcp://` connection could not be opened, with a hint if what listens there does not speak TLS. */
export const ofTls = (cause: unknown): unknown => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : ""
  return /^(ERR_SSL_|EPROTO|ECONNRESET)/.test(code)
    ? new Error(`${code}: what listens there does not speak TLS. Does the broker have a certificate (--tls-cert)?`)
    : cause
}

/** What a code of ZeroMQ or the system means for a `wr://` or `wrs://` connection that could not be opened. */
export const ofCode = (code: string, scheme: Scheme = "wr"): Error => {
  const meaning = scheme === "wrs" && code === "EPROTO" ? withoutKey : meanings[code]
  return new Error(meaning === undefined ? code : `${code}: ${meaning}`)
}

const withoutKey =
  "what listens there does not speak ZeroMQ with CURVE. Does the broker have a key (--curve-secret-key-file)?"

const port = "Use the port for wr://, by default 8081, and not that for wr+tcp:// (8083) or for browsers (8080)"

const meanings: Record<string, string> = {
  EPROTO: `what listens there does not speak ZeroMQ. ${port}`,
  ECONNRESET: `it closed the connection before a ZeroMQ handshake. ${port}`,
  ETIMEDOUT:
    `no ZeroMQ handshake in time: the host cannot be reached, or what listens there does not speak ZeroMQ. ${port}`,
  EMFILE:
    "the process has no sockets or file descriptors left. Close Clients and Workers that are not needed, or raise " +
    "the limit (ulimit -n)"
}

const startsWith = (bytes: Uint8Array, text: string): boolean => {
  for (let index = 0; index < text.length; index++) if (bytes[index] !== text.charCodeAt(index)) return false
  return true
}
