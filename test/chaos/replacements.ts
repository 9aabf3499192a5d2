/**
 * Replaces texts in the sources that a process runs, to show that the checker finds what is switched off so. To be loaded first.
 *
 *     KOSMONAUT_REPLACEMENTS=<json> node --import replacements.ts …
 */
import { registerHooks } from "node:module"

/** A text that a source has, and what it has instead. */
export interface Replacement {
  /** The end of the file's name. */
  readonly file: string
  readonly text: string
  readonly by: string
}

/** The name of the variable of the environment. */
export const variable = "KOSMONAUT_REPLACEMENTS"

const replacements = JSON.parse(process.env[variable] ?? "[]") as ReadonlyArray<Replacement>

if (replacements.length > 0) {
  registerHooks({
    load: (url, context, nextLoad) => {
      const loaded = nextLoad(url, context)
      const own = replacements.filter(({ file }) => url.endsWith(file))
      return own.length === 0 ? loaded : { ...loaded, source: own.reduce(replaced, textOf(loaded.source)) }
    }
  })
}

const textOf = (source: string | ArrayBuffer | NodeJS.TypedArray | null | undefined): string =>
  typeof source === "string" ? source : new TextDecoder().decode(source ?? undefined)

const replaced = (source: string, { by, file, text }: Replacement): string => {
  if (!source.includes(text)) throw new Error(`${file} has no ${text}`)
  return source.replaceAll(text, () => by)
}
