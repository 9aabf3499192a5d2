/**
 * The input of a connection. Mostly a chunk is read before the next arrives, and never copied; what spans chunks grows in a
 * buffer of its own.
 */

/** Bytes that have arrived and are not read yet. */
export interface Input {
  readonly feed: (chunk: Buffer) => void
  readonly length: () => number
  readonly byte: (at: number) => number
  readonly long: (at: number) => number
  readonly peek: (at: number, length: number) => Buffer
  /** Takes `length` bytes from `at` on, and drops those before. */
  readonly take: (at: number, length: number) => Buffer
  /** Drops up to this many bytes, and returns how many. */
  readonly drop: (length: number) => number
  /** Frees the bytes that were read. */
  readonly compact: () => void
}

/** Makes it, empty. */
export const make = (): Input => {
  let buffer = none
  let start = 0
  let end = 0
  let isOwn = false

  const feed = (chunk: Buffer) => {
    if (start === end) {
      buffer = chunk
      start = 0
      end = chunk.length
      isOwn = false
      return
    }
    if (!isOwn || buffer.length < end + chunk.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end - start + chunk.length, 2 * (end - start)))
      buffer.copy(larger, 0, start, end)
      end -= start
      start = 0
      buffer = larger
      isOwn = true
    }
    chunk.copy(buffer, end)
    end += chunk.length
  }
  return {
    feed,
    length: () => end - start,
    byte: (at) => buffer[start + at]!,
    long: (at) => buffer.readUInt32BE(start + at) * 2 ** 32 + buffer.readUInt32BE(start + at + 4),
    peek: (at, length) => buffer.subarray(start + at, start + at + length),
    take: (at, length) => {
      const taken = buffer.subarray(start + at, start + at + length)
      start += at + length
      return taken
    },
    drop: (length) => {
      const dropped = Math.min(length, end - start)
      start += dropped
      return dropped
    },
    compact: () => {
      if (start === 0 && isOwn) return
      isOwn = start < end
      buffer = isOwn ? Buffer.from(buffer.subarray(start, end)) : none
      end -= start
      start = 0
    }
  }
}

const none: Buffer = Buffer.alloc(0)
