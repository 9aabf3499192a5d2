/**
 * WebSocket frames, so that a broadcast is framed once and not for every subscriber.
 * (Source: RFC 6455, section 5.2; what a server sends is not masked.)
 */

/** Bytes that are ready to be written: one frame or more, shared by all browsers that they are sent to. */
export interface Frame {
  /** See `retain`. */
  bytes: Uint8Array
  /** In how many blocked outbound queues it is. */
  queued: number
}

/** How many bytes are allocated at once for small frames: allocating one by one takes longer than all the rest. */
const slabSize = 4096
let slab = Buffer.alloc(0)
let used = 0

// A slab stays in memory with any of its frames, so it is small, and what stays long has bytes of its own. Node.js' pool is 16 times
// as large: each connection that does not read would keep all of one.
const allocate = (size: number): Buffer => {
  if (size > slabSize / 4) return Buffer.allocUnsafeSlow(size)
  if (used + size > slab.length) {
    slab = Buffer.allocUnsafeSlow(slabSize)
    used = 0
  }
  return slab.subarray(used, used += size)
}

/** A whole text message in one frame. */
export const text = (message: string): Frame => {
  const length = Buffer.byteLength(message)
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const bytes = allocate(header + length)
  bytes[0] = 0x81
  if (header === 2) bytes[1] = length
  else if (header === 4) {
    bytes[1] = 126
    bytes.writeUInt16BE(length, 2)
  } else {
    bytes[1] = 127
    bytes.writeUInt32BE(0, 2)
    bytes.writeUInt32BE(length, 6)
  }
  bytes.write(message, header)
  return { bytes, queued: 0 }
}

/** The answer to a ping, whose payload has at most 125 bytes. */
export const pong = (payload: Uint8Array): Frame =>
  join([{ bytes: new Uint8Array([0x8a, payload.length]) }, { bytes: payload }])

/** Several frames as one. */
export const join = (frames: ReadonlyArray<Pick<Frame, "bytes">>): Frame => {
  let size = 0
  for (const { bytes } of frames) size += bytes.length
  const joined = allocate(size)
  let at = 0
  for (const { bytes } of frames) {
    joined.set(bytes, at)
    at += bytes.length
  }
  return { bytes: joined, queued: 0 }
}

/** The frame is to stay in memory, and must not keep others there: its bytes are copied if they are of a slab. */
export const retain = (frame: Frame): void => {
  const { bytes } = frame
  if (bytes.buffer.byteLength > bytes.length) frame.bytes = new Uint8Array(bytes)
}

/** An empty ping. */
export const ping: Uint8Array = new Uint8Array([0x89, 0])
