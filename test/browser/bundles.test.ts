/**
 * What a browser loads: the script, and bundles of what browsers and backends share. Their sizes are limits that the
 * documentation states.
 */
import * as esbuild from "esbuild"
import { gzipSync } from "node:zlib"
import * as vite from "vite"
import { describe, expect, it } from "vitest"
import { scriptOptions } from "../../build.ts"

const kilobytes = (code: string) => gzipSync(code, { level: 9 }).length / 1000

const bundle = (options: esbuild.BuildOptions) =>
  esbuild.buildSync({ bundle: true, minify: true, write: false, platform: "browser", target: "es2022", ...options })

describe("the script", () => {
  it.each(["esm", "iife"] as const)("has at most 10 KB compressed as %s", (format) => {
    const { outputFiles } = bundle({ ...scriptOptions, format, globalName: "Kosmonaut", sourcemap: false })
    const code = outputFiles![0]!.text
    expect(kilobytes(code)).toBeLessThan(10)
  })

  it("takes types alone from Effect and from the protocol", () => {
    const { metafile } = esbuild.buildSync({
      entryPoints: ["src/browser/script.ts"],
      bundle: true,
      write: false,
      metafile: true
    })
    const inputs = Object.keys(metafile!.inputs)
    expect(inputs.filter((file) => !/^src\/browser\/(script|internal\/\w+)\.ts$/.test(file))).toEqual([])
  })
})

// What each door may weigh, in kilobytes, with a group of events and a channel as an application shares them. Most of it is Effect.
const doors = [{ door: "events", limit: 40 }, { door: "browser", limit: 60 }]
const program = (door: string) => `
  import * as Schema from "effect/Schema"
  import { Channel, Event, EventGroup } from "./src/events/index.ts"
  import * as Door from "./src/${door}/index.ts"
  class Chat extends EventGroup.make("chat", Event.make("say", { payload: { text: Schema.String } })) {}
  export const Room = Channel.make("room", { params: { id: Schema.String }, events: Chat })
  export const used = [Event.encode(Chat.events.say, { text: "hello" }), ${door === "events" ? "1" : "Door"}]
`

describe.each(doors)("a bundle of kosmonaut/$door", { timeout: 120_000 }, ({ door, limit }) => {
  // What Effect itself looks up at run time, where there is Node.js, is no import.
  const nodeModule = /(from|import|require)\s*\(?\s*["'](node:|fs|net|tls|http|crypto|stream)|vite-browser-external/

  it(`needs no Node.js, and has at most ${limit} KB compressed with one group, by esbuild`, () => {
    const { metafile, outputFiles } = bundle({
      stdin: { contents: program(door), resolveDir: ".", loader: "ts" },
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
        load: (id) => id.endsWith("/program.ts") ? program(door) : undefined
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
