import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import type { IncomingMessage } from "node:http"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as Script from "../../../../../src/server/endpoint/internal/browser/script.ts"
import { temporaryFolder } from "../../../../harness/temporaryFolder.ts"
import { TestBroker } from "../../../../harness/TestBroker.ts"
import { withBroker } from "../../../../harness/withBroker.ts"

const asked = (method: string, headers: Record<string, string> = {}) =>
  ({ method, headers }) as never as IncomingMessage

describe("the script for browsers", () => {
  it.live("is read once it is there, and answered 304 as long as it is the same", () =>
    Effect.gen(function*() {
      const file = join(yield* temporaryFolder, "kosmonaut.js")
      const answer = Script.make([pathToFileURL(`${file}.other`), pathToFileURL(file)])
      assert.strictEqual(answer(asked("GET")).status, 404)
      assert.include(answer(asked("GET")).body, "npm run build")
      Fs.writeFileSync(file, "export const é = 1")
      const { body, headers, status } = answer(asked("GET"))
      assert.deepStrictEqual([status, body], [200, "export const é = 1"])
      assert.deepInclude(headers, {
        "content-type": "text/javascript; charset=utf-8",
        "cache-control": "public, max-age=300",
        "access-control-allow-origin": "*"
      })
      const etag = headers["etag"]!
      assert.match(etag, /^"[\w-]+"$/)
      for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
        const again = answer(asked("GET", { "if-none-match": known }))
        assert.deepStrictEqual([again.status, again.body, again.headers["etag"]], [304, "", etag])
      }
      assert.strictEqual(answer(asked("GET", { "if-none-match": `"other"` })).status, 200)
      assert.deepInclude(answer(asked("POST")), { status: 405 })
      assert.strictEqual(answer(asked("POST")).headers["allow"], "GET, HEAD")
      Fs.rmSync(file)
      assert.strictEqual(answer(asked("HEAD")).status, 200, "it is read once")
      Fs.writeFileSync(file, "export const b = 2")
      assert.notStrictEqual(Script.make([pathToFileURL(file)])(asked("GET")).headers["etag"], etag)
    }).pipe(Effect.scoped))

  it.live("is served on the browsers' port, by GET and HEAD", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const url = `http://127.0.0.1:${broker.websocketPort}/kosmonaut.js?v=1`
      const get = yield* Effect.promise(() => fetch(url))
      const body = yield* Effect.promise(() => get.text())
      const head = yield* Effect.promise(() => fetch(url, { method: "HEAD" }))
      assert.strictEqual(yield* Effect.promise(() => head.text()), "")
      assert.strictEqual(head.status, get.status)
      assert.strictEqual(head.headers.get("content-length"), String(Buffer.byteLength(body)))
      const post = yield* Effect.promise(() => fetch(url, { method: "POST" }))
      assert.deepStrictEqual([post.status, post.headers.get("allow")], [405, "GET, HEAD"])
      const etag = get.headers.get("etag")
      if (etag === null) return assert.include(body, "npm run build")
      const again = yield* Effect.promise(() => fetch(url, { headers: { "If-None-Match": etag } }))
      assert.strictEqual(again.status, 304)
    }).pipe(withBroker()))
})
