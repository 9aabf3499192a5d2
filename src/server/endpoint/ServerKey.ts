/**
 * The broker's key for CURVE, from the file of the option `curve.secretKeyFile`, and the keys of backends that may connect.
 *
 * The file is read at the start, where a mistake is an `InvalidOptionError`. Neither the key nor the content of the file is in
 * an error or a log.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs/promises"
import * as CurveKey from "../../protocol/CurveKey.ts"
import { causeText } from "../../protocol/ErrorText.ts"
import * as CurveKeys from "../../transport/CurveKeys.ts"
import * as CurveServer from "../../transport/CurveServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import { InvalidOptionError } from "../BrokerError.ts"

/**
 * The broker's key, and whose keys it accepts.
 *
 * @since 0.1.0
 */
export class ServerKey extends Context.Service<ServerKey, {
  /** What the transport needs of the key; `undefined` if the broker has none. */
  readonly curve: CurveServer.CurveServer | undefined
  /** The public key, 64 hexadecimal digits. */
  readonly publicKey: string | undefined
  /** Whether a backend with this public key, or without one, may connect. */
  readonly accepts: (key: string | undefined) => boolean
}>()("kosmonaut/server/endpoint/ServerKey") {}

const make = Effect.gen(function*() {
  const { curve: { clientKeys, secretKeyFile } } = yield* BrokerConfig
  const accepted = new Set(yield* Effect.forEach(clientKeys, readKey))
  const accepts = (key: string | undefined) => accepted.size === 0 || (key !== undefined && accepted.has(key))
  if (secretKeyFile !== undefined) {
    const pair = yield* readPair(secretKeyFile)
    const curve = yield* Effect.mapError(
      CurveServer.make(pair),
      ({ cause }) =>
        invalid(secretKeyFile, `left out without the package tweetnacl: npm install tweetnacl${causeText(cause)}`)
    )
    return ServerKey.of({ curve, publicKey: pair.publicKey, accepts })
  }
  if (accepted.size > 0) {
    return yield* new InvalidOptionError({
      option: "curve.clientKeys",
      value: "there without curve.secretKeyFile",
      allowed: "for a broker that has a key"
    })
  }
  return ServerKey.of({ curve: undefined, publicKey: undefined, accepts })
})

const readKey = (text: string): Effect.Effect<string, InvalidOptionError> => {
  const key = CurveKey.parse(text)
  return key === undefined
    ? Effect.fail(
      new InvalidOptionError({
        option: "curve.clientKeys",
        value: JSON.stringify(text.slice(0, 100)),
        allowed: "a list of public keys of 64 hexadecimal digits"
      })
    )
    : Effect.succeed(key)
}

const readPair = Effect.fnUntraced(function*(file: string) {
  const text = yield* Effect.tryPromise({
    try: () => Fs.readFile(file, "utf8"),
    catch: (cause) => invalid(file, `a file that can be read (${(cause as NodeJS.ErrnoException).code})`)
  })
  const key = CurveKey.parse(text.trim())
  return key === undefined
    ? yield* invalid(file, "a file with a secret key of 64 hexadecimal digits, as kosmonaut keygen writes it")
    : CurveKeys.fromSecretKey(key)
})

const invalid = (file: string, allowed: string): InvalidOptionError =>
  new InvalidOptionError({ option: "curve.secretKeyFile", value: JSON.stringify(file), allowed })

/**
 * The key as a layer.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<ServerKey, InvalidOptionError, BrokerConfig> = Layer.effect(ServerKey, make)
