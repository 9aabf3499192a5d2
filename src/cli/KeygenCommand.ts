/**
 * `kosmonaut keygen`: a pair of keys for `wrs://`.
 *
 * The secret key is written to a file that only its owner can read, and never over another one; or, if asked, to standard output.
 * What to do with the keys is told on standard error.
 *
 * @since 0.1.0
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as CurveKeys from "../transport/CurveKeys.ts"
import * as CommandLine from "./CommandLine.ts"

/**
 * `kosmonaut keygen FILE`.
 *
 * @since 0.1.0
 */
export const keygen = Command.make("keygen", {
  file: Argument.String("file").pipe(
    Argument.withDescription("Where to write the secret key; there must be no such file yet"),
    Argument.optional
  ),
  stdout: Flag.Boolean("stdout").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Print the secret key instead, as {\"publicKey\",\"secretKey\"}")
  )
}, ({ file, stdout }) =>
  Effect.gen(function*() {
    if (Option.isSome(file) === stdout) {
      return yield* CommandLine.wrongUse("Give the file for the secret key, or --stdout")
    }
    const { publicKey, secretKey } = yield* CurveKeys.generate
    if (Option.isNone(file)) {
      return yield* Console.log(JSON.stringify({ publicKey, secretKey: Redacted.value(secretKey) }))
    }
    yield* write(file.value, secretKey)
    yield* Console.log(JSON.stringify({ publicKey }))
    yield* CommandLine.report(
      `The secret key is in ${file.value}. For a broker: kosmonaut serve --curve-secret-key-file ${file.value}, and its backends use wrs://<access token>@<host>:8081/<vhost>?serverKey=<public key>. For a backend: the option curve.secretKey of its transport, and --curve-client-key <public key> of the broker`
    )
  })).pipe(
    Command.withDescription("Make a pair of keys for wrs://, of a broker or of a backend, and print the public one"),
    Command.withExamples([{ command: "kosmonaut keygen broker.key" }])
  )

const write = Effect.fnUntraced(function*(file: string, secretKey: Redacted.Redacted) {
  const files = yield* FileSystem.FileSystem
  yield* files.writeFileString(file, `${Redacted.value(secretKey)}\n`, { flag: "wx", mode: 0o600 }).pipe(
    Effect.mapError(({ reason }) =>
      CommandLine.wrongUse(
        reason._tag === "AlreadyExists"
          ? `${file} exists, and is not overwritten`
          : `${file} cannot be written (${reason._tag})`
      )
    )
  )
})
