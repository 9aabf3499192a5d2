/**
 * Makes a program that imports `kosmonaut` by its name run from the sources: `node --import` this. It goes by the paths
 * of tsconfig.json, as the compiler does.
 */
import { registerHooks } from "node:module"
import tsconfig from "../../tsconfig.json" with { type: "json" }

const root = new URL("../../", import.meta.url)
const paths = Object.entries(tsconfig.compilerOptions.paths).map(([name, [file]]) => ({ name, file: file! }))

registerHooks({
  resolve: (specifier, context, nextResolve) => {
    const found = paths.find(({ name }) => name === specifier)
    return nextResolve(found === undefined ? specifier : new URL(found.file, root).href, context)
  }
})
