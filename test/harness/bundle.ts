/**
 * The programs that tests start, as bundles, so that each process starts in a quarter of the time. What a program finds beside its
 * sources it finds there.
 */
import * as esbuild from "esbuild"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { setTimeout } from "node:timers/promises"
import { pathToFileURL } from "node:url"

const root = join(import.meta.dirname, "../..")

// Of the run of all tests, which removes it. Programs that are no tests have none, and run the sources.
const folder = process.env["KOSMONAUT_TEST_FOLDER"]

/** Has Node.js compile the programs once for all of their processes. */
export const cache = { NODE_COMPILE_CACHE: join(folder ?? tmpdir(), "kosmonaut-test-cache") }

const programs = () => [
  "src/cli/Main.ts",
  "test/chaos/broker.ts",
  "test/chaos/worker.ts",
  "test/hostile/attacker.ts",
  ...Fs.globSync("{docs/examples/**,test/harness/programs}/*.ts", { cwd: root, exclude: ["**/*.test.ts", "**/*.d.ts"] })
]

let bundles: Promise<string> | undefined

/** The file of a program, given by the file of its source. All are built once for all tests. */
export const of = async (source: string): Promise<string> => {
  if (folder === undefined) return source
  return join(await (bundles ??= build(folder)), relative(root, source).replace(/\.ts$/, ".js"))
}

// The first process that needs them builds them, and others wait.
const build = async (folder: string): Promise<string> => {
  const built = join(folder, "bundles")
  // It stays, so that nobody builds them again.
  if (Fs.mkdirSync(join(folder, "bundled"), { recursive: true }) === undefined) {
    while (!Fs.existsSync(built)) await setTimeout(20)
    return built
  }
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: programs(),
    outbase: root,
    outdir: join(folder, "building"),
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node22",
    // The first is native, and the others are for pages.
    external: ["zeromq", "react", "vue"],
    banner: {
      js: `import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);`
    },
    logLevel: "error",
    plugins: [sources]
  })
  // Without it Node.js parses each file twice, to find out what it is.
  Fs.writeFileSync(join(folder, "building", "package.json"), `{ "type": "module" }`)
  Fs.renameSync(join(folder, "building"), built)
  return built
}

const sources: esbuild.Plugin = {
  name: "sources",
  setup: (build) =>
    build.onLoad({ filter: /\/(src|test|docs)\/.*\.ts$/ }, ({ path }) => ({
      loader: "ts",
      contents: Fs.readFileSync(path, "utf8")
        .replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href))
        .replace(/^import \{ ([\w, ]+) \} from "(effect|@effect\/platform-node)"$/gm, modulesOf)
    }))
}

/** Imports from the modules themselves. An import of the whole package loads all of it in every program, `redis` included. */
const modulesOf = (line: string, names: string, from: string) =>
  /\b[a-z]+\b(?! )/.test(names)
    ? line
    : names.replace(/(type )?(\w+)(, )?/g, `import $1* as $2 from "${from}/$2";`)
