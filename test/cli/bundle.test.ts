/**
 * The command line as it is built and installed: what it loads for a command, what it finds from there, what Node.js keeps of it,
 * and whose code is in it.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Metafile } from "esbuild"
import * as Fs from "node:fs"
import { isBuiltin } from "node:module"
import { dirname, join, relative, resolve } from "node:path"
import { commandLine } from "../../build.ts"
import { version } from "../../src/server/admin/Version.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"
import { assertWrong, run, startProgram } from "./program.ts"

const root = resolve(import.meta.dirname, "../..")
// Packages that are not in it are found from there.
const outdir = join(process.env["KOSMONAUT_TEST_FOLDER"]!, "commandLine")
const main = join(outdir, "Main.js")

let outputs: Metafile["outputs"] = {}
beforeAll(async () => {
  const metafile = await commandLine(outdir)
  outputs = Object.fromEntries(Object.entries(metafile.outputs).map(([file, output]) => [resolve(root, file), output]))
})

/** The files that a module loads before it runs, itself among them. */
const closure = (file: string, found = new Set<string>()): ReadonlySet<string> => {
  if (found.has(file)) return found
  found.add(file)
  for (const { external, kind, path } of outputs[file]!.imports) {
    if (external !== true && kind === "import-statement") closure(resolve(root, path), found)
  }
  return found
}

/** The file that was made of this source. */
const builtFrom = (source: string) =>
  Object.keys(outputs).find((file) => outputs[file]!.entryPoint?.endsWith(source) === true)!

/** The files that are loaded when these modules are. */
const filesOf = (...sources: ReadonlyArray<string>) => {
  const files = new Set<string>()
  for (const source of sources) closure(builtFrom(source), files)
  return [...files]
}

const runBuilt = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.scoped(Effect.flatMap(startProgram(process.execPath, [main, ...args], { env }), ({ output }) => output))

// What takes time at the start is mostly code. The limits are a little above what there is.
const loads = [
  { command: "--help", limit: 1000, sources: ["cli/Main.ts", "cli/Process.ts"] },
  {
    command: "serve",
    limit: 2050,
    sources: ["cli/Main.ts", "cli/Process.ts", "cli/ServeCommand.ts", "admin/AdminEndpoint.ts"]
  }
]

describe("the built command line", () => {
  it.each(loads)("loads at most $limit KB for $command, and no package", ({ limit, sources }) => {
    const files = filesOf(...sources)
    assert.isBelow(files.reduce((sum, file) => sum + outputs[file]!.bytes, 0) / 1000, limit)
    const packages = files.flatMap((file) => outputs[file]!.imports).flatMap(({ external, kind, path }) =>
      external === true && kind !== "dynamic-import" && !isBuiltin(path) ? [path] : []
    )
    assert.deepStrictEqual([...new Set(packages)], [])
  })

  it.live("says what the sources say", () =>
    Effect.gen(function*() {
      for (const args of [["--help"], ["serve", "--help"], ["admin", "--help"], ["--version"]]) {
        assert.deepStrictEqual(yield* runBuilt(args), yield* run(args))
      }
      assertWrong(yield* runBuilt(["opne"]), "did you mean open")
    }))

  it.live("shows help without what takes long to load", () =>
    Effect.gen(function*() {
      const code = `
        Intl.Segmenter = undefined
        process.on("exit", () => process.moduleLoadList.includes("NativeModule crypto") && console.error("has loaded crypto"))
      `
      const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(code)}`
      assert.deepStrictEqual(yield* runBuilt(["--help"], { NODE_OPTIONS }), yield* run(["--help"]))
    }))

  it("finds what is beside the modules that tsc builds", () => {
    const places = Object.keys(outputs).flatMap((file) =>
      [...Fs.readFileSync(file, "utf8").matchAll(/new URL\("([^"]+)", import\.meta\.url\)\.href/g)].map(([, place]) =>
        relative(root, resolve(dirname(file), place!))
      )
    )
    assert.include(places, "dist/server/admin/internal/dashboard.js")
    for (const place of places) {
      assert.isTrue(Fs.existsSync(join(root, place.replace(/^dist/, "src").replace(/js$/, "ts"))), place)
    }
  })

  it("has the licences of all whose code is in it", () => {
    const text = Fs.readFileSync(join(outdir, "LICENSES.txt"), "utf8")
    const inputs = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs))
    const packages = new Set(inputs.flatMap((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []))
    assert.include([...packages], "effect")
    for (const name of packages) assert.match(text, new RegExp(`^${name} \\d+\\.`, "m"))
  })

  it.effect("keeps what it compiles in the user's folder of caches, and nowhere else", () =>
    Effect.gen(function*() {
      const [cache, home, temporary] = [yield* temporaryFolder, yield* temporaryFolder, yield* temporaryFolder]
      const none = { HOME: "", LOCALAPPDATA: "", NODE_COMPILE_CACHE: "", TMPDIR: temporary, XDG_CACHE_HOME: "" }
      const keptIn = (folder: string) => Fs.readdirSync(folder, { recursive: true }).length > 0
      yield* runBuilt(["--version"], none)
      yield* runBuilt(["--version"], { ...none, HOME: "/dev/null" })
      yield* runBuilt(["--version"], { ...none, HOME: home })
      assert.isTrue(keptIn(join(home, ".cache/kosmonaut")))
      yield* runBuilt(["--version"], { ...none, XDG_CACHE_HOME: cache })
      assert.isTrue(keptIn(join(cache, "kosmonaut")))
      assert.isFalse(keptIn(temporary))
    }))

  it.live("says that Node.js is too old, if it is", () =>
    Effect.gen(function*() {
      const disguised = (node: string) =>
        `data:text/javascript,${
          encodeURIComponent(
            `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${node}" } })`
          )
        }`
      const runOn = (node: string) => runBuilt(["--version"], { NODE_OPTIONS: `--import=${disguised(node)}` })
      for (const old of ["20.20.2", "22.18.0"]) assertWrong(yield* runOn(old), "Node.js 22.19", old)
      assert.strictEqual((yield* runOn("22.19.0")).stdout, `kosmonaut v${version}\n`)
    }))
})
