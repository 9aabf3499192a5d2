/**
 * The server's side of TLS: makes the decrypted side of connections that a server has accepted.
 *
 * A connection keeps the certificate with which it began. A handshake has no deadline here: the server's own for a
 * connection's first message includes it. A peer that does not speak TLS, or breaks it, is disconnected.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import type { Socket } from "node:net"
import * as Tls from "node:tls"

/**
 * The first byte of every TLS connection.
 *
 * @since 0.1.0
 */
export const firstByte = 0x16

/**
 * Makes the decrypted side of a connection. Ending or destroying it does the same to the connection.
 *
 * @since 0.1.0
 */
export type Decrypt = (socket: Socket) => Socket

/**
 * Reads a certificate and its private key, both PEM. Fails with the reason if one cannot be read, or they do not belong
 * together.
 *
 * @since 0.1.0
 */
export const make = (
  credentials: { readonly cert: string | Buffer; readonly key: string | Buffer }
): Result.Result<Decrypt, Error> =>
  Result.map(
    Result.try({ try: () => Tls.createSecureContext(credentials), catch: (cause) => cause as Error }),
    (secureContext): Decrypt => (socket) =>
      new Tls.TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ["http/1.1"] })
        // An error is followed by the end.
        .on("error", () => undefined)
  )
