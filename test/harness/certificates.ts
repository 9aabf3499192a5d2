/**
 * The certificates of `test/fixtures/tls`, and TLS connections that trust them.
 */
import { Effect } from "effect"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import { join } from "node:path"
import * as Tls from "node:tls"
import { temporaryFolder } from "./temporaryFolder.ts"

export type Name = "server" | "renewed" | "elsewhere" | "expired" | "self" | "rsa"

const folder = join(import.meta.dirname, "../fixtures/tls")

/** The file of a certificate. */
export const certOf = (name: Name) => join(folder, `${name}.pem`)

/** The file of its private key. */
export const keyOf = (name: Name) => join(folder, `${name}.key`)

/** Who has signed them. */
export const ca = Fs.readFileSync(join(folder, "ca.pem"), "utf8")

/** Opens a TLS connection to a port of this machine, and checks its certificate. */
export const connect = (port: number): Tls.TLSSocket => Tls.connect({ host: "127.0.0.1", port, ca })

/** The serial number of a certificate. */
export const serialOf = (name: Name) => new Crypto.X509Certificate(contentOf(name).cert).serialNumber

/** The SHA-256 of its public key, by which a browser can be told to trust it. */
export const spkiOf = (name: Name) =>
  Crypto.createHash("sha256").update(
    new Crypto.X509Certificate(contentOf(name).cert).publicKey.export({ type: "spki", format: "der" })
  ).digest("base64")

/** The serial number of the certificate that a port has, whether or not it is valid. */
export const serialAt = (port: number) =>
  Effect.callback<string>((resume) => {
    const socket = Tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false })
    socket.on("secureConnect", () => {
      resume(Effect.succeed(socket.getPeerCertificate().serialNumber))
      socket.destroy()
    })
    socket.on("error", (cause) => resume(Effect.die(cause)))
  })

/** The files of a certificate that can be replaced, until the scope ends. */
export const replaceable = Effect.gen(function*() {
  const own = yield* temporaryFolder
  const files = { cert: join(own, "cert.pem"), key: join(own, "key.pem") }
  const replace = (by: { readonly cert: string; readonly key: string }) =>
    Effect.sync(() => {
      Fs.writeFileSync(files.cert, by.cert)
      Fs.writeFileSync(files.key, by.key)
    })
  return { files, replace }
})

/** The contents of both files. */
export const contentOf = (name: Name) => ({
  cert: Fs.readFileSync(certOf(name), "utf8"),
  key: Fs.readFileSync(keyOf(name), "utf8")
})
