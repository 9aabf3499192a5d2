/**
 * A Redis of the benchmark's own. It is on the machine or not: it is no package of npm.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import * as Net from "node:net"
import type { AnyParty } from "./party.ts"
import * as Usage from "./usage.ts"

/** A Redis that persists nothing, as a party that says what it has cost, and otherwise nothing. */
export interface Redis extends AnyParty {
  readonly port: number
  readonly url: string
}

const program = "redis-server"

const running = new Set<ChildProcess>()

process.on("exit", () => running.forEach((server) => server.kill("SIGKILL")))

/** Which one there is, if there is one. */
export const version = (): string | undefined => {
  try {
    return /v=(\S+)/.exec(execFileSync(program, ["--version"], { encoding: "utf8", stdio: "pipe" }))?.[1]
  } catch {
    return undefined
  }
}

/** Starts it; `undefined` without one. */
export const start = async (): Promise<Redis | undefined> => {
  if (version() === undefined) return undefined
  const port = await freePort()
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
  const server = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] })
  running.add(server)
  await new Promise<void>((resolve, reject) => {
    server.on("exit", () => reject(new Error(`${program} has ended`)))
    server.stdout.on("data", (text) => String(text).includes("Ready to accept connections") && resolve())
  })
  const nothing = { busyMilliseconds: 0, bytes: 0, functions: [], parts: {} }
  const call = async (name: string) => name === "usage" ? Usage.readOther(server.pid!, await cpuOf(port)) : nothing
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    call: call as AnyParty["call"],
    stop: async () => void server.kill("SIGKILL")
  }
}

// In microseconds, the two of its main thread.
const cpuOf = async (port: number): Promise<number> => {
  const text = await ask(port, "INFO cpu\r\n")
  const secondsOf = (what: string) => Number(new RegExp(`used_cpu_${what}_main_thread:(\\S+)`).exec(text)?.[1])
  return (secondsOf("sys") + secondsOf("user")) * 1e6
}

const ask = (port: number, command: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ""
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(command))
    socket.on("error", reject).setEncoding("utf8").on("data", (more) => {
      text += more
      if (!text.endsWith("\r\n") || !text.includes("user_main_thread")) return
      socket.destroy()
      resolve(text)
    })
  })

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = Net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as Net.AddressInfo
      server.close(() => resolve(port))
    })
  })
