/**
 * The script and `kosmonaut/browser` in real pages.
 */
import { Effect } from "effect"
import * as esbuild from "esbuild"
import { expect } from "vitest"
import { describeInChromium } from "../harness/chromium.ts"
import { eventually } from "../harness/eventually.ts"
import * as Site from "../harness/site.ts"
import { subscribed, waiting, work } from "./page/world.ts"

/** What a page with `kosmonaut/browser` loads. */
const bundle = () =>
  esbuild.buildSync({
    entryPoints: ["test/browser/page/program.ts"],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "browser"
  }).outputFiles[0]!.text

describeInChromium("pages", (it) => {
  it.effect("see one another come, broadcast, reload and go", () =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      const joe = yield* site.open("joe")
      const ann = yield* site.open("ann")
      for (const tab of [joe, ann]) yield* tab.until(`uids().join() === "ann,joe"`)
      yield* joe.run(`room.broadcast("talk/said", { n: 1 })`)
      yield* ann.until(`log.said.join() === "1"`)
      const sid = yield* ann.run<string>("connection.state.sid")
      yield* site.client.sendTo(sid, "news", { what: "rain" })
      expect(yield* ann.until("log.direct[0]")).toMatchObject({ what: "rain" })
      yield* Effect.promise(() => ann.page.reload())
      yield* ann.until(`uids().join() === "ann,joe"`)
      expect(yield* ann.run("connection.state.sid")).not.toBe(sid)
      yield* joe.until(`uids().join() === "ann,joe"`)
      yield* joe.run(`room.broadcast("talk/said", { n: 2 })`)
      yield* ann.until(`log.said.join() === "2"`)
      yield* Effect.promise(() => ann.page.close())
      yield* joe.until(`uids().join() === "joe"`)
      expect([...joe.faults, ...ann.faults]).toEqual([])
    }))

  it.effect("fetch a token anew if the broker rejects it, and fail if it rejects that too", () =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      site.pages.tokens = "bad once"
      const joe = yield* site.open("joe")
      yield* joe.until(subscribed)
      expect(site.pages.fetches).toBe(2)
      expect(yield* joe.run("log.errors")).toEqual(["UnauthorizedError"])
      site.pages.tokens = "bad"
      site.pages.fetches = 0
      const ann = yield* site.open(
        "ann",
        `globalThis.first = outcome(connection.trigger("chat/say", {})).then(async (failed) => ({
        ...failed, fetches: (await (await fetch("/fetches")).json())
      }))`
      )
      expect(yield* ann.run("first")).toMatchObject({ _tag: "UnauthorizedError", code: 402, fetches: 2 })
      expect(yield* ann.run("room.state")).toMatchObject({ _tag: "Failed", isRetried: true })
      site.pages.tokens = "good"
      yield* ann.until(subscribed)
      site.pages.tokens = "none"
      const bob = yield* site.open("bob")
      expect(yield* bob.run(`outcome(connection.trigger("chat/say", {}))`)).toMatchObject({ _tag: "UnauthorizedError" })
      expect([...joe.faults, ...ann.faults, ...bob.faults]).toEqual([])
    }))

  it.effect("have their requests responded to", () =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      const joe = yield* site.open("joe")
      const request = (event: string, data: string, options = "{}") =>
        joe.run(`outcome(connection.request("chat/${event}", ${data}, ${options}))`)
      const at = `{ at: "2026-01-01T00:00:00.000Z" }`
      expect(yield* request("when", at)).toMatchObject({ _tag: "NoWorkerError", code: 457 })
      yield* work(site)
      yield* eventually(request("when", at), (outcome) => (outcome as { data?: unknown }).data !== undefined)
      expect(yield* request("when", at)).toEqual({ data: "2026-01-02T00:00:00.000Z" })
      expect(yield* request("rename", `{ to: "ann" }`)).toMatchObject({
        _tag: "DeclaredError",
        error: { _tag: "Taken", by: "ann" }
      })
      const failed = yield* request("crash", "{}")
      expect(failed).toMatchObject({ _tag: "HandlerFailedError", code: 458 })
      expect(JSON.stringify(failed)).not.toContain("a secret")
      expect(yield* request("when", "{}")).toMatchObject({ _tag: "HandlerFailedError", code: 458 })
      expect(yield* request("when", at, "{ signal: AbortSignal.abort() }")).toMatchObject({ _tag: "CancelledError" })
      expect(joe.faults).toEqual([])
    }))

  it.effect("take the network's hints, and believe none", () =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      const joe = yield* site.open("joe")
      yield* joe.until(subscribed)
      const sid = yield* joe.run("connection.state.sid")
      yield* joe.run(`dispatchEvent(new Event("offline"))`)
      yield* joe.run(`room.broadcast("talk/said", { n: 1 })`)
      yield* joe.until(`log.said.join() === "1"`)
      expect(yield* joe.run("connection.state.sid")).toBe(sid)
      // Chromium ends its WebSockets, and opens none.
      const offline = (is: boolean) => Effect.promise(() => joe.page.context().setOffline(is))
      yield* offline(true)
      yield* joe.until(`${waiting} && connection.state.attempt > 1`)
      yield* offline(false)
      yield* joe.until(subscribed)
      // From now on each backoff is as long as it can be.
      yield* joe.run("crypto.getRandomValues = (numbers) => numbers.fill(2 ** 32 - 1)")
      site.broker.tell("SIGKILL")
      // In one turn of the page, so that no wait is over between what is seen and what is done.
      const left = "connection.state.until - performance.now()"
      const leftAfter = (hint: string) =>
        joe.until<ReadonlyArray<number>>(
          `${waiting} && connection.state.attempt > 2 && ${left} > 1000 && (${hint}, [${left}])`
        )
      for (
        const hint of [`dispatchEvent(new Event("online"))`, `document.dispatchEvent(new Event("visibilitychange"))`]
      ) {
        const [wait] = yield* leftAfter(hint)
        expect(wait).toBeLessThan(501)
      }
      yield* site.broker.killAndStart
      yield* joe.run(`dispatchEvent(new Event("online"))`)
      yield* joe.until(subscribed)
      expect(joe.faults).toEqual([])
    }))

  it.effect("load the script from the broker", ({ skip }) =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      const script = `http://127.0.0.1:${site.websocketPort}/kosmonaut.js`
      const { status } = yield* Effect.promise(() => fetch(script))
      if (status === 404) return skip("the script is not built: run npm run build")
      const joe = yield* site.open("joe", "", script)
      yield* joe.until(subscribed)
      expect(joe.faults).toEqual([])
    }))

  it.effect("use kosmonaut/browser", () =>
    Effect.gen(function*() {
      const site = yield* Site.make()
      const handled = yield* work(site)
      site.pages.files["/program.js"] = bundle()
      const joe = yield* site.open("joe")
      yield* joe.until(subscribed)
      const outcome = yield* joe.run(`import("/program.js").then(({ outcome }) => outcome("${site.websocket}"))`)
      expect(outcome).toEqual({
        day: 2,
        taken: "ann",
        crashed: "HandlerFailedError",
        said: [7],
        members: ["joe", "ann"]
      })
      yield* joe.until(`log.said.join() === "7"`)
      yield* eventually(Effect.sync(() => handled.join()), (numbers) => numbers === "5")
      expect(joe.faults).toEqual([])
    }))
})
