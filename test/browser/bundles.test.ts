/**
 * What a browser loads: the script, and bundles of what browsers and backends share. Their sizes are limits that the
 * documentation states.
 */
import * as esbuild from "esbuild"
import * as vite from "vite"
import { describe, expect, it } from "vitest"
import { application, bundle, compressed, script } from "../harness/browserBundles.ts"

const kilobytes = (code: string) => compressed(code) / 1000

describe("the script", () => {
  it.each(["esm", "iife"] as const)("has at most 10 KB compressed as %s", (format) => {
    expect(kilobytes(script(format))).toBeLessThan(10)
  })

  it("takes types alone from Effect and, but for a map, from the protocol", () => {
    const { metafile } = esbuild.buildSync({
      entryPoints: ["src/browser/script.ts"],
      bundle: true,
      write: false,
      metafile: true
    })
    const inputs = Object.keys(metafile!.inputs)
    expect(inputs.filter((file) => !/^src\/(browser\/(script|internal\/\w+)|protocol\/TransientMap)\.ts$/.test(file)))
      .toEqual([])
  })
})

// What each door may weigh, in kilobytes, with a group of events and a channel as an application shares them. Most of it is Effect.
const doors = [{ door: "events", limit: 40 }, { door: "browser", limit: 60 }]

describe.each(doors)("a bundle of kosmonaut/$door", { timeout: 120_000 }, ({ door, limit }) => {
  // What Effect itself looks up at run time, where there is Node.js, is no import.
  const nodeModule = /(from|import|require)\s*\(?\s*["'](node:|fs|net|tls|http|crypto|stream)|vite-browser-external/

  it(`needs no Node.js, and has at most ${limit} KB compressed with one group, by esbuild`, () => {
    const { metafile, outputFiles } = bundle({
      stdin: { contents: application(door), resolveDir: ".", loader: "ts" },
      format: "esm",
      metafile: true
    })
    const code = outputFiles![0]!.text
    expect(code).not.toMatch(nodeModule)
    expect(kilobytes(code)).toBeLessThan(limit)
    const ours = Object.keys(metafile!.inputs).filter((file) => file.startsWith("src/"))
    expect(ours).not.toEqual([])
    expect(ours.filter((file) => !/^src\/(protocol|events|browser)\//.test(file))).toEqual([])
  })

  it("needs no Node.js, by vite", async () => {
    const warnings: Array<string> = []
    const built = await vite.build({
      configFile: false,
      logLevel: "silent",
      plugins: [{
        name: "program",
        resolveId: (id) => id === "/program.ts" ? `${process.cwd()}/program.ts` : undefined,
        load: (id) => id.endsWith("/program.ts") ? application(door) : undefined
      }],
      build: {
        write: false,
        lib: { entry: "/program.ts", formats: ["es"] },
        rolldownOptions: { onwarn: ({ message }) => warnings.push(message) }
      }
    })
    const [{ output }] = [built].flat() as unknown as [
      { readonly output: ReadonlyArray<{ readonly code?: string; readonly imports?: ReadonlyArray<string> }> }
    ]
    expect(warnings.filter((warning) => /externalized/.test(warning))).toEqual([])
    expect(kilobytes(output.map(({ code = "" }) => code).join(""))).toBeLessThan(limit)
    for (const { code = "", imports = [] } of output) {
      expect(imports).toEqual([])
      expect(code).not.toMatch(nodeModule)
    }
  })
})
