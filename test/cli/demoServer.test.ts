/** The server of `kosmonaut demo --open`: its routes, and the names of people. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Scope } from "effect"
import { once } from "node:events"
import { connect } from "node:net"
import { Crew, layer as crewLayer } from "../../src/cli/demo/Crew.ts"
import * as Server from "../../src/cli/demo/Server.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"

const get = (url: string, options?: RequestInit) =>
  Effect.promise(async () => {
    const response = await fetch(url, options)
    return { status: response.status, type: response.headers.get("content-type"), text: await response.text() }
  })

describe("the server of kosmonaut demo --open", () => {
  it.live("has a page, tokens for its tabs, and a restart that no other site can ask for", () =>
    Effect.gen(function*() {
      const restarted = yield* Deferred.make<void>()
      const port = yield* Server.start({
        port: 0,
        storageDir: yield* temporaryFolder,
        restart: Deferred.succeed(restarted, undefined)
      })
      const url = `http://127.0.0.1:${port}`

      const page = yield* get(`${url}/`)
      assert.deepInclude(page, { status: 200, type: "text/html; charset=utf-8" })
      assert.include(page.text, `src="/kosmonaut.js"`)

      assert.match((yield* get(`${url}/token?tab=12345678`)).text, /^\w{20,}$/)
      for (const query of ["", "?tab=", "?tab=1", `?tab=${"x".repeat(41)}`, "?tab=1234567%0a"]) {
        assert.strictEqual((yield* get(`${url}/token${query}`)).status, 400, query)
      }
      const { names } = yield* Crew
      assert.deepStrictEqual(yield* names, { "12345678": "Yuri" })

      const foreign = yield* get(`${url}/restart`, { method: "POST", headers: { "sec-fetch-site": "cross-site" } })
      assert.strictEqual(foreign.status, 403)
      assert.isFalse(yield* Deferred.isDone(restarted))
      assert.strictEqual((yield* get(`${url}/restart`, { method: "POST" })).status, 202)
      yield* Deferred.await(restarted)
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(crewLayer, NodeServices.layer))))

  it.live("lets nobody wait who comes before it is up", () =>
    Effect.gen(function*() {
      const options = { storageDir: yield* temporaryFolder, restart: Effect.void }
      const port = yield* Effect.scoped(Server.start({ ...options, port: 0 }))
      const isUp = yield* Effect.forkScoped(Server.start({ ...options, port }))
      const outcomes = new Set<string>()
      while (isUp.pollUnsafe() === undefined) {
        outcomes.add(
          yield* Effect.promise(() =>
            fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(10_000) }).then(
              ({ status }) => String(status),
              ({ name }: Error) => name
            )
          )
        )
      }
      // Until it listens, the connection is refused.
      assert.deepStrictEqual([...outcomes].filter((it) => !["TypeError", "503", "200"].includes(it)), [])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(crewLayer, NodeServices.layer))))

  it.live("ends at once, whoever is connected and says nothing", () =>
    Effect.gen(function*() {
      const storageDir = yield* temporaryFolder
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(Server.start({ port: 0, storageDir, restart: Effect.void }), scope)
      const silent = connect(port, "127.0.0.1")
      yield* Effect.promise(() => once(silent, "connect"))
      assert.strictEqual((yield* get(`http://127.0.0.1:${port}/`)).status, 200)
      const closed = Effect.promise(() => once(silent, "close"))
      yield* Effect.timeout(Effect.all([Scope.close(scope, Exit.void), closed], { concurrency: 2 }), "20 seconds")
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(crewLayer, NodeServices.layer))))
})

describe("the crew of the demo", () => {
  it.effect("gives each a free name, and back the own one if it is still free", () =>
    Effect.gen(function*() {
      const { enter, leave, names, rename } = yield* Crew
      assert.strictEqual(yield* enter("a"), "Yuri")
      assert.strictEqual(yield* enter("b"), "Valentina")
      assert.strictEqual(yield* enter("a"), "Yuri")
      yield* leave("a")
      assert.strictEqual(yield* enter("c"), "Yuri")
      assert.strictEqual(yield* enter("a"), "Alexei")
      assert.strictEqual(yield* rename("b", " Laika "), "Laika")
      yield* leave("b")
      assert.strictEqual(yield* enter("b"), "Laika")
      for (let i = 0; i < 300; i++) yield* enter(`more ${i}`)
      assert.strictEqual(Object.keys(yield* names).length, 200)
    }).pipe(Effect.provide(crewLayer)))

  it.effect("lets nobody have another's name, or a long one", () =>
    Effect.gen(function*() {
      const { enter, rename } = yield* Crew
      yield* enter("a")
      yield* enter("b")
      const failure = (to: string) => Effect.map(Effect.flip(rename("b", to)), ({ _tag }) => _tag)
      assert.strictEqual(yield* failure("yURI"), "NameTaken")
      assert.strictEqual(yield* failure("x".repeat(21)), "NameTooLong")
      assert.deepStrictEqual(yield* Effect.exit(rename("b", "valentina")), Exit.succeed("valentina"))
    }).pipe(Effect.provide(crewLayer)))

  it.effect("keeps the last lines, each once, as it was said first", () =>
    Effect.gen(function*() {
      const { lines, say } = yield* Crew
      const line = { id: "1", text: "hello", uid: "a", name: "Yuri", at: 1 }
      yield* say(line)
      assert.deepStrictEqual(yield* say({ ...line, at: 2 }), line)
      assert.deepStrictEqual(yield* lines, [line])
      for (let i = 2; i <= 150; i++) yield* say({ ...line, id: `${i}` })
      assert.deepStrictEqual((yield* lines).map(({ id }) => id), Array.from({ length: 100 }, (_, i) => `${i + 51}`))
    }).pipe(Effect.provide(crewLayer)))
})
