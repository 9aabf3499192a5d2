/**
 * Real browsers: pages in a chromium of this machine, one for all tests of a process. Where none is found the tests are skipped,
 * and a line says so.
 */
import { describe, it as plain, layer as withLayer, type Vitest } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import * as Fs from "node:fs"
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"
import * as Certificates from "./certificates.ts"

/** A chromium that runs. */
export class Chromium extends Context.Service<Chromium, {
  readonly browser: Browser
  /** A profile of its own, whose tabs share cookies and storage. It ends with the scope. */
  readonly profile: Effect.Effect<BrowserContext, never, Scope.Scope>
}>()("test/Chromium") {}

const chosen = process.env["CHROMIUM_PATH"]
const names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
const candidates = chosen ? [chosen] : names.map((name) => `/usr/bin/${name}`)

/**
 * The program, or `undefined` if there is none. `CHROMIUM_PATH` alone decides if it is set. The shell is Chromium without windows, and
 * takes half of the processor's time.
 */
const executablePath = candidates.find((path) => Fs.existsSync(path))

const args = [
  "--headless=new",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Not whoever has signed them: these keys alone.
  `--ignore-certificate-errors-spki-list=${(["server", "renewed"] as const).map(Certificates.spkiOf).join()}`
]

// One for all tests of this process, which ends with it: starting one takes a second.
let started: Promise<Browser> | undefined

const start = (): Promise<Browser> =>
  started ??= chromium.launch({ executablePath: executablePath!, chromiumSandbox: false, args })

/** Profiles are empty, and end with their scope. */
const layer: Layer.Layer<Chromium> = Layer.effect(
  Chromium,
  Effect.map(Effect.promise(start), (browser) => ({
    browser,
    profile: Effect.acquireRelease(
      Effect.promise(() => browser.newContext()),
      (context) => Effect.promise(() => context.close())
    )
  }))
)

/**
 * Declares tests that need a chromium. `it.effect` runs in real time there. They run together, since much of their time is waiting.
 */
export const describeInChromium = (
  name: string,
  tests: (it: Pick<Vitest.MethodsNonLive<Chromium>, "effect">) => void
): void => {
  if (executablePath !== undefined) {
    const timeout = 120_000
    return void describe(name, { concurrent: true, timeout }, () => {
      withLayer(layer, { excludeTestServices: true, timeout })(tests)
    })
  }
  process.stderr.write(`Skipped "${name}": no chromium was found. Install it, or set CHROMIUM_PATH.\n`)
  describe.skip(name, () => tests(plain as never))
}

/** What a page does wrong: exceptions that nobody catches, and errors in its console. */
export const faultsOf = (page: Page): ReadonlyArray<string> => {
  const faults: Array<string> = []
  page.on("pageerror", (error) => faults.push(String(error)))
  page.on("console", (message) => {
    // A WebSocket that cannot be opened is one, too, and is expected where a broker is away.
    if (message.type() === "error" && !/WebSocket connection to|ERR_/.test(message.text())) faults.push(message.text())
  })
  return faults
}
