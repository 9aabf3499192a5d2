/** The dashboard in a real browser, before a broker that has something to show. */
import { assert, describe, it as plain } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { execFileSync } from "node:child_process"
import type { Page } from "playwright-core"
import { Client, Kosmonaut, Worker } from "../../../src/index.ts"
import * as Series from "../../../src/server/admin/internal/page/series.ts"
import { Broker } from "../../../src/server/index.ts"
import { freePort } from "../../chaos/processes.ts"
import { bound, header, send, sendAsStranger } from "../../harness/admin.ts"
import * as Browser from "../../harness/Browser.ts"
import { Chromium, describeInChromium, faultsOf } from "../../harness/chromium.ts"
import { eventually } from "../../harness/eventually.ts"
import { isInstalled, start as startRedis } from "../../harness/redisServer.ts"
import { layer, TestBroker, token } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

const cookie = "c00c1ec00c1ec00c1ec00c1ec00c1ec00c1e0000"

/** How long anything on the page may take: it asks once a second, or every five. */
const patience = 30_000

execFileSync(process.execPath, ["build.ts", "dashboard"], { stdio: "inherit" })

/** Runs a test with a broker of its own. */
const inBroker = <A, E>(test: Effect.Effect<A, E, Chromium | TestBroker | Scope.Scope>) =>
  Effect.flatMap(
    Chromium,
    (chromium) => withBroker({ admin: { port: 0, cookie } })(Effect.provideService(test, Chromium, chromium))
  )

/** Opens the page, in a profile of its own. */
const open = Effect.fnUntraced(function*(url: string) {
  const profile = yield* Effect.flatMap(Chromium, ({ profile }) => profile)
  const page = yield* Effect.promise(() => profile.newPage())
  page.setDefaultTimeout(patience)
  const faults = faultsOf(page)
  yield* Effect.promise(() => page.goto(url))
  return { page, faults }
})

const logIn = (page: Page, secret = cookie) =>
  Effect.promise(async () => {
    await page.getByLabel("The broker’s cookie").fill(secret)
    await page.keyboard.press("Enter")
  })

/** Waits until an element has this text. */
const shows = (page: Page, selector: string, text: string) =>
  Effect.promise(async () => {
    const all = page.locator(selector)
    const now = () => all.allInnerTexts().then((texts) => texts.join(" | "))
    const end = performance.now() + patience
    let seen = await now()
    // To look is work for the page and for this process: later looks are further apart.
    for (let n = 1; !seen.includes(text); n++) {
      assert.isBelow(performance.now(), end, `${selector} shows ${seen}, and not ${text}`)
      await page.waitForTimeout(Math.min(50 * n, 250))
      seen = await now()
    }
  })

const click = (page: Page, role: "button" | "tab", name: string) =>
  Effect.promise(() => page.getByRole(role, { name, exact: true }).click())

/** What a tile of the page shows. */
const tile = (title: string) => `.tile:has(dt:text-is("${title}")) dd`

/** A browser that is subscribed, authenticated, and triggers events. */
const connectBrowser = Effect.fnUntraced(function*(uid: string) {
  const client = yield* Client.Client
  const { urls } = yield* TestBroker
  const secret = yield* client.requestSingleAccessToken(uid, ".*")
  const browser = yield* Browser.connect(urls.websocket)
  yield* browser.send({ auth: { token: Redacted.value(secret) } })
  yield* browser.nextOf(":authenticated")
  yield* browser.send({ subscribe: { channel: "room" } })
  yield* browser.nextOf(":subscribed")
  return browser
})

const backend = Layer.unwrap(
  Effect.map(TestBroker, ({ urls }) => Kosmonaut.layer({ url: urls.backend, worker: { maxAttempts: 1 } }))
)

/** A worker whose handler fails as long as it is told to. */
const work = Effect.fnUntraced(function*(state: { fails: boolean; readonly handled: Array<string> }) {
  const worker = yield* Worker.Worker
  yield* Effect.forkScoped(worker.listen({
    onMessage: ({ event }) =>
      Effect.suspend(() => state.fails ? Effect.fail("no stock") : Effect.sync(() => state.handled.push(event))),
    onException: () => Effect.void
  }))
})

describeInChromium("the dashboard", (it) => {
  it.effect("shows a loaded broker, replays and discards dead letters, and disconnects browsers", () =>
    Effect.gen(function*() {
      const { broker, vhost } = yield* TestBroker
      const state = { fails: true, handled: [] as Array<string> }
      yield* work(state)
      const joe = yield* connectBrowser("joe")
      yield* connectBrowser("ann")
      for (let n = 0; n < 130; n++) yield* vhost.channels.open(`hall-${n}`)
      for (const event of ["order", "refund", "invoice"]) {
        yield* joe.send({ trigger: { event, data: { total: 12, note: "<b>bold</b>" } } })
      }
      yield* eventually(Effect.sync(() => vhost.deadLetters.counters.count), (count) => count === 3)
      for (let n = 0; n < 10; n++) yield* vhost.channels.broadcast("room", "said", { n })

      const { faults, page } = yield* open(`${broker.admin!.address}/`)
      yield* logIn(page)
      yield* shows(page, "#state", "Ready")
      yield* shows(page, ".chart:has-text('Browsers') .value", "2")
      yield* shows(page, tile("Dead letters"), "3")
      yield* shows(page, tile("Channels"), "133")
      yield* shows(page, tile("Workers"), "1")
      yield* shows(page, tile("Broadcast to socket"), "99 %")

      // Channels: pages, and by the beginning of their names.
      yield* shows(page, ".where", "1–50")
      yield* click(page, "button", "Next")
      yield* shows(page, ".where", "51–100")
      yield* click(page, "button", "Previous")
      yield* shows(page, "tr:has-text('room')", "2")
      yield* Effect.promise(() => page.keyboard.press("/"))
      yield* Effect.promise(() => page.keyboard.type("hall-12"))
      // With all that was typed: those that begin with "hall-1" begin with another one.
      yield* shows(page, "#panel-channels tbody tr:first-child", "hall-12")
      yield* shows(page, "#panel-channels tbody tr:last-child", "hall-129")
      assert.strictEqual(yield* Effect.promise(() => page.locator("#panel-channels tbody tr").count()), 11)
      yield* Effect.promise(() => page.keyboard.type("-nothing"))
      yield* shows(page, "#panel-channels .empty", "No open channel begins with “hall-12-nothing”.")

      // Dead letters.
      yield* click(page, "tab", "Dead letters")
      yield* shows(page, "#panel-dead-letters tbody", "no stock")
      yield* Effect.promise(() => page.getByText("order", { exact: true }).click())
      yield* shows(page, "#panel-dead-letters pre", `"note": "<b>bold</b>"`)
      state.fails = false
      yield* click(page, "button", "Replay order")
      yield* shows(page, "#notice", "order is queued again.")
      yield* eventually(Effect.sync(() => state.handled.join()), (handled) => handled === "order")
      yield* click(page, "button", "Discard refund")
      yield* shows(page, "#notice", "refund is discarded.")
      yield* eventually(Effect.sync(() => vhost.deadLetters.counters.count), (count) => count === 1)
      yield* click(page, "button", "Discard all")
      yield* click(page, "button", "Cancel")
      yield* click(page, "button", "Replay all")
      yield* Effect.promise(() => page.locator("dialog").getByRole("button", { name: "Replay all" }).click())
      yield* shows(page, "#notice", "1 dead letter replayed, 0 left.")
      yield* eventually(Effect.sync(() => state.handled.join()), (handled) => handled === "order,invoice")
      yield* shows(page, "#panel-dead-letters .empty", "No dead letters")

      // Workers and browsers, by the arrow keys.
      yield* Effect.promise(() => page.getByRole("tab", { name: "Dead letters" }).press("ArrowLeft"))
      yield* shows(page, "#panel-workers .list tbody", "events")
      yield* shows(page, "#panel-workers tbody", "Lifecycle events")
      yield* click(page, "tab", "Browsers")
      yield* shows(page, "#panel-browsers tbody", "joe")
      yield* click(page, "button", `Disconnect ${joe.sid}`)
      assert.strictEqual(yield* joe.closed, 4403)
      yield* shows(page, ".chart:has-text('Browsers') .value", "1")

      // What was typed is in this tab alone, and nowhere in the page.
      assert.strictEqual(
        yield* Effect.promise(() => page.evaluate("sessionStorage.getItem('kosmonaut.cookie')")),
        cookie
      )
      assert.notInclude(yield* Effect.promise(() => page.content()), cookie)
      assert.notInclude(page.url(), cookie)
      assert.strictEqual(yield* Effect.promise(() => page.evaluate("localStorage.length + document.cookie.length")), 0)
      yield* Effect.promise(() => page.reload())
      yield* shows(page, "#panel-browsers tbody", "ann")
      yield* click(page, "button", "Forget cookie")
      yield* shows(page, "#login", "The broker’s cookie")
      assert.strictEqual(yield* Effect.promise(() => page.evaluate("sessionStorage.length")), 0)
      assert.deepEqual(faults, [])
    }).pipe(Effect.provide(backend), inBroker))

  it.effect("says what is wrong with a cookie", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const { page } = yield* open(`${broker.admin!.address}/`)
      yield* logIn(page, "0123")
      yield* shows(page, "#cookie-problem", "A cookie has 40 hexadecimal digits. This has 4 characters.")
      yield* logIn(page, "f".repeat(40))
      yield* shows(page, "#cookie-problem", "The broker does not accept this cookie.")
      assert.strictEqual(yield* Effect.promise(() => page.evaluate("sessionStorage.length")), 0)
      assert.isFalse(yield* Effect.promise(() => page.locator("#dashboard").isVisible()))
      yield* logIn(page, ` ${cookie} `)
      yield* shows(page, "#state", "Ready")
    }).pipe(inBroker))

  it.effect("says that the broker is away, and goes on when it is back", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const start = Effect.gen(function*() {
        const scope = yield* Scope.make()
        yield* Layer.buildWithScope(layer({ admin: { port, cookie } }), scope)
        return Scope.close(scope, Exit.void)
      })
      const end = yield* start
      const { faults, page } = yield* open(`http://127.0.0.1:${port}/`)
      yield* logIn(page)
      yield* shows(page, "#state", "Ready")
      yield* shows(page, "#panel-channels tbody", "room")
      yield* end
      yield* shows(page, "#state", "Away")
      yield* shows(page, "#problem", "The broker does not answer. Trying again until it does…")
      // What was there last is still there to be read.
      yield* shows(page, "#panel-channels tbody", "room")
      const endAgain = yield* start
      yield* shows(page, "#state", "Ready")
      assert.isFalse(yield* Effect.promise(() => page.locator("#problem").isVisible()))
      yield* endAgain
      assert.deepEqual(faults, [])
    }))
})

if (isInstalled) {
  describeInChromium("the dashboard of a cluster", (it) => {
    it.effect("lists the nodes where there are several", () =>
      Effect.gen(function*() {
        const { url } = yield* startRedis()
        const nodeOf = (nodeName: string) =>
          Effect.map(
            Layer.build(Layer.fresh(layer({ admin: { port: 0, cookie }, redis: { url }, nodeName }))),
            (context) => Context.get(context, Broker.Broker)
          )
        const one = yield* nodeOf("one")
        const { faults, page } = yield* open(`${one.admin!.address}/`)
        yield* logIn(page)
        yield* shows(page, "#state", "Ready")
        const nodes = page.locator("section[aria-label=Nodes]")
        assert.isFalse(yield* Effect.promise(() => nodes.isVisible()))
        yield* nodeOf("other")
        yield* shows(page, "section[aria-label=Nodes] tbody", "one (this one)")
        yield* shows(page, "section[aria-label=Nodes] tbody", "other")
        assert.isTrue(yield* Effect.promise(() => nodes.isVisible()))
        assert.deepEqual(faults, [])
      }))
  })
}

describe("what the dashboard is served with", () => {
  plain.live("is a page for people alone, and nothing from elsewhere", () =>
    Effect.gen(function*() {
      const html = { accept: "text/html,application/xhtml+xml" }
      const page = yield* sendAsStranger("GET", "/", { headers: html })
      assert.strictEqual(page.status, 200)
      assert.strictEqual(page.headers["content-type"], "text/html; charset=utf-8")
      const policy = String(page.headers["content-security-policy"])
      assert.include(policy, "default-src 'none'; script-src 'self'; style-src 'self';")
      assert.notInclude(policy, "unsafe")
      assert.notMatch(
        page.body,
        /<script(?![^>]*src="\/dashboard\.js")|<style|style=|\son\w+=|https?:\/\/(?!www\.w3\.org)/
      )
      for (const [path, type] of [["/dashboard.js", "text/javascript"], ["/dashboard.css", "text/css"]] as const) {
        const { body, headers, status } = yield* sendAsStranger("GET", path)
        assert.deepEqual([status, headers["content-type"]], [200, `${type}; charset=utf-8`])
        assert.notMatch(body, /https?:\/\/(?!www\.w3\.org)|innerHTML|@import/)
        assert.isBelow(body.length, 40_000)
      }
      // Programs get what they always did: the original's list of vhosts, or nothing.
      assert.strictEqual((yield* sendAsStranger("GET", "/")).status, 403)
      assert.strictEqual((yield* sendAsStranger("POST", "/", { headers: html })).status, 403)
      const { port } = yield* bound
      const list = yield* send(port, "GET", "/", { headers: { ...html, [header]: cookie } })
      assert.deepEqual(Object.keys(JSON.parse(list.body)), ["vhosts"])
      const wrong = yield* send(port, "GET", "/", { headers: { ...html, [header]: token } })
      assert.strictEqual(wrong.status, 403)
    }).pipe(withBroker({ admin: { port: 0, cookie } })))

  plain("makes rates and quantiles", () => {
    const lag = (...counts: ReadonlyArray<number>) => ({ bounds: [1, 2, 4], counts })
    assert.strictEqual(Series.quantile(lag(0, 0, 0, 0), 0.5), undefined)
    assert.strictEqual(Series.quantile(lag(10, 10, 10, 10), 0.5), 0.5)
    assert.strictEqual(Series.quantile(lag(0, 10, 10, 10), 0.5), 1.5)
    assert.strictEqual(Series.quantile(lag(5, 5, 10, 10), 0.99), 2 + 2 * 4.9 / 5)
    assert.strictEqual(Series.quantile(lag(0, 0, 0, 3), 0.5), 4)
    assert.deepEqual(Series.between(lag(1, 2, 3, 4), lag(2, 4, 6, 8)).counts, [1, 2, 3, 4])
    assert.deepEqual(Series.between(lag(9, 9, 9, 9), lag(2, 4, 6, 8)).counts, [2, 4, 6, 8])
    const at = (at: number, deliveries: number, uptime = at / 1000) =>
      ({ at, uptime, totals: { deliveries } }) as unknown as Series.Overview
    const of = ({ totals }: Series.Overview) => totals.deliveries
    assert.strictEqual(Series.rateOf(at(1000, 10), at(3000, 30), of), 10)
    assert.strictEqual(Series.rateOf(undefined, at(3000, 30), of), undefined)
    assert.strictEqual(Series.rateOf(at(9000, 10), at(9500, 30, 0), of), undefined)
  })
})
