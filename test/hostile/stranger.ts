/**
 * What strangers are made of: connections by hand, from other addresses than the canary's. Nothing of the library is in
 * them, and no error of theirs matters.
 */
import * as Net from "node:net"
import { setTimeout as pause } from "node:timers/promises"
import { header, upgrade } from "../harness/RawWebSocket.ts"

/** The broker that is attacked. */
export interface Target {
  /** Its base addresses, as its ready line says them. */
  readonly websocket: string
  readonly backend: string
  readonly backendTcp: string
  readonly admin: string
  /** The broker's public key, if it encrypts. */
  readonly serverKey?: string | undefined
  /** For those attacks alone whose attacker is a backend. */
  readonly token: string
  /** For those alone whose attacker is an administrator. */
  readonly cookie: string
}

/** One way to do harm. */
export interface Attack {
  readonly name: string
  /** What the attackers do, as a sentence. */
  readonly sentence: string
  /** Flags that the broker needs for it, or to limit it. */
  readonly flags?: ReadonlyArray<string>
  /** Whether the broker has a certificate and a key, and the canary encrypts. */
  readonly encrypted?: boolean
  /** Whether the broker has to get rid of them while they still attack, and not only when they have gone. */
  readonly expelled?: boolean
  /** Whether the attackers end their work at some time and then only stay; the time of the attack begins with that. */
  readonly ends?: boolean
  /** How many MiB the broker may keep of it beside `bounds.kept`, because that is what was asked for. */
  readonly keeps?: number
  /** Attacks, and does so until its process is killed. */
  readonly run: (target: Target) => Promise<unknown>
}

/** The port of a base address. */
export const portOf = (address: string): number => Number(new URL(address.replace(/^[\w+]+:/, "http:")).port)

/** An address of strangers, by their number. */
export const address = (n = 0): string => `127.0.0.${2 + n % 200}`

/** Connects; what arrives is thrown away. The connection may fail at any time, and nobody is told. */
export const tcp = (port: number, from = address()): Net.Socket =>
  Net.connect({ host: "127.0.0.1", port, localAddress: from, noDelay: true }).on("error", () => {}).resume()

/** A masked frame. */
export const frame = (opcode: number, payload: string | Uint8Array, fin = true): Buffer => {
  const bytes = Buffer.from(payload)
  return Buffer.concat([header(opcode, bytes.length, fin), bytes])
}

/** A text message of a browser. */
export const say = (message: unknown): Buffer => frame(1, JSON.stringify(message))

/** Waits until a connection is there, or has failed. */
export const settled = (socket: Net.Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed) return resolve()
    socket.once("connect", resolve).once("close", () => resolve())
  })

/** Connects a browser to the vhost and sends these messages. It answers no ping. */
export const browser = async (
  target: Target,
  messages: ReadonlyArray<Buffer> = [],
  from?: string,
  path = "/test"
): Promise<Net.Socket> => {
  const socket = tcp(portOf(target.websocket), from)
  await settled(socket)
  socket.write(upgrade(path))
  for (const message of messages) socket.write(message)
  return socket
}

/** Has a browser answer pings, so that it counts as alive. */
export const alive = (socket: Net.Socket): Net.Socket => {
  const pong = setInterval(() => void socket.write(frame(10, "")), 300)
  return socket.on("close", () => clearInterval(pong))
}

/** So many of something, made a few at a time. */
export const many = async <A>(count: number, make: (n: number) => A | Promise<A>): Promise<Array<A>> => {
  const all: Array<A> = []
  for (let n = 0; n < count; n += 50) {
    all.push(...await Promise.all(Array.from({ length: Math.min(50, count - n) }, async (_, i) => make(n + i))))
  }
  return all
}

/** Does something again and again, with a pause in between so that the machine has time for others. */
export const again = async (milliseconds: number, step: (turn: number) => unknown): Promise<never> => {
  for (let turn = 0;; turn++) {
    await step(turn)
    await pause(milliseconds)
  }
}

/** Writes unless the connection has ended or its peer does not keep up. */
export const push = (socket: Net.Socket, bytes: Uint8Array | string): boolean =>
  !socket.destroyed && socket.writableLength < 4 * 1_048_576 && socket.write(bytes)
