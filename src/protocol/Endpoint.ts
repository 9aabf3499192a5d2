/**
 * Where a vhost of a broker is and the token that opens it, as one URL.
 *
 * `wr://<access token>@<host>:<port>/<vhost>`, or with the token as `?token=…` as the protocol's first draft wrote it.
 * The scheme picks the transport: `wr` ZeroMQ, `wr+tcp` classic TCP (what the original broker speaks), `wrs` ZeroMQ with CURVE and
 * `wrs+tcp` TCP over TLS. The token is redacted: printing an endpoint never shows it.
 *
 * A URL may say by what the broker is known: `wrs://…?serverKey=` by its public key, `wrs+tcp://…?fingerprint=` by its
 * certificate. Neither is a secret.
 *
 * @since 0.1.0
 */

import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as CurveKey from "./CurveKey.ts"
import { InvalidEndpointError } from "./KosmonautError.ts"

/**
 * The schemes and the port each has when the URL names none.
 *
 * @since 0.1.0
 */
export const defaultPort = { "wr": 8081, "wrs": 8081, "wr+tcp": 8083, "wrs+tcp": 8083 } as const

/**
 * A URL scheme, which is a choice of transport.
 *
 * @since 0.1.0
 */
export type Scheme = keyof typeof defaultPort

/**
 * A vhost's path: `/` and words of letters, digits, `_` and `-`, at most 128 characters, so that an identity with it
 * still fits the 255 bytes of a ZeroMQ routing id.
 *
 * @since 0.1.0
 */
export const isVhostPath = (path: string): boolean => path.length <= 128 && /^\/[\w-]+(?:\/[\w-]+)*$/.test(path)

/**
 * An access token: 40 letters, digits or `_`. Those that brokers make are hexadecimal.
 *
 * @since 0.1.0
 */
export const isAccessToken = (token: string): boolean => /^\w{40}$/.test(token)

/**
 * A broker's vhost and how to reach it. Two endpoints with equal parts are equal.
 *
 * @since 0.1.0
 */
export class Endpoint extends Schema.Class<Endpoint>("kosmonaut/protocol/Endpoint")({
  scheme: Schema.Literals(["wr", "wrs", "wr+tcp", "wrs+tcp"]),
  /** A host name, an IPv4 address, or an IPv6 address in brackets. */
  host: Schema.String,
  port: Schema.Int,
  vhost: Schema.String,
  token: Schema.Redacted(Schema.String),
  /** The broker's public key, for `wrs`: 64 hexadecimal digits. */
  serverKey: Schema.optional(Schema.String),
  /** The SHA-256 of the broker's certificate, for `wrs+tcp`: 64 hexadecimal digits. */
  fingerprint: Schema.optional(Schema.String)
}) {
  /** `host:port`, for messages and for dialling. */
  get address(): string {
    return `${this.host}:${this.port}`
  }

  /** The URL with its token masked. */
  override toString(): string {
    return `${this.scheme}://***@${this.address}${this.vhost}`
  }
}

/**
 * Reads a URL. Fails with what is wrong and what is expected, the token masked.
 *
 * @since 0.1.0
 */
export const fromUrl = (input: string | Redacted.Redacted): Result.Result<Endpoint, InvalidEndpointError> => {
  const text = Redacted.isRedacted(input) ? Redacted.value(input) : input
  if (typeof text !== "string") {
    return Result.fail(new InvalidEndpointError({ url: "", detail: "it is empty; is its environment variable set?" }))
  }
  const invalid = (detail: string) => Result.fail(new InvalidEndpointError({ url: mask(text), detail }))
  const url = URL.parse(text)
  if (url === null) return invalid("it is not a URL")
  const scheme = url.protocol.slice(0, -1)
  if (!isScheme(scheme)) return invalid(`the scheme is not one of ${Object.keys(defaultPort).join(", ")}`)
  if (url.hostname === "" || !/^[\w.:[\]-]+$/.test(url.hostname)) return invalid("it names no usable host")
  if (url.port === "0") return invalid("port 0 cannot be connected to")
  if (url.password !== "") return invalid("it has a password; the access token alone stands before the @")
  if (url.hash !== "") return invalid("it has a fragment (#)")
  const token = url.username === "" ? url.searchParams.get("token") : url.username
  if (token === null) return invalid("it has no access token")
  if (!isAccessToken(token)) return invalid("an access token has 40 letters, digits or _")
  if (!isVhostPath(url.pathname)) {
    return invalid(`${JSON.stringify(mask(url.pathname).slice(0, 40))} is not a vhost's path`)
  }
  const known = knownBy(scheme, url.searchParams)
  if (typeof known === "string") return invalid(known)
  const port = url.port === "" ? defaultPort[scheme] : Number(url.port)
  return Result.succeed(
    new Endpoint({ scheme, host: url.hostname, port, vhost: url.pathname, token: Redacted.make(token), ...known })
  )
}

// By what the broker is known, or what is wrong with it.
const knownBy = (scheme: Scheme, query: URLSearchParams): string | Pick<Endpoint, "serverKey" | "fingerprint"> => {
  const key = query.get("serverKey")
  const print = query.get("fingerprint")
  if (key !== null && scheme !== "wrs") return "a serverKey is for wrs:// alone"
  if (print !== null && scheme !== "wrs+tcp") return "a fingerprint is for wrs+tcp:// alone"
  const serverKey = key === null ? undefined : CurveKey.parse(key)
  const fingerprint = print === null ? undefined : parseFingerprint(print)
  if (key !== null && serverKey === undefined) return "its serverKey is not a public key of 64 hexadecimal digits"
  if (print !== null && fingerprint === undefined) return "its fingerprint is not a SHA-256 of 64 hexadecimal digits"
  return { ...serverKey !== undefined && { serverKey }, ...fingerprint !== undefined && { fingerprint } }
}

/**
 * Reads the fingerprint of a certificate, 64 hexadecimal digits, with colons between the bytes or without; `undefined`
 * for any other text. The result is in lower case and has no colons.
 *
 * @since 0.1.0
 */
export const parseFingerprint = (text: string): string | undefined =>
  /^([\da-f]{64}|[\da-f]{2}(:[\da-f]{2}){31})$/i.test(text) ? text.replaceAll(":", "").toLowerCase() : undefined

/**
 * The URL with its token, which is why it is redacted. `fromUrl` reads it back.
 *
 * @since 0.1.0
 */
export const toUrl = (endpoint: Endpoint): Redacted.Redacted => {
  const { address, fingerprint, scheme, serverKey, token, vhost } = endpoint
  const query = serverKey !== undefined
    ? `?serverKey=${serverKey}`
    : fingerprint !== undefined
    ? `?fingerprint=${fingerprint}`
    : ""
  return Redacted.make(`${scheme}://${Redacted.value(token)}@${address}${vhost}${query}`)
}

const isScheme = (scheme: string): scheme is Scheme => Object.hasOwn(defaultPort, scheme)

// Whatever stands where a token could stand is masked, whether or not the rest is a URL.
const mask = (url: string): string =>
  url.replace(/^([\w+]*:)?([/\\]*).*@/s, "$1$2***@")
    .replace(/(token=)[^&#]*/gi, "$1***")
    .replace(/\w{32,}/g, "***")
    .slice(0, 300)
