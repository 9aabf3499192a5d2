/**
 * The broker's certificate for TLS, from the files of the options `tls.cert` and `tls.key`.
 *
 * The files are read at the start, where a mistake is an `InvalidOptionError`, and again every `tls.reloadInterval`. New
 * connections get the new certificate, existing ones stay. New files that cannot be used at two looks are logged, and the
 * certificate before is used until they can. The key is never logged.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs/promises"
import * as TlsServer from "../../transport/TlsServer.ts"
import { BrokerConfig, type Resolved } from "../BrokerConfig.ts"
import { InvalidOptionError } from "../BrokerError.ts"
import { supervised } from "../engine/Supervisor.ts"

/**
 * The broker's certificate.
 *
 * @since 0.1.0
 */
export class Certificate extends Context.Service<Certificate, {
  /** Makes the decrypted side of a connection; `undefined` if the broker has no certificate. */
  readonly decrypt: TlsServer.Decrypt | undefined
}>()("kosmonaut/server/endpoint/Certificate") {}

type Option = "tls.cert" | "tls.key"

interface Files {
  readonly cert: string
  readonly key: string
}

interface Credentials {
  readonly cert: Buffer
  readonly key: Buffer
}

const make = Effect.gen(function*() {
  const { tls } = yield* BrokerConfig
  const files = yield* filesOf(tls)
  if (files === undefined) return Certificate.of({ decrypt: undefined })
  let credentials = yield* read(files)
  let decrypt = yield* accept(files, credentials)
  const reload = Effect.gen(function*() {
    const current = yield* read(files)
    if (current.cert.equals(credentials.cert) && current.key.equals(credentials.key)) return
    decrypt = yield* accept(files, current)
    credentials = current
    yield* Effect.logInfo(`Using the new certificate in ${files.cert}`)
  })
  yield* every(tls.reloadInterval, reported(reload))
  return Certificate.of({ decrypt: (socket, serve) => decrypt(socket, serve) })
})

// The two files are not replaced in the same moment: what is wrong counts if it still is at the next look.
const reported = (reload: Effect.Effect<void, InvalidOptionError>): Effect.Effect<void> => {
  let problem: string | undefined
  let looks = 0
  return Effect.matchEffect(reload, {
    onSuccess: () => Effect.sync(() => void (problem = undefined)),
    onFailure: ({ message }) => {
      looks = message === problem ? looks + 1 : 1
      problem = message
      return looks === 2 ? Effect.logError(`The certificate that is in use stays. ${message}`) : Effect.void
    }
  })
}

const every = (interval: Duration.Duration, effect: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> =>
  supervised("The look at the certificate", Effect.forever(Effect.andThen(Effect.sleep(interval), effect))).pipe(
    Effect.forkScoped,
    Effect.asVoid
  )

// One without the other is a mistake.
const filesOf = ({ cert, key }: Resolved["tls"]): Effect.Effect<Files | undefined, InvalidOptionError> => {
  if (cert !== undefined && key !== undefined) return Effect.succeed({ cert, key })
  if (cert === undefined && key === undefined) return Effect.succeed(undefined)
  return cert === undefined
    ? Effect.fail(invalid("tls.cert", cert, "the file of the certificate that tls.key belongs to"))
    : Effect.fail(invalid("tls.key", key, "the file of the private key of tls.cert"))
}

const read = (files: Files): Effect.Effect<Credentials, InvalidOptionError> =>
  Effect.all({
    cert: readFile("tls.cert", files.cert),
    key: readFile("tls.key", files.key)
  })

const readFile = (option: Option, file: string): Effect.Effect<Buffer, InvalidOptionError> =>
  Effect.tryPromise({
    try: () => Fs.readFile(file),
    catch: (cause) => invalid(option, file, `a file that can be read (${codeOf(cause)})`)
  })

const accept = (files: Files, credentials: Credentials): Effect.Effect<TlsServer.Decrypt, InvalidOptionError> =>
  Effect.fromResult(Result.mapError(
    TlsServer.make(credentials),
    (error) =>
      invalid(
        "tls.cert",
        files.cert,
        `a PEM file of the certificate whose private key is ${files.key} (${codeOf(error)})`
      )
  ))

const invalid = (option: Option, file: string | undefined, allowed: string): InvalidOptionError =>
  new InvalidOptionError({ option, value: file === undefined ? "left out" : JSON.stringify(file), allowed })

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : "it cannot be read"

/**
 * The certificate as a layer.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<Certificate, InvalidOptionError, BrokerConfig> = Layer.effect(Certificate, make)
