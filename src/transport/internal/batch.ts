/**
 * Many messages in one frame. What a message costs in ZeroMQ it costs per message and per frame, however small; so what
 * is to be sent at the same moment travels together, between parties that both know how.
 *
 * A batch is text: `K1 `, then for every message the lengths of its envelope and of its frames, separated by `,` and ended
 * by `;`, then a line break and all of them without anything between. Lengths count UTF-16 code units, as strings do in
 * JavaScript. A plain message never has this shape: it has an empty delimiter, which is a frame of its own. Whoever puts
 * `marker` at the end of a plain message's envelope means that the sender reads batches, and so does whoever has sent one.
 */

import type { Message } from "../Transport.ts"

/** The last frame of a plain message's envelope, where its sender reads batches. */
export const marker = "K1"

/** How many messages a batch may have, and how many frames one of them. More messages are more batches. */
const maxItems = 1024
const maxFrames = 64

const magic = "K1 "

/** Whether a message that consists of this one frame is a batch. */
export const isBatch = (frame: Uint8Array): boolean =>
  frame.length > 3 && frame[0] === 0x4b && frame[1] === 0x31 && frame[2] === 0x20

/** Writes a batch. */
export const encode = (items: ReadonlyArray<Message>): string => {
  let lengths = magic
  let body = "\n"
  for (const { envelope, frames } of items) {
    lengths += envelope.length
    body += envelope
    for (const frame of frames) {
      lengths += `,${frame.length}`
      body += frame
    }
    lengths += ";"
  }
  return lengths + body
}

/** Reads a batch. `undefined` for one whose lengths are not those of its frames, and for one that has too many. */
export const decode = (text: string): ReadonlyArray<Message> | undefined => {
  const items: Array<Message> = []
  const end = text.indexOf("\n")
  let at = end + 1
  let envelope: string | undefined
  let frames: Array<string> = []
  let length = -1
  for (let index = magic.length; index < end; index++) {
    const char = text.charCodeAt(index)
    if (char >= 0x30 && char <= 0x39 && length < text.length) {
      length = (length < 0 ? 0 : length * 10) + char - 0x30
      continue
    }
    const isLast = char === 0x3b /* ; */
    if (length < 0 || at + length > text.length || !(isLast || char === 0x2c /* , */)) return undefined
    const frame = text.substring(at, at + length)
    at += length
    length = -1
    if (envelope === undefined) envelope = frame
    else if (frames.push(frame) > maxFrames) return undefined
    if (!isLast) continue
    if (items.push({ envelope, frames }) > maxItems) return undefined
    envelope = undefined
    frames = []
  }
  return length < 0 && envelope === undefined && items.length > 0 && at === text.length ? items : undefined
}

/** The items in as few batches as their number and `maxMessageSize`, in bytes, allow. */
export const split = <A extends Message>(
  items: ReadonlyArray<A>,
  maxMessageSize: number
): ReadonlyArray<ReadonlyArray<A>> => {
  const batches: Array<ReadonlyArray<A>> = []
  let from = 0
  let size = 0
  for (let index = 0; index < items.length; index++) {
    const next = largestSize(items[index]!)
    if (index > from && (size + next > maxMessageSize || index - from === maxItems)) {
      batches.push(items.slice(from, index))
      from = index
      size = 0
    }
    size += next
  }
  batches.push(from === 0 ? items : items.slice(from))
  return batches
}

// A code unit has at most three bytes, and a length has a few digits.
const largestSize = ({ envelope, frames }: Message): number => {
  let units = envelope.length + 8
  for (const frame of frames) units += frame.length + 8
  return units * 3
}
