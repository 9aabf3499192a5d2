/**
 * How long `kosmonaut serve`, as it is built and installed, takes from its start to its ready line.
 */
import { execFileSync, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Bench } from "../harness/Bench.ts"

const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url))
const root = pathOf("../../..")
const ports = ["--websocket-port", "0", "--backend-port", "0", "--tcp-port", "0", "--admin-port", "0"]

export const run = async (bench: Bench): Promise<void> => {
  execFileSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: ["ignore", 2, 2] })
  const program = (name: string, peer: boolean, ...args: ReadonlyArray<string>) => ({
    name,
    peer,
    run: () => timeOf(args)
  })
  await bench.compare("to the first line", [{ name: "time", unit: "ms", better: "less" }], [
    program("kosmonaut serve", false, `${root}dist/cli/Main.js`, "serve", ...ports),
    program("Socket.IO", true, "-e", socketIo),
    program("Node.js alone", true, "-e", "console.log('ready')")
  ], { rounds: bench.quick ? 5 : 3 * bench.rounds })
}

const socketIo = `
  const http = require("node:http").createServer()
  new (require(${JSON.stringify(pathOf("../node_modules/socket.io"))}).Server)(http)
  http.listen(0, "127.0.0.1", () => console.log("ready"))
`

const timeOf = async (args: ReadonlyArray<string>) => {
  const started = performance.now()
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (text) => String(text).startsWith("ready") && resolve())
      child.on("exit", (code) => reject(new Error(`it has ended: ${code}`)))
    })
    return { values: [performance.now() - started] }
  } finally {
    child.kill("SIGKILL")
  }
}
