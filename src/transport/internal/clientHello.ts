/**
 * The first message of a TLS connection, as far as it has arrived: whether it is whole, and whether the handshake can go on with a key
 * that is in it. Only TLS decides whether it is right.
 */

import * as Result from "effect/Result"

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

/**
 * Whether a whole message has a key of one of these groups, or is of a version before TLS 1.3, where the server's comes first. Without one the
 * server would ask for another message, and its private key would work when that comes. What is malformed has none.
 */
export const hasKeyOf = (bytes: Buffer, groups: ReadonlySet<number>): boolean =>
  Result.getOrElse(
    Result.try(() => {
      const extensions = extensionsOf(messageOf(bytes))
      const versions = extensions.get(supportedVersions)
      const isNew = versions !== undefined && numbersIn(versions.subarray(1)).includes(tls13)
      const shares = extensions.get(keyShare)
      return !isNew || (shares !== undefined && groupsOf(shares.subarray(2)).some((group) => groups.has(group)))
    }),
    () => false
  )

const supportedVersions = 43
const keyShare = 51
const tls13 = 0x0304

// Without the heads of its records and its own. (Source: RFC 8446, section 4.1.2.)
const messageOf = (bytes: Buffer): Buffer => {
  const records: Array<Buffer> = []
  for (let at = 0; at + 5 <= bytes.length && bytes[at] === handshake;) {
    const end = at + 5 + bytes.readUInt16BE(at + 3)
    records.push(bytes.subarray(at + 5, end))
    at = end
  }
  const message = Buffer.concat(records)
  return message.subarray(4, 4 + message.readUIntBE(1, 3))
}

const extensionsOf = (message: Buffer): ReadonlyMap<number, Buffer> => {
  const extensions = new Map<number, Buffer>()
  // After the version and a random number: the name of a session, ciphers, and compressions.
  let at = 34
  at += 1 + message.readUInt8(at)
  at += 2 + message.readUInt16BE(at)
  at += 1 + message.readUInt8(at)
  if (at === message.length) return extensions
  for (at += 2; at < message.length;) {
    const end = at + 4 + message.readUInt16BE(at + 2)
    extensions.set(message.readUInt16BE(at), message.subarray(at + 4, end))
    at = end
  }
  return extensions
}

const numbersIn = (bytes: Buffer): ReadonlyArray<number> =>
  Array.from({ length: bytes.length >> 1 }, (_, n) => bytes.readUInt16BE(2 * n))

const groupsOf = (shares: Buffer): ReadonlyArray<number> => {
  const groups: Array<number> = []
  for (let at = 0; at < shares.length; at += 4 + shares.readUInt16BE(at + 2)) groups.push(shares.readUInt16BE(at))
  return groups
}
