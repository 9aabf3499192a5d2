/**
 * WebSocket frames, so that a broadcast is framed once and not for every subscriber.
 * (Source: RFC 6455, section 5.2; what a server sends is not masked.)
 */

/** Bytes that are ready to be written: one frame or more, shared by all browsers that they are sent to. */
export interface Frame {
  bytes: Uint8Array
  /** In how many blocked outbound queues it is. */
  queued: number
}

/** A whole text message in one frame. */
export const text = (message: string): Frame => {
  const length = Buffer.byteLength(message)
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  // Of Node.js' pool: memory of its own costs as much as all the rest.
  const bytes = Buffer.allocUnsafe(header + length)
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
export const pong = (payload: Uint8Array): Frame => ({
  bytes: Buffer.concat([new Uint8Array([0x8a, payload.length]), payload]),
  queued: 0
})

/** Several frames as one. */
export const join = (frames: ReadonlyArray<Frame>): Frame => ({
  bytes: Buffer.concat(frames.map(({ bytes }) => bytes)),
  queued: 0
})

/** The frame is to stay in memory, and must not keep all of Node.js' pool there: its bytes are copied if they are of the pool. */
export const retain = (frame: Frame): void => {
  const { bytes } = frame
  if (bytes.buffer.byteLength > bytes.length) frame.bytes = new Uint8Array(bytes)
}

/** An empty ping. */
export const ping: Uint8Array = new Uint8Array([0x89, 0])
