/**
 * The server's side of TLS: makes the decrypted side of connections that a server has accepted.
 *
 * A connection keeps the certificate with which it began. A handshake has no deadline here: the server's own for a
 * connection's first message includes it. A peer that does not speak TLS, or breaks it, is disconnected.
 *
 * The private key works when the first message of a handshake has arrived. Since anybody can send that, at most one handshake
 * begins in a turn of the event loop, and until then a connection takes no more than an unencrypted one. Nothing costly comes after the first
 * message: keys are exchanged by X25519 and P-256 alone (with ML-KEM where there is it), which all browsers have, and the client's is in
 * that message. A client of TLS 1.3 that brings none of them is disconnected. The private key decrypts nothing, and no connection is negotiated
 * again.
 *
 * @since 0.1.0
 */

import { constVoid } from "effect/Function"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import type { Socket } from "node:net"
import * as Tls from "node:tls"
import * as ClientHello from "./internal/clientHello.ts"

/**
 * The first byte of every TLS connection.
 *
 * @since 0.1.0
 */
export const firstByte = 0x16

/**
 * Calls `serve` with the decrypted side of a connection, when its handshake begins. Ending or destroying that does the same to the
 * connection. Never called if the connection ends before, and never in the same step.
 *
 * @since 0.1.0
 */
export type Decrypt = (socket: Socket, serve: (decrypted: Socket) => void) => void

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
    Result.orElse(contextOf(credentials, `X25519MLKEM768:${groups}`), () => contextOf(credentials, groups)),
    (secureContext): Decrypt => (socket, serve) =>
      whenGreeted(socket, () =>
        serve(
          new Tls.TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ["http/1.1"] })
            // An error is followed by the end.
            .on("error", constVoid)
        ))
  )

/** By their names, and those with ML-KEM by their numbers, too. An OpenSSL before 3.5 has no ML-KEM. (Source: the registry of IANA.) */
const groups = "X25519:P-256"
const groupNumbers = new Set([29, 23, 4588])

const contextOf = (
  credentials: { readonly cert: string | Buffer; readonly key: string | Buffer },
  ecdhCurve: string
): Result.Result<Tls.SecureContext, Error> =>
  Result.try({
    try: () =>
      Tls.createSecureContext({
        ...credentials,
        ecdhCurve,
        ciphers: `${Tls.DEFAULT_CIPHERS}:!kRSA`,
        secureOptions: Crypto.constants.SSL_OP_NO_RENEGOTIATION
      }),
    catch: (cause) => cause as Error
  })

// The socket is read while its handshake waits, so that one whose peer has gone costs no handshake. Then it is paused and holds
// what was read, and TLS takes it from there.
const whenGreeted = (socket: Socket, begin: () => void): void => {
  let received: Buffer = Buffer.alloc(0)
  let isWhole = false
  const onEnd = () => void socket.destroy()
  const onData = (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    if (isWhole) return void (received.length > ClientHello.limit && socket.pause())
    isWhole = ClientHello.isWhole(received)
    if (!isWhole) return
    if (received[0] !== firstByte || ClientHello.hasKeyOf(received, groupNumbers)) enqueue({ socket, begin: beginIt })
    else socket.destroy()
  }
  const beginIt = () => {
    socket.off("data", onData).off("end", onEnd).pause().unshift(received)
    begin()
  }
  socket.on("error", constVoid).on("data", onData).on("end", onEnd).resume()
}

interface Handshake {
  readonly socket: Socket
  readonly begin: () => void
}

const waiting: Array<Handshake> = []

const enqueue = (handshake: Handshake): void => {
  if (waiting.push(handshake) === 1) setImmediate(beginNext)
}

// One in each turn: Node.js does its work after this.
const beginNext = (): void => {
  let next = waiting.shift()
  while (next?.socket.destroyed === true) next = waiting.shift()
  if (waiting.length > 0) setImmediate(beginNext)
  next?.begin()
}
