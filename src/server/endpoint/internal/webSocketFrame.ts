/**
 * WebSocket frames made by hand, so that a broadcast is framed once and not once for every subscriber.
 * (Source: RFC 6455, section 5.2; what a server sends is not masked.)
 */

/** A whole text message in one frame. The frame of the last text is kept: it is asked for once for each subscriber. */
export const text = (message: string): Uint8Array => {
  if (message !== lastMessage) {
    lastMessage = message
    lastFrame = frame(0x81, encoder.encode(message))
  }
  return lastFrame
}

/** An empty ping. */
export const ping: Uint8Array = new Uint8Array([0x89, 0])

/** A close frame with a status code. */
export const close = (code: number): Uint8Array => new Uint8Array([0x88, 2, code >> 8, code & 0xff])

const frame = (opcode: number, payload: Uint8Array): Uint8Array => {
  const { length } = payload
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const bytes = new Uint8Array(header + length)
  const view = new DataView(bytes.buffer)
  bytes[0] = opcode
  if (header === 2) bytes[1] = length
  else if (header === 4) {
    bytes[1] = 126
    view.setUint16(2, length)
  } else {
    bytes[1] = 127
    view.setBigUint64(2, BigInt(length))
  }
  bytes.set(payload, header)
  return bytes
}

const encoder = new TextEncoder()
let lastMessage = ""
let lastFrame = frame(0x81, new Uint8Array(0))
