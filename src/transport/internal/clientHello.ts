/**
 * The first message of a TLS connection, as far as it has arrived. It is not interpreted: only TLS decides what is right.
 */

/** The content type of a record that carries the handshake. */
const handshake = 22

/** How many bytes one may have. A larger one counts as whole. */
export const limit = 16_384

/**
 * Whether these first bytes of a connection have the whole message, in however many records. What is malformed counts as whole,
 * since nothing that follows makes it better.
 */
export const isWhole = (bytes: Buffer): boolean => {
  let head = Buffer.alloc(0)
  let received = 0
  for (let at = 0; bytes.length <= limit;) {
    if (bytes.length < at + 5) return false
    const length = bytes.readUInt16BE(at + 3)
    if (bytes[at] !== handshake || length === 0 || length > limit) return true
    const record = bytes.subarray(at + 5, at + 5 + length)
    received += record.length
    if (head.length < 4) head = Buffer.concat([head, record.subarray(0, 4 - head.length)])
    if (head.length === 4 && received >= 4 + head.readUIntBE(1, 3)) return true
    if (record.length < length) return false
    at += 5 + length
  }
  return true
}
