/**
 * `npm run build`: builds the package into `dist`. By tsc what applications import; by esbuild the command line, the script for
 * browsers and the dashboard.
 *
 * `node build.ts script dashboard` builds these parts alone.
 */
import * as esbuild from "esbuild"
import { execFileSync } from "node:child_process"
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { relative, resolve } from "node:path"

const root = import.meta.dirname

const common = { absWorkingDir: root, bundle: true, logLevel: "warning" } satisfies esbuild.BuildOptions

/** How the script for browsers is bundled, in either form. */
export const scriptOptions = {
  ...common,
  entryPoints: ["src/browser/script.ts"],
  minify: true,
  sourcemap: true,
  target: "es2020"
} satisfies esbuild.BuildOptions

const parts: Record<string, () => unknown> = {
  modules: () => {
    execFileSync("tsc", ["-p", "src/tsconfig.json"], { cwd: root, stdio: "inherit" })
    for (const file of closedDeclarations()) rmSync(`${root}/dist/${file}`)
  },
  module: () => esbuild.build({ ...scriptOptions, format: "esm", outfile: "dist/browser/script.js" }),
  script: () =>
    esbuild.build({ ...scriptOptions, format: "iife", globalName: "Kosmonaut", outfile: "dist/kosmonaut.js" }),
  dashboard: async () => {
    const page = "server/admin/internal/page"
    await esbuild.build({
      ...common,
      entryPoints: ["main.ts", "style.css"].map((name) => `src/${page}/${name}`),
      outdir: `dist/${page}`,
      format: "esm",
      minify: true,
      target: "es2022"
    })
    copyFileSync(`${root}/src/${page}/index.html`, `${root}/dist/${page}/index.html`)
  },
  commandLine: async () => {
    await commandLine("dist/cli")
    mkdirSync(`${root}/dist/cli/demo`, { recursive: true })
    copyFileSync(`${root}/src/cli/demo/page.html`, `${root}/dist/cli/demo/page.html`)
  }
}

// Those of the folders that package.json closes. Only the script's declarations refer to some of them.
const closedDeclarations = (): ReadonlyArray<string> => {
  const { exports } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as {
    readonly exports: Record<string, unknown>
  }
  const closed = Object.keys(exports).filter((door) => exports[door] === null && !door.startsWith("./browser/"))
  return closed.flatMap((door) => globSync(`${door.slice(2, -1)}**/*.d.ts{,.map}`, { cwd: `${root}/dist` }))
}

/**
 * Bundles the command line with Effect, without what it does not use of it, into a file for each of its dynamic imports and for
 * what these share: to load modules one by one takes several times as long. Names and lines stay, for the traces of stacks.
 *
 * Packages that an application may have for itself, or not at all, are not in it.
 */
export const commandLine = async (outdir: string): Promise<esbuild.Metafile> => {
  const { metafile } = await esbuild.build({
    ...common,
    entryPoints: ["src/cli/Main.ts"],
    outdir,
    splitting: true,
    chunkNames: "[name]-[hash]",
    format: "esm",
    platform: "node",
    target: "node22.19",
    minifySyntax: true,
    legalComments: "none",
    // Native helpers of ws, which nobody has beside a command line.
    define: { "process.env.WS_NO_BUFFER_UTIL": `"1"`, "process.env.WS_NO_UTF_8_VALIDATE": `"1"` },
    external: ["zeromq", "jose", "tweetnacl", "redis"],
    // The package ws is no module, and requires those of Node.js. To make a function that requires anything takes long, for each file.
    banner: { js: "const require = process.getBuiltinModule;" },
    plugins: [placesOfModules(outdir), modulesOfNode, segmenterOfEffect],
    metafile: true
  })
  writeFileSync(resolve(root, outdir, "LICENSES.txt"), licences(metafile))
  return metafile
}

// What a module finds beside itself by `import.meta.url` it also finds from the bundle, where tsc has put it.
const placesOfModules = (outdir: string): esbuild.Plugin => ({
  name: "places of modules",
  setup: (build) =>
    build.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
      const place = relative(resolve(root, outdir), path.replace(`${root}/src/`, `${root}/dist/`)).replace(/ts$/, "js")
      const url = `new URL(${JSON.stringify(place)}, import.meta.url).href`
      return { loader: "ts", contents: readFileSync(path, "utf8").replaceAll("import.meta.url", url) }
    })
})

// Modules that are slow to load, and that not every command needs. The package ws requires two of those of Node.js.
const seldom = /^((node:)?(child_process|crypto|https|readline|tls)|re2js)$/

// An import of `node:http` reads all that it exports, and so loads the client of `fetch`; one of `node:tls` loads all certificates. Of a
// module that is required only that is read which is used, and of these few not before it is used.
const modulesOfNode: esbuild.Plugin = {
  name: "modules of Node.js",
  setup: (build) => {
    build.onResolve(
      { filter: /^node:|^(https|re2js|tls)$/ },
      ({ kind, namespace, path }) =>
        namespace !== "required" && (kind === "import-statement" || seldom.test(path))
          ? { path, namespace: "required" }
          : undefined
    )
    build.onLoad({ filter: /.*/, namespace: "required" }, async ({ path }) => {
      const name = JSON.stringify(path)
      if (!seldom.test(path)) return { contents: `module.exports = require(${name})` }
      const names = Object.keys(await import(path) as object)
      return {
        resolveDir: root,
        contents: `for (const name of ${JSON.stringify(names)}) {
          Object.defineProperty(exports, name, { enumerable: true, get: () => require(${name})[name] })
        }`
      }
    })
  }
}

// Effect's command line makes a segmenter of text when it is loaded, which is a tenth of the time of `--help`. ASCII needs none.
const segmenterOfEffect: esbuild.Plugin = {
  name: "segmenter of Effect",
  setup: (build) =>
    build.onLoad({ filter: /\/effect\/dist\/cli\/CliOutput\.js$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8")
      const [segmenter] = /new Intl\.Segmenter\([^)]*\)/.exec(source) ?? []
      if (segmenter === undefined) throw new Error(`${path} makes no segmenter any more: remove this plugin`)
      return {
        contents: source.replace(
          segmenter,
          () =>
            `{
            segment: (text) =>
              /^[\\0-\\x7f]*$/.test(text) ? Array.from(text, (segment) => ({ segment })) : (${segmenter}).segment(text)
          }`
        )
      }
    })
}

// Of the packages in a bundle, whose licences want to be in every copy.
const licences = ({ inputs }: esbuild.Metafile): string => {
  const folders = new Set(
    Object.keys(inputs).flatMap((file) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [])
  )
  return [...folders].sort().map((folder) => {
    const { name, version } = JSON.parse(readFileSync(resolve(root, folder, "package.json"), "utf8")) as {
      readonly name: string
      readonly version: string
    }
    return `${name} ${version}\n\n${readFileSync(resolve(root, folder, "LICENSE"), "utf8").trim()}\n`
  }).join(`\n${"-".repeat(80)}\n\n`)
}

if (process.argv[1] === import.meta.filename) {
  const chosen = process.argv.slice(2)
  if (chosen.length === 0) rmSync(`${root}/dist`, { recursive: true, force: true })
  for (const name of chosen.length === 0 ? Object.keys(parts) : chosen) await parts[name]!()
}
