/**
 * The script for browsers, `/kosmonaut.js`. It is built with the package and read once, when it is first asked for.
 *
 * Browsers may use it for five minutes without asking, and are answered 304 as long as it is the same.
 */

import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import type * as Http from "node:http"
import { type Answer, sentence } from "./answer.ts"

/** Its path on the browsers' port. No vhost has a dot in its path. */
export const path = "/kosmonaut.js"

interface Script {
  readonly text: string
  readonly etag: string
}

// In the package it is beside the compiled modules; beside the sources it is where they are compiled to.
const candidates = ["../../../../kosmonaut.js", "../../../../../dist/kosmonaut.js"].map((path) =>
  new URL(path, import.meta.url)
)

/** Makes the answers to requests for the script, from the first of these files that exists. */
export const make = (files: ReadonlyArray<URL> = candidates): (request: Http.IncomingMessage) => Answer => {
  let found: Script | undefined
  return ({ headers, method }) => {
    if (method !== "GET" && method !== "HEAD") {
      const refused = sentence(405, "The script can only be read.")
      return { ...refused, headers: { ...refused.headers, allow: "GET, HEAD" } }
    }
    found ??= read(files)
    if (found === undefined) return missing
    const common = {
      connection: "close",
      etag: found.etag,
      "cache-control": "public, max-age=300",
      // Any page may load it; what it may connect to is another matter.
      "access-control-allow-origin": "*",
      "cross-origin-resource-policy": "cross-origin",
      "x-content-type-options": "nosniff"
    }
    return isKnown(headers["if-none-match"], found.etag)
      ? { status: 304, headers: common, body: "" }
      : { status: 200, headers: { ...common, "content-type": "text/javascript; charset=utf-8" }, body: found.text }
  }
}

const missing = sentence(404, "The script is not built: run npm run build.")

const read = (files: ReadonlyArray<URL>): Script | undefined => {
  for (const file of files) {
    const text = Result.getOrUndefined(Result.try(() => Fs.readFileSync(file, "utf8")))
    if (text !== undefined) return { text, etag: `"${Crypto.hash("sha256", text, "base64url").slice(0, 27)}"` }
  }
  return undefined
}

const isKnown = (ifNoneMatch: string | undefined, etag: string): boolean =>
  ifNoneMatch?.split(",").some((one) => one.trim() === "*" || one.trim().replace(/^W\//, "") === etag) ?? false
