/**
 * A browser made by hand: a TCP connection, the WebSocket handshake and single frames. It does what no real browser does,
 * such as saying nonsense, never reading or never answering.
 */
import { Cause, Deferred, Effect, Queue } from "effect"
import * as Net from "node:net"

export interface Frame {
  /** 1 text, 2 binary, 8 close, 9 ping, 10 pong. */
  readonly opcode: number
  readonly payload: Buffer
}

export interface RawWebSocket {
  /** What the handshake was answered with: the status line and the headers. */
  readonly head: string
  /** Sends one masked frame. */
  readonly send: (
    opcode: number,
    payload: string | Uint8Array,
    options?: { readonly fin?: boolean }
  ) => Effect.Effect<void>
  /** Sends any bytes. */
  readonly sendBytes: (bytes: Uint8Array | string) => Effect.Effect<void>
  /** The next frame. Fails when the connection ends first. */
  readonly next: Effect.Effect<Frame, Cause.Done>
  /** The next close frame's code. Fails when the connection ends without one. */
  readonly closeCode: Effect.Effect<number, Cause.Done>
  /** Waits for the end of the connection. */
  readonly ended: Effect.Effect<void>
  readonly hasEnded: Effect.Effect<boolean>
  /** How many bytes came after the handshake's answer. */
  readonly received: () => number
  readonly socket: Net.Socket
}

/** Asks for `path` and waits for the answer's head. At the end of its scope the connection is cut. */
export const connect = Effect.fnUntraced(function*(port: number, path: string, options?: {
  readonly method?: string
  readonly headers?: Record<string, string>
  /** Opens the connection, by default over TCP without encryption. */
  readonly open?: (port: number) => Net.Socket
}) {
  const head = yield* Deferred.make<string>()
  const frames = yield* Queue.unbounded<Frame, Cause.Done>()
  const ended = yield* Deferred.make<void>()
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => options?.open?.(port) ?? Net.connect({ host: "127.0.0.1", port, noDelay: true })),
    (socket) => Effect.sync(() => socket.destroy())
  )
  let bytes: Buffer = Buffer.alloc(0)
  let hasHead = false
  let received = 0
  socket.on("data", (chunk) => {
    bytes = Buffer.concat([bytes, chunk])
    if (!hasHead) {
      const end = bytes.indexOf("\r\n\r\n")
      if (end === -1) return
      hasHead = true
      Deferred.doneUnsafe(head, Effect.succeed(bytes.subarray(0, end).toString()))
      bytes = bytes.subarray(end + 4)
      received = bytes.length
    } else {
      received += chunk.length
    }
    for (let frame = take(bytes); frame !== undefined; frame = take(bytes)) {
      bytes = frame.rest
      Queue.offerUnsafe(frames, frame)
    }
  })
  socket.on("error", () => {})
  socket.on("close", () => {
    Deferred.doneUnsafe(head, Effect.succeed(""))
    Queue.endUnsafe(frames)
    Deferred.doneUnsafe(ended, Effect.void)
  })
  const sendBytes = (bytes: Uint8Array | string) =>
    Effect.callback<void>((resume) => void socket.write(bytes, () => resume(Effect.void)))
  yield* sendBytes(upgrade(path, options?.headers, options?.method))
  const next = Queue.take(frames)
  const closeCode: Effect.Effect<number, Cause.Done> = Effect.flatMap(
    next,
    ({ opcode, payload }) => opcode === 8 ? Effect.succeed(payload.readUInt16BE(0)) : closeCode
  )
  const connection: RawWebSocket = {
    head: yield* Deferred.await(head),
    send: (opcode, payload, options) => sendBytes(frameOf(opcode, Buffer.from(payload), options?.fin ?? true)),
    sendBytes,
    next,
    closeCode,
    ended: Deferred.await(ended),
    hasEnded: Deferred.isDone(ended),
    received: () => received,
    socket
  }
  return connection
})

/** The request of a handshake. A header that is empty is left out. */
export const upgrade = (path: string, headers: Record<string, string> = {}, method = "GET"): string => {
  const all = {
    Host: "127.0.0.1",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    ...headers
  }
  const lines = Object.entries(all).flatMap(([name, value]) => value === "" ? [] : [`${name}: ${value}\r\n`])
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`
}

// A server's frames are not masked.
const take = (bytes: Buffer): Frame & { readonly rest: Buffer } | undefined => {
  if (bytes.length < 2) return undefined
  const short = bytes[1]! & 0x7f
  const header = short < 126 ? 2 : short === 126 ? 4 : 10
  if (bytes.length < header) return undefined
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  if (bytes.length < header + length) return undefined
  return {
    opcode: bytes[0]! & 0x0f,
    payload: bytes.subarray(header, header + length),
    rest: bytes.subarray(header + length)
  }
}

/** A masked frame, with a mask of zeros. */
const frameOf = (opcode: number, payload: Buffer, fin: boolean): Buffer =>
  Buffer.concat([header(opcode, payload.length, fin), payload])

/** The beginning of a masked frame that says it is so long, whatever comes then. */
export const header = (opcode: number, length: number, fin = true): Buffer => {
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | opcode
  if (head.length === 2) head[1] = 0x80 | length
  else if (head.length === 4) {
    head[1] = 0x80 | 126
    head.writeUInt16BE(length, 2)
  } else {
    head[1] = 0x80 | 127
    head.writeBigUInt64BE(BigInt(length), 2)
  }
  return Buffer.concat([head, Buffer.alloc(4)])
}
