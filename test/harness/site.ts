/**
 * A web site with a broker behind it: a broker in a process of its own, which can be killed and frozen, a network before it that can
 * be cut, a backend in this process, and a server of pages that gives the backend's tokens to them.
 */
import { Effect, Layer, Redacted, Result, Schedule } from "effect"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import type { Page } from "playwright-core"
import { Client, Kosmonaut } from "../../src/index.ts"
import { freePort, startBroker } from "../chaos/processes.ts"
import { Chromium, faultsOf } from "./chromium.ts"
import * as Script from "./script.ts"
import * as TcpProxy from "./TcpProxy.ts"
import { temporaryFolder } from "./temporaryFolder.ts"
import { token } from "./TestBroker.ts"

/** What the server of pages responds to `/token`. */
export type Tokens = "good" | "bad once" | "bad" | "none"

/** A page that is open. */
export interface Tab {
  readonly page: Page
  /** Evaluates an expression in it, and waits for it if it is a promise. */
  readonly run: <A>(expression: string) => Effect.Effect<A>
  /** Waits until an expression is true, or what it gives. */
  readonly until: <A = unknown>(expression: string) => Effect.Effect<A>
  /** What it has done wrong. */
  readonly faults: ReadonlyArray<string>
}

const html = (script: string) =>
  `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
   <script src="${script}"></script><script src="/code.js"></script>`

/** What a test's page does before anything else: it connects, and writes down what it is told of. */
const begin = `
  const log = { states: [], said: [], errors: [], direct: [] }
  const connection = Kosmonaut.connect(location.hash.slice(1), {
    token: async () => {
      const response = await fetch("/token" + location.search)
      if (!response.ok) throw new Error("no token")
      return (await response.text()) || undefined
    }
  })
  connection.onState((state) => log.states.push(state))
  connection.onError((failure) => log.errors.push(failure._tag))
  connection.on("news", (data) => log.direct.push(data))
  const room = connection.subscribe("presence-room")
  room.on("talk/said", ({ n }) => log.said.push(n))
  // Sorted: the page that was opened first need not be the first to come.
  const uids = () => room.members.map(({ uid }) => uid).sort()
  const calls = []
  const say = (n) => void calls.push(outcome(connection.trigger("chat/say", { n }, { timeout: 90_000 })))
  const outcome = (call) => call.then((data) => ({ data }), ({ _tag, code, error, message }) => ({ _tag, code, error, message }))
`

/** Starts everything. `broker` is over the broker's options. */
export const make = Effect.fnUntraced(function*(broker: Record<string, unknown> = {}) {
  const ports = { websocketPort: yield* freePort, backendPort: yield* freePort, tcpPort: yield* freePort }
  const folder = yield* temporaryFolder
  const running = yield* startBroker({
    ...ports,
    vhosts: [{ path: "/test", token, channels: ["room", "presence-room"] }],
    storageDir: join(folder, "storage"),
    ...broker,
    browsers: { broadcast: true, ...broker["browsers"] as object }
  })
  const network = yield* TcpProxy.make(ports.websocketPort)
  const backendUrl = `wr+tcp://${token}@127.0.0.1:${ports.tcpPort}/test`
  const backend = Kosmonaut.layer({
    url: backendUrl,
    worker: { reconnect: Schedule.spaced("50 millis") },
    client: { requestTimeout: "2 seconds" }
  })
  const context = yield* Layer.build(backend)
  const client = yield* Effect.provideContext(Client.Client, context)
  const pages = yield* serve(client)
  const websocket = `${broker["tls"] === undefined ? "ws" : "wss"}://127.0.0.1:${network.port}/test`

  /** Opens a page of this user in a profile of its own, and runs more code in it than `begin`. */
  const open = Effect.fnUntraced(function*(uid: string, more = "", script = "/kosmonaut.js") {
    const context = yield* (yield* Chromium).profile
    const page = yield* Effect.promise(() => context.newPage())
    const faults = faultsOf(page)
    // At each load, so that a reload begins anew.
    pages.content = { html: html(script), code: `${begin}${more}` }
    yield* Effect.promise(() => page.goto(`${pages.origin}/?${uid}#${websocket}`))
    return tabOf(page, faults)
  })

  return {
    broker: running,
    network,
    client,
    backend: context,
    pages,
    open,
    websocket,
    /** The broker's own port, which no fault of the network is before. */
    websocketPort: ports.websocketPort,
    backendUrl
  }
})

/** How long a page may take for one thing: less than a test may, so that it fails by saying what it waited for. */
const patience = "60 seconds"

/** What a page says of itself. */
const told = (page: Page): Effect.Effect<string> =>
  Effect.promise(() => page.evaluate<string>("JSON.stringify({ log, connection: connection.state, room: room.state })"))
    .pipe(
      Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.succeed("a page that says nothing") })
    )

const tabOf = (page: Page, faults: ReadonlyArray<string>): Tab => {
  const inTime = <A>(expression: string, wait: () => Promise<A>): Effect.Effect<A> =>
    Effect.promise(wait).pipe(Effect.timeoutOrElse({
      duration: patience,
      orElse: () =>
        Effect.flatMap(
          told(page),
          (state) => Effect.die(new Error(`A page has not come to ${expression} within ${patience}. It says ${state}`))
        )
    }))
  return {
    page,
    run: (expression) => inTime(expression, () => page.evaluate(expression)),
    until: (expression) =>
      inTime(expression, async () => {
        const handle = await page.waitForFunction(expression, undefined, { polling: 20, timeout: 0 })
        return handle.jsonValue() as never
      }),
    faults
  }
}

const serve = Effect.fnUntraced(function*(client: Client.Client["Service"]) {
  const files: Record<string, string> = { "/kosmonaut.js": Script.build("iife") }
  const site = {
    origin: "",
    content: { html: "", code: "" },
    files,
    tokens: "good" as Tokens,
    /** How often a token was fetched. */
    fetches: 0
  }
  const tokenFor = (uid: string) => {
    site.fetches++
    if (site.tokens === "none") return Effect.succeed("")
    const isBad = site.tokens !== "good"
    if (site.tokens === "bad once") site.tokens = "good"
    return isBad
      ? Effect.succeed("0".repeat(40))
      : Effect.map(client.requestSingleAccessToken(uid, ".*"), Redacted.value)
  }
  const server = Http.createServer(({ url = "" }, response) => {
    const { pathname, search } = new URL(url, "http://localhost")
    const end = (status: number, type: string, body: string) => {
      response.writeHead(status, { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" }).end(body)
    }
    if (pathname === "/token") {
      void Effect.runPromise(Effect.result(tokenFor(search.slice(1)))).then((result) =>
        Result.isSuccess(result) ? end(200, "text/plain", result.success) : end(503, "text/plain", "")
      )
    } else if (pathname === "/fetches") end(200, "application/json", String(site.fetches))
    else if (pathname === "/code.js") end(200, "text/javascript", site.content.code)
    else if (files[pathname] !== undefined) end(200, "text/javascript", files[pathname])
    else end(200, "text/html", site.content.html)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  site.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return site
})
