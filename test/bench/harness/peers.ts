/**
 * The peers, from the package beside this: what is used of them, in types of our own, so that the project itself needs
 * neither them nor their types.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import type { Server } from "node:http"
import { createRequire } from "node:module"
import type { Socket } from "node:net"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL("..", import.meta.url))
const require = createRequire(new URL("../package.json", import.meta.url))

/** One connection of a server of the `ws` package. Its socket is private there, and the fastest way to write. */
export interface WsConnection {
  readonly _socket: Socket
}

/** The `ws` package. */
export interface Ws {
  readonly WebSocket: new(url: string, options: object) => {
    readonly on: (event: "open" | "message", listener: (data: unknown) => void) => void
    readonly send: (text: string) => void
  }
  readonly WebSocketServer: new(options: object) => {
    readonly clients: ReadonlySet<WsConnection>
    readonly on: (event: "listening", listener: () => void) => void
    readonly address: () => { readonly port: number }
  }
}

/** One connection of Socket.IO, on either side. */
export interface SocketIoSocket {
  readonly join: (room: string) => unknown
  readonly on: (
    event: string,
    listener: (data: { readonly text: string }, respond: (data: object) => void) => void
  ) => void
  readonly emitWithAck: (event: string, data: object) => Promise<object>
}

/** The `socket.io-client` package. */
export interface SocketIoClient {
  readonly io: (url: string, options: object) => Pick<SocketIoSocket, "on" | "emitWithAck">
}

/** The `socket.io` package. */
export interface SocketIo {
  readonly Server: new(server: Server, options: object) => {
    readonly on: (event: "connection", listener: (socket: SocketIoSocket) => void) => void
    readonly to: (room: string) => { readonly emit: (event: string, data: object) => unknown }
    readonly socketsJoin: (room: string) => void
  }
}

/** The `ioredis` package. */
export interface IoRedis {
  readonly Redis: new(options: object) => {
    readonly publish: (channel: string, message: string) => Promise<number>
  }
}

/** Loads a peer. */
export const load = <A>(name: string): A => require(name) as A

/** Installs the peers, where they are not. */
export const install = (): void => {
  const installed = `${folder}node_modules/.package-lock.json`
  if (existsSync(installed) && isSame(installed)) return
  process.stderr.write("Installing what is compared with…\n")
  execFileSync("npm", ["ci", "--prefix", folder], { stdio: ["ignore", 2, 2] })
}

/** The version of each peer. */
export const versions = (): Record<string, string> =>
  Object.fromEntries(
    ["ws", "socket.io", "socket.io-client", "ioredis"].map((name) => [name, packagesOf("package-lock.json")[name]!])
  )

const isSame = (installed: string) =>
  JSON.stringify(packagesOf(installed)) === JSON.stringify(packagesOf("package-lock.json"))

const packagesOf = (file: string): Record<string, string> => {
  const { packages } = JSON.parse(readFileSync(file.includes("/") ? file : `${folder}${file}`, "utf8")) as {
    readonly packages: Record<string, { readonly version: string }>
  }
  return Object.fromEntries(
    Object.entries(packages).filter(([path]) => path !== "").map(([path, { version }]) => [
      path.replace("node_modules/", ""),
      version
    ])
  )
}
