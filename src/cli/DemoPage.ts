/**
 * `kosmonaut demo --open`: a chat in the browser that a person can touch, with a button that restarts the server.
 *
 * @since 0.1.0
 */

import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as ChildProcess from "effect/process/ChildProcess"
import * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as References from "effect/References"
import * as Stdio from "effect/Stdio"
import * as Crew from "./demo/Crew.ts"
import * as Server from "./demo/Server.ts"

/** How long the server is down when it restarts: long enough for a person to see it. */
const downtime = "3 seconds"

/**
 * Serves the chat until it is interrupted. Its URL is the first line on standard output; on a terminal it is opened in the
 * system's browser, if there is one.
 *
 * @since 0.1.0
 */
export const serve = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const storageDir = yield* files.makeTempDirectoryScoped({ prefix: "kosmonaut-demo-" })
  let port = 0
  for (;;) {
    const isFirst = port === 0
    port = yield* Effect.scoped(Effect.gen(function*() {
      const restart = yield* Deferred.make<void>()
      const bound = yield* Server.start({ port, storageDir, restart: Deferred.succeed(restart, undefined) })
      yield* isFirst ? announce(`http://127.0.0.1:${bound}/`) : Console.log("The server is back.")
      yield* Deferred.await(restart)
      return bound
    }))
    yield* Console.log(`The server restarts: it is down for ${downtime}.`)
    yield* Effect.sleep(downtime)
  }
}).pipe(
  Effect.scoped,
  Effect.provide(Crew.layer),
  // Hides what the broker logs about its storage at each start: it does not concern the user of the demo.
  Effect.provideService(References.MinimumLogLevel, "Warn")
)

const announce = Effect.fnUntraced(function*(url: string) {
  const stdio = yield* Stdio.Stdio
  yield* Console.log(`${url}\nA chat. Open it in two tabs: they are two people. Ctrl+C ends it.`)
  if (hasDesktop() && (yield* stdio.stdoutIsTerminal)) yield* Effect.forkScoped(Effect.ignore(openInBrowser(url)))
})

const openInBrowser = (url: string) =>
  ChildProcessSpawner.ChildProcessSpawner.use((spawner) => spawner.exitCode(opener(url)))

const opener = (url: string): ChildProcess.Command => {
  switch (process.platform) {
    case "darwin":
      return ChildProcess.make("open", [url], quiet)
    case "win32":
      return ChildProcess.make("cmd", ["/c", "start", url], quiet)
    default:
      return ChildProcess.make("xdg-open", [url], quiet)
  }
}

const quiet = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const

// Without a desktop `xdg-open` starts a browser in the terminal, which is in use.
const hasDesktop = (): boolean =>
  process.platform === "darwin" || process.platform === "win32" ||
  ["DISPLAY", "WAYLAND_DISPLAY"].some((name) => Boolean(process.env[name]))
