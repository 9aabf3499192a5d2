/**
 * What a browser loads for `kosmonaut/browser`: nothing of Node.js, and not more than is known.
 */
import { build } from "esbuild"
import { gzipSync } from "node:zlib"
import { expect, it } from "vitest"

// Effect itself and its Schemas are nine tenths of it.
const limit = 60_000

it("a bundle for browsers has no module of Node.js, and is small", async () => {
  const { metafile, outputFiles } = await build({
    stdin: {
      contents: `export { Browser } from "./src/browser/index.ts"`,
      resolveDir: process.cwd()
    },
    bundle: true,
    format: "esm",
    // Fails for what a browser does not have.
    platform: "browser",
    minify: true,
    metafile: true,
    write: false
  })
  const inputs = Object.keys(metafile.inputs)
  expect(inputs).not.toEqual([])
  expect(inputs.filter((file) => /^src\/(client|server|transport|testing|cli)\//.test(file))).toEqual([])
  expect(gzipSync(outputFiles[0]!.contents).length).toBeLessThan(limit)
}, 60_000)
