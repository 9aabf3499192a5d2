/**
 * How large what a browser loads is.
 */
import { fileURLToPath } from "node:url"
import { application, bundle, compressed, script } from "../../harness/browserBundles.ts"
import { table } from "./report.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))

const bundled = (contents: string): string =>
  bundle({ stdin: { contents, resolveDir: root, loader: "ts" }, absWorkingDir: root, format: "esm" }).outputFiles![0]!
    .text

const effectAlone = `
  import * as Effect from "effect/Effect"
  import * as Schema from "effect/Schema"
  const decode = Schema.decodeUnknownEffect(Schema.Struct({ text: Schema.String }))
  Effect.runFork(Effect.flatMap(decode(JSON.parse("{}")), Effect.log))
`

/** A Markdown table. */
export const markdown = (): string =>
  table([
    ["what", "bytes", "compressed by gzip"],
    ...[
      ["the script, ESM", script("esm")],
      ["the script, plain", script("iife")],
      ["`kosmonaut/events` with one group, bundled by esbuild", bundled(application("events"))],
      ["`kosmonaut/browser` with one group, bundled", bundled(application("browser"))],
      ["for comparison: an Effect that decodes by a Schema and logs", bundled(effectAlone)]
    ].map(([what, code]) => [what!, grouped(code!.length), grouped(compressed(code!))])
  ])

const grouped = (bytes: number): string => bytes.toLocaleString("en").replaceAll(",", " ")
