/**
 * The cookie: what an administrator has to show. It outlasts the broker in its storage folder, in a file that only its owner
 * can read.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"
import * as Fs from "node:fs"
import { join } from "node:path"
import { messageOf } from "../../../protocol/ErrorText.ts"
import type { BrokerConfig } from "../../BrokerConfig.ts"
import { InvalidOptionError } from "../../BrokerError.ts"
import { StoreError } from "../../store/Store.ts"

/** The file in the storage folder. */
const fileName = "kosmonaut.cookie"

const pattern = /^[0-9a-f]{40}$/

/** The cookie of the options, that of the storage folder, or a random one. */
export const make = (
  { admin: { cookie }, storageDir }: BrokerConfig["Service"]
): Effect.Effect<Redacted.Redacted, InvalidOptionError | StoreError> =>
  cookie !== undefined
    ? check(cookie)
    : storageDir === undefined
    ? Effect.sync(random)
    : Effect.try({
      try: () => restore(storageDir),
      catch: (cause) => new StoreError({ location: storageDir, detail: detailOf(cause), cause })
    })

const check = (cookie: Redacted.Redacted): Effect.Effect<Redacted.Redacted, InvalidOptionError> =>
  pattern.test(Redacted.value(cookie))
    ? Effect.succeed(cookie)
    : Effect.fail(
      new InvalidOptionError({
        option: "admin.cookie",
        value: "what it is",
        allowed: "40 hexadecimal digits, 0 to 9 and a to f"
      })
    )

const random = (): Redacted.Redacted => Redacted.make(Hex.encode(SecureRandom.randomBytesUnsafe(20)))

const restore = (directory: string): Redacted.Redacted => {
  Fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
  const file = join(directory, fileName)
  if (Fs.existsSync(file)) {
    // A restored copy may have any mode.
    Fs.chmodSync(file, 0o600)
    const kept = Fs.readFileSync(file, "utf8").trim()
    if (pattern.test(kept)) return Redacted.make(kept)
  }
  // What is no cookie, as a file that was not written to its end, is replaced as a whole.
  const made = random()
  const part = `${file}.new`
  Fs.rmSync(part, { force: true })
  Fs.writeFileSync(part, `${Redacted.value(made)}\n`, { mode: 0o600, flag: "wx" })
  Fs.renameSync(part, file)
  return made
}

const detailOf = (cause: unknown): string => `the file ${fileName} cannot be used: ${messageOf(cause)}`
