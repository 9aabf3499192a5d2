/**
 * Any number of browsers, in one process: WebSocket connections made by hand, so that this side costs as little as it can.
 * What they hear is counted by the headers of its frames, and read only where an answer is waited for.
 */
import * as Net from "node:net"
import * as Tls from "node:tls"
import * as Pace from "../harness/pace.ts"
import * as Role from "../harness/role.ts"

interface Browser {
  readonly socket: Net.Socket
  /** Until the handshake has been answered. */
  head: string | undefined
  /** What is still to come of the payload that is being read. */
  skip: number
  /** A frame's beginning, until more of it has come. */
  rest: Buffer | undefined
  /** What an answer that is waited for begins with. */
  expected: string | undefined
  answered: () => void
}

/** Where browsers connect. */
export interface Address {
  readonly port: number
  readonly path: string
  readonly isEncrypted?: boolean
}

const groups: Array<Array<Browser>> = []
const counter = Role.makeCounter()
const arena = Buffer.alloc(256 * 1024)
let pace: Pace.Pace | undefined

// With TLS there is no buffer of one's own for what is read.
const open = ({ isEncrypted = false, port }: Address, read: (bytes: Buffer) => void): Net.Socket => {
  const target = { host: "127.0.0.1", port, noDelay: true }
  if (isEncrypted) return Tls.connect({ ...target, rejectUnauthorized: false }).on("data", read)
  const callback = (size: number, bytes: Uint8Array): boolean => {
    read(Buffer.from(bytes.buffer, bytes.byteOffset, size))
    return true
  }
  return Net.connect({ ...target, onread: { buffer: arena, callback } })
}

const connect = (address: Address, greetings: ReadonlyArray<string>) =>
  new Promise<Browser>((resolve, reject) => {
    const socket = open(address, (bytes) => hear(browser, bytes, resolve))
    socket.on("error", reject)
    socket.on("close", () => reject(new Error("a browser was disconnected")))
    const browser: Browser = {
      socket,
      head: "",
      skip: 0,
      rest: undefined,
      expected: greetings[0],
      answered: () => resolve(browser)
    }
    socket.write(
      `GET ${address.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
  })

const hear = (browser: Browser, bytes: Buffer, connected: (browser: Browser) => void): void => {
  if (browser.head === undefined) return read(browser, bytes)
  browser.head += bytes.toString("latin1")
  const end = browser.head.indexOf("\r\n\r\n")
  if (end === -1) return
  if (!browser.head.startsWith("HTTP/1.1 101")) throw new Error(`A browser was refused: ${browser.head}`)
  const rest = Buffer.from(browser.head.slice(end + 4), "latin1")
  browser.head = undefined
  if (browser.expected === undefined) connected(browser)
  if (rest.length > 0) read(browser, rest)
}

const read = (browser: Browser, chunk: Buffer): void => {
  const bytes = browser.rest === undefined ? chunk : Buffer.concat([browser.rest, chunk])
  browser.rest = undefined
  let frames = 0
  for (let at = 0; at < bytes.length;) {
    if (browser.skip > 0) {
      const skipped = Math.min(browser.skip, bytes.length - at)
      browser.skip -= skipped
      at += skipped
      continue
    }
    const left = bytes.length - at
    const short = left < 2 ? 0 : bytes[at + 1]!
    const header = short < 126 ? 2 : short === 126 ? 4 : 10
    const length = left < header ? 0 : header === 2 ? short : header === 4 ? bytes.readUInt16BE(at + 2) : 2 ** 31
    if (left < header || (browser.expected !== undefined && left < header + length)) {
      browser.rest = Buffer.from(bytes.subarray(at))
      break
    }
    at += header
    if (browser.expected !== undefined && bytes.toString("latin1", at, at + length).startsWith(browser.expected)) {
      browser.expected = undefined
      browser.answered()
    }
    // Text, and not a ping.
    if (bytes[at - header] === 0x81) frames++
    browser.skip = length
  }
  if (frames > 0) counter.add(frames)
}

/** A masked frame. (The mask is not zero, since `ws` would then have nothing to do.) */
const frameOf = (text: string): Buffer => {
  const payload = Buffer.from(text)
  const mask = [0x12, 0x34, 0x56, 0x78]
  const length = payload.length < 126
    ? [0x80 | payload.length]
    : [0x80 | 126, payload.length >> 8, payload.length & 255]
  return Buffer.from([0x81, ...length, ...mask, ...payload.map((byte, index) => byte ^ mask[index % 4]!)])
}

const say = (browser: Browser, frame: Buffer, expected: string) =>
  new Promise<void>((resolve) => {
    browser.expected = expected
    browser.answered = resolve
    browser.socket.write(frame)
  })

const functions = {
  /** Connects so many and waits until each has been greeted; gives their group. */
  connect: async (address: Address, count: number, greeting?: string): Promise<number> => {
    const group: Array<Browser> = []
    for (let i = 0; i < count; i += 100) {
      const some = Array.from({ length: Math.min(100, count - i) })
      group.push(...await Promise.all(some.map(() => connect(address, greeting === undefined ? [] : [greeting]))))
    }
    return groups.push(group) - 1
  },
  /** Each says this and waits for an answer that begins so; gives how many there were. */
  say: async (group: number, text: string, expected: string): Promise<number> => {
    const frame = frameOf(text)
    await Promise.all(groups[group]!.map((browser) => say(browser, frame, expected)))
    return groups[group]!.length
  },
  /** Each says one of these and waits for an answer that begins so. */
  sayEach: async (group: number, texts: ReadonlyArray<string>, expected: string): Promise<void> => {
    await Promise.all(groups[group]!.map((browser, index) => say(browser, frameOf(texts[index]!), expected)))
  },
  /** They say this `times` times together, without an answer. */
  repeat: (group: number, text: string, times: number): void => {
    const frame = frameOf(text)
    const browsers = groups[group]!
    for (let i = 0; i < times; i++) browsers[i % browsers.length]!.socket.write(frame)
  },
  /** They say this for so long, as long as no more than `window` of it are under way; four at a time each. */
  trigger: async (group: number, text: string, window: number, milliseconds: number): Promise<Pace.Done> => {
    const burst = 4
    const frames = Buffer.concat(Array.from({ length: burst }, () => frameOf(text)))
    const browsers = groups[group]!
    const current = pace = Pace.begin(window, milliseconds)
    for (let turn = 0; !current.isOver(); turn++) {
      if (!current.isOpen()) await current.opened()
      browsers[turn % browsers.length]!.socket.write(frames)
      current.made(burst)
      if (turn % browsers.length === 0) await new Promise<void>((resume) => void setImmediate(resume))
    }
    return current.done()
  },
  arrived: (more: number): void => pace!.arrived(more),
  /** Counts what they hear from now on. */
  countEvery: counter.tellEvery,
  close: (group: number): void => {
    for (const { socket } of groups[group]!) {
      socket.removeAllListeners("close")
      socket.on("error", () => {}).destroy()
    }
    groups[group] = []
  }
}

export type Functions = typeof functions
Role.serve(functions)
