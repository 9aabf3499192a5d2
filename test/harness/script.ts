/** The script for browsers, built as the package builds it. */
import * as esbuild from "esbuild"

/** Its code, as a module or as what defines the global `Kosmonaut`. */
export const build = (format: "esm" | "iife"): string =>
  esbuild.buildSync({
    entryPoints: ["src/browser/script.ts"],
    bundle: true,
    minify: true,
    target: "es2020",
    write: false,
    format,
    globalName: "Kosmonaut"
  }).outputFiles[0]!.text
