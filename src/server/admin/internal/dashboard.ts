/**
 * Serves the dashboard: one page with its script and its style, which are built with the package and read once, when they are
 * first asked for. Everybody may read them; what they show, they ask for with the cookie.
 *
 * The page is at `/`, where the original's list of vhosts is, too: it is for who has no cookie in the request and wants HTML.
 */

import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"
import * as Fs from "node:fs"

type Answer = Effect.Effect<HttpServerResponse.HttpServerResponse>

/** The answers by their paths, of which no vhost has a dot. */
export interface Dashboard {
  readonly page: Answer
  readonly files: ReadonlyMap<string, Answer>
}

// Nothing is inline, nothing comes from elsewhere, and no text becomes HTML or a script.
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

/** Makes it. `root` is the folder of this module, for tests another one. */
export const make = (root: string = import.meta.url): Dashboard => ({
  page: serve(root, "index.html", "text/html"),
  files: new Map([
    ["/dashboard.css", serve(root, "style.css", "text/css")],
    ["/dashboard.js", serve(root, "main.js", "text/javascript")]
  ])
})

/** Whether a request for `/` is one of a person who opens the page, and none of a program. */
export const isVisit = ({ headers }: HttpServerRequest): boolean =>
  headers["x-webrocket-cookie"] === undefined && (headers["accept"] ?? "").includes("text/html")

const serve = (root: string, name: string, type: string): Answer => {
  let found: string | undefined
  return Effect.sync(() => {
    found ??= read(root, name)
    return found === undefined ? missing : HttpServerResponse.text(found, {
      contentType: `${type}; charset=utf-8`,
      headers: {
        "content-security-policy": policy,
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer"
      }
    })
  })
}

const missing = HttpServerResponse.text("The dashboard is not built: run npm run build.", { status: 404 })

// In the package they are beside this module; beside the sources only those that need not be built are.
const read = (root: string, name: string): string | undefined => {
  for (const folder of ["page", "../../../../dist/server/admin/internal/page"]) {
    const text = Result.getOrUndefined(Result.try(() => Fs.readFileSync(new URL(`${folder}/${name}`, root), "utf8")))
    if (text !== undefined) return text
  }
  return undefined
}
