import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import { join } from "node:path"
import * as CurveKeys from "../../src/transport/CurveKeys.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"
import * as Program from "./program.ts"

interface Ready {
  readonly backend: string
  readonly serverKey: string
  readonly vhosts: ReadonlyArray<{ readonly path: string; readonly token: string }>
}

describe("kosmonaut keygen", () => {
  it.live("writes the secret key for its owner alone, and prints the public one", () =>
    Effect.gen(function*() {
      const file = join(yield* temporaryFolder, "broker.key")
      const { status, stderr, stdout } = yield* Program.run(["keygen", file])
      assert.strictEqual(status, 0, stderr)
      const secretKey = Fs.readFileSync(file, "utf8").trim()
      assert.match(secretKey, /^[\da-f]{64}$/)
      assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
      const { publicKey } = JSON.parse(stdout) as { readonly publicKey: string }
      assert.strictEqual(publicKey, CurveKeys.fromSecretKey(secretKey).publicKey)
      assert.notInclude(stdout + stderr, secretKey)
      assert.include(stderr, "--curve-secret-key-file")

      Program.assertWrong(yield* Program.run(["keygen", file]), "exists, and is not overwritten")
      assert.strictEqual(Fs.readFileSync(file, "utf8").trim(), secretKey)
    }))

  it.live("prints the secret key if asked, and not otherwise", () =>
    Effect.gen(function*() {
      const { stdout } = yield* Program.run(["keygen", "--stdout"])
      const { publicKey, secretKey } = JSON.parse(stdout) as { readonly publicKey: string; readonly secretKey: string }
      assert.strictEqual(publicKey, CurveKeys.fromSecretKey(secretKey).publicKey)
      Program.assertWrong(yield* Program.run(["keygen"]), "Give the file for the secret key, or --stdout")
      Program.assertWrong(
        yield* Program.run(["keygen", "/nowhere/broker.key"]),
        "/nowhere/broker.key cannot be written"
      )
    }))

  it.live("makes the key of a broker, which tells its public key when it is ready", () =>
    Effect.gen(function*() {
      const file = join(yield* temporaryFolder, "broker.key")
      const { stdout } = yield* Program.run(["keygen", file])
      const { publicKey } = JSON.parse(stdout) as { readonly publicKey: string }
      const broker = yield* Program.start([
        "serve",
        "--channel",
        "room",
        "--curve-secret-key-file",
        file,
        ...Program.freePorts
      ])
      const [, json] = yield* broker.says("stdout", /^ready (.*)\n/)
      const { backend, serverKey, vhosts: [vhost] } = JSON.parse(json!) as Ready
      assert.strictEqual(serverKey, publicKey)
      assert.match(backend, /^wrs:/)
      const url = `${backend.replace("://", `://${vhost!.token}@`)}${vhost!.path}?serverKey=${serverKey}`
      const sent = yield* Program.run(["broadcast", "room", "said", "{}", "--url", url])
      assert.strictEqual(sent.status, 0, sent.stderr)
      const wrong = yield* Program.run(["open", "room", "--url", url.replace(serverKey, "ab".repeat(32))])
      Program.assertWrong(wrong, "Could not trust the broker")
    }))

  it.live.each<[ReadonlyArray<string>, string]>([
    [
      ["--curve-secret-key-file", "/nowhere"],
      "curve.secretKeyFile cannot be \"/nowhere\": it is a file that can be read (ENOENT)"
    ],
    [["--curve-client-key", "ab".repeat(32)], "curve.clientKeys cannot be there without curve.secretKeyFile"],
    [["--curve-client-key", "abc"], "curve.clientKeys cannot be \"abc\": it is a list of public keys"]
  ])("serve says what is wrong with %j", ([flags, message]) =>
    Effect.gen(function*() {
      Program.assertWrong(yield* Program.run(["serve", ...Program.freePorts, ...flags]), message)
    }))
})
