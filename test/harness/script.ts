/** The script for browsers, built as the package builds it. */
import * as esbuild from "esbuild"

const built = new Map<string, string>()

/** Its code, as a module or as what defines the global `Kosmonaut`. It is built once for all tests of a process. */
export const build = (format: "esm" | "iife"): string => {
  const code = built.get(format) ?? bundle(format)
  built.set(format, code)
  return code
}

const bundle = (format: "esm" | "iife"): string =>
  esbuild.buildSync({
    entryPoints: ["src/browser/script.ts"],
    bundle: true,
    minify: true,
    target: "es2020",
    write: false,
    format,
    globalName: "Kosmonaut"
  }).outputFiles[0]!.text
