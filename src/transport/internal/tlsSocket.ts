/**
 * The client's side of TLS: a connection whose broker has proved by its certificate that it is the one that was expected.
 * Nothing is sent before.
 */

import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Tls from "node:tls"
import type { ConnectionError } from "../../protocol/KosmonautError.ts"
import * as TaggedError from "../../protocol/TaggedError.ts"
import * as TcpSocket from "./tcpSocket.ts"

/** By what the broker is trusted. */
export interface Trust {
  /** The certificates, PEM, of those who may have signed the broker's. Default those that Node.js knows. */
  readonly ca?: string | ReadonlyArray<string> | undefined
  /** The SHA-256 of the broker's certificate, 64 hexadecimal digits. If it is that one, nothing else is checked. */
  readonly fingerprint?: string | undefined
  /** The host name that the certificate is for. */
  readonly serverName?: string | undefined
}

/** The certificate is not trusted. */
export class CertificateError extends TaggedError.make("kosmonaut/transport")<CertificateError>()(
  "CertificateError",
  { detail: Schema.String },
  ({ detail }) => detail
) {}

/** Opens a connection, which ends with its scope, after all that was written is flushed. */
export const open = (
  options: TcpSocket.Address & { readonly trust: Trust }
): Effect.Effect<Tls.TLSSocket, ConnectionError, Scope.Scope> =>
  TcpSocket.openWith({
    connect: () => connect(options),
    openEvent: "secureConnect",
    check: (socket) => check(socket, options.trust),
    explain: (socket, cause) => socket.authorizationError == null ? cause : untrusted(socket),
    openTimeout: options.openTimeout,
    refused: options.refused
  })

const connect = ({ host, port, trust: { ca, fingerprint, serverName } }: Parameters<typeof open>[0]): Tls.TLSSocket => {
  const socket = Tls.connect({
    host,
    port,
    rejectUnauthorized: fingerprint === undefined,
    ...ca !== undefined && { ca: typeof ca === "string" ? ca : [...ca] },
    ...serverName !== undefined && { servername: serverName }
  })
  return socket.setNoDelay(true)
}

const check = (socket: Tls.TLSSocket, { fingerprint }: Trust): CertificateError | undefined => {
  if (fingerprint === undefined) return undefined
  const actual = socket.getPeerCertificate().fingerprint256?.replaceAll(":", "").toLowerCase()
  if (actual === fingerprint) return undefined
  return new CertificateError({ detail: `the fingerprint of its certificate is ${actual}` })
}

const untrusted = ({ authorizationError }: Tls.TLSSocket): CertificateError => {
  const code = String(authorizationError)
  return new CertificateError({ detail: `${meanings[code] ?? unknownSigner} (${code})` })
}

const unknownSigner = "nobody whom this process trusts has signed its certificate: give ca or fingerprint"

const meanings: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host: is the URL right, or is serverName needed?"
}
