/**
 * How long `kosmonaut --help` takes to its end, and `kosmonaut serve` to its ready line, as they are built and installed: with what
 * Node.js has kept of earlier starts, and, once, without.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Bench } from "../harness/Bench.ts"

const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url))
const root = pathOf("../../..")
const main = `${root}dist/cli/Main.js`
const free = ["--websocket-port", "0", "--backend-port", "0", "--tcp-port", "0", "--admin-port", "0"]

export const run = async (bench: Bench): Promise<void> => {
  execFileSync(process.execPath, ["build.ts", "commandLine"], { cwd: root, stdio: ["ignore", 2, 2] })
  const cache = mkdtempSync(join(tmpdir(), "kosmonaut-bench-"))
  const none = { NODE_DISABLE_COMPILE_CACHE: "1" }
  const program = (name: string, args: ReadonlyArray<string>, env?: Record<string, string>) => ({
    name,
    peer: env === undefined,
    run: async () => ({
      values: [await timeOf(args, { XDG_CACHE_HOME: cache, KOSMONAUT_ADMIN_COOKIE: "0".repeat(40), ...env })]
    })
  })
  await bench.compare("of the command line", [{ name: "time", unit: "ms", better: "less" }], [
    program("kosmonaut --help", [main, "--help"], {}),
    program("kosmonaut --help, nothing kept", [main, "--help"], none),
    program("kosmonaut serve", [main, "serve", ...free], {}),
    program("kosmonaut serve, nothing kept", [main, "serve", ...free], none),
    program("import \"effect\"", ["--input-type=module", "-e", `import "effect"`], {}),
    program("http and ZeroMQ", ["-e", ports], {}),
    program("Socket.IO", ["-e", socketIo]),
    program("Node.js alone", ["-e", "0"])
  ], { rounds: bench.quick ? 3 : bench.rounds, warmUps: 2 })
  rmSync(cache, { recursive: true })
}

// The least that a broker needs.
const ports = `
  require("node:http").createServer().listen(0, "127.0.0.1", async () => {
    const { Router } = require("zeromq")
    await new Router().bind("tcp://127.0.0.1:*")
    console.log("ready")
  })
`

const socketIo = `
  const http = require("node:http").createServer()
  new (require(${JSON.stringify(pathOf("../node_modules/socket.io"))}).Server)(http)
  http.listen(0, "127.0.0.1", () => console.log("ready"))
`

/** Until it is ready or, if it never is, until it has ended. What it keeps it writes when it ends. */
const timeOf = async (args: ReadonlyArray<string>, env: Record<string, string>): Promise<number> => {
  const started = performance.now()
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"]
  })
  const ended = once(child, "exit")
  const ready = new Promise<void>((resolve) =>
    child.stdout.on("data", (text) => String(text).startsWith("ready") && resolve())
  )
  await Promise.race([ready, ended])
  const time = performance.now() - started
  child.kill("SIGTERM")
  await ended
  return time
}
