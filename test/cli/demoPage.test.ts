/** The chat of `kosmonaut demo --open`, clicked through in a real browser by two people. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { BrowserContext, Page } from "playwright-core"
import { Chromium, describeInChromium, faultsOf } from "../harness/chromium.ts"
import { start, startProgram } from "./program.ts"

/** How long anything on a page may take. */
const patience = 20_000

/** A tab, and what went wrong in it. */
const openTab = Effect.fnUntraced(function*(profile: BrowserContext, url: string) {
  const page = yield* Effect.promise(() => profile.newPage())
  page.setDefaultTimeout(patience)
  const faults = faultsOf(page)
  yield* Effect.promise(() => page.goto(url))
  yield* shows(page, "#status", "Connected")
  return { page, faults }
})

/** Waits until the texts of all elements that match are these. */
const shows = (page: Page, selector: string, ...texts: ReadonlyArray<string>) => {
  const now = `Array.from(document.querySelectorAll(${JSON.stringify(selector)}), (_) => _.textContent)`
  const wanted = JSON.stringify(texts)
  return Effect.promise(() =>
    page.waitForFunction(`JSON.stringify(${now}) === ${JSON.stringify(wanted)}`).catch(async () =>
      assert.deepStrictEqual(await page.evaluate(now), texts)
    )
  )
}

const members = "#members li > :nth-child(2)"
const lines = "#log p"

const say = (page: Page, text: string) =>
  Effect.promise(async () => {
    await page.getByLabel("Message", { exact: true }).fill(text)
    await page.keyboard.press("Enter")
  })

// In one step of the page, so that the server is not back before.
const sayWhileAway = (page: Page, text: string) =>
  Effect.promise(() =>
    page.waitForFunction(`(() => {
      const state = document.getElementById("state").textContent
      if (!/^Reconnecting( in \\d+ s|…)$/.test(state)) return false
      document.getElementById("text").value = ${JSON.stringify(text)}
      document.getElementById("composer").requestSubmit()
      const pending = document.querySelector("#log .pending")
      return [pending.querySelector("p").textContent, pending.lastChild.textContent]
    })()`).then((result) => result.jsonValue())
  )

const rename = (page: Page, to: string) =>
  Effect.promise(async () => {
    await page.getByLabel("Your name").fill(to)
    await page.getByRole("button", { name: "Rename" }).click()
  })

// The script is built from the sources, as `npm run demo` does it.
const serve = Effect.gen(function*() {
  const build = yield* startProgram(process.execPath, ["build.ts", "script"])
  assert.deepStrictEqual(yield* build.output, { status: 0, stdout: "", stderr: "" })
  const program = yield* start(["demo", "--open"])
  const [, url] = yield* program.says("stdout", /^(http:\/\/127\.0\.0\.1:\d+\/)\n/)
  return { program, url: url! }
})

describeInChromium("kosmonaut demo --open", (it) => {
  it.effect(
    "is a chat of two tabs, which loses nothing when its server restarts",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const { program, url } = yield* serve
        const profile = yield* Effect.flatMap(Chromium, ({ profile }) => profile)
        const yuri = yield* openTab(profile, url)
        yield* shows(yuri.page, members, "Yuri")
        const other = yield* openTab(profile, url)
        yield* shows(yuri.page, members, "Yuri", "Valentina")
        yield* shows(other.page, members, "Valentina", "Yuri")

        yield* say(yuri.page, "Good morning!")
        for (const { page } of [yuri, other]) yield* shows(page, lines, "Good morning!")

        yield* rename(other.page, "yuri")
        yield* shows(other.page, "[role=alert]", "Somebody is called yuri already.")
        assert.strictEqual(yield* Effect.promise(() => other.page.locator("#name[aria-invalid=true]").count()), 1)
        yield* rename(other.page, "x".repeat(21))
        yield* shows(other.page, "[role=alert]", "A name has at most 20 characters.")
        yield* rename(other.page, "Laika")
        yield* shows(other.page, "[role=alert]", "")
        assert.strictEqual(yield* Effect.promise(() => other.page.locator("#name[aria-invalid=true]").count()), 0)
        yield* shows(yuri.page, members, "Yuri", "Laika")
        yield* shows(other.page, members, "Laika", "Yuri")

        const third = yield* openTab(profile, url)
        yield* shows(yuri.page, members, "Yuri", "Laika", "Valentina")
        yield* shows(third.page, lines, "Good morning!")
        yield* Effect.promise(() => third.page.close())
        yield* shows(yuri.page, members, "Yuri", "Laika")

        yield* Effect.promise(() => yuri.page.getByRole("button", { name: "Restart" }).click())
        const written = yield* Effect.all([
          sayWhileAway(yuri.page, "Typed while it was away"),
          sayWhileAway(other.page, "Here, too")
        ], { concurrency: "unbounded" })
        assert.deepStrictEqual(written, [
          ["Typed while it was away", "Will be sent when connected"],
          ["Here, too", "Will be sent when connected"]
        ])
        for (const { page } of [yuri, other]) {
          yield* Effect.promise(() => page.locator(lines).nth(2).waitFor())
          yield* shows(page, "#status", "Connected")
          yield* shows(page, "#log .pending")
        }
        yield* shows(yuri.page, members, "Yuri", "Laika")
        yield* shows(other.page, members, "Laika", "Yuri")
        const said = yield* Effect.promise(() => yuri.page.locator(lines).allTextContents())
        assert.sameMembers(said, ["Good morning!", "Typed while it was away", "Here, too"])
        yield* shows(other.page, lines, ...said)

        assert.deepStrictEqual([...yuri.faults, ...other.faults, ...third.faults], [])
        yield* program.kill("SIGINT")
        const { status, stderr } = yield* program.output
        assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      })),
    120_000
  )
})
