/**
 * Shares frames between browsers: the frames of the last message, of the last array of messages and of the last write of a turn are
 * reused, since the next browser mostly gets the same.
 */

import * as Frame from "./frame.ts"

/** A cache of the last frames. */
export interface SharedFrames {
  /** The frame of a text; `onNew` is called if it was not cached. */
  readonly text: (text: string, onNew: () => void) => Frame.Frame
  /** The frames of many texts, joined up to `size` bytes, if the array is the same; `onNew` as above. */
  readonly all: (texts: ReadonlyArray<string>, size: number, onNew: () => void) => ReadonlyArray<Frame.Frame>
  /** Several frames as one; `onNew` as above. */
  readonly join: (frames: ReadonlyArray<Frame.Frame>, onNew: () => void) => Frame.Frame
  /** Clears the cache. */
  readonly clear: () => void
}

/** Makes an empty cache. */
export const make = (): SharedFrames => {
  let message = ""
  let frame: Frame.Frame | undefined
  let parts: ReadonlyArray<Frame.Frame> = []
  let joined: Frame.Frame | undefined
  let messages: ReadonlyArray<string> = []
  let ofMessages: ReadonlyArray<Frame.Frame> = []
  return {
    text: (text, onNew) => {
      if (frame !== undefined && text === message) return frame
      onNew()
      message = text
      return frame = Frame.text(text)
    },
    all: (texts, size, onNew) => {
      if (texts === messages) return ofMessages
      onNew()
      messages = texts
      return ofMessages = joinUpTo(size, texts.map(Frame.text))
    },
    join: (frames, onNew) => {
      if (frames.length === 1) return frames[0]!
      if (joined !== undefined && isSame(frames, parts)) return joined
      onNew()
      parts = frames
      return joined = Frame.join(frames)
    },
    clear: () => {
      message = ""
      frame = joined = undefined
      parts = messages = ofMessages = []
    }
  }
}

const joinUpTo = (size: number, frames: ReadonlyArray<Frame.Frame>): ReadonlyArray<Frame.Frame> => {
  const joined: Array<Frame.Frame> = []
  let some: Array<Frame.Frame> = []
  let left = size
  for (const frame of frames) {
    if (frame.bytes.length > left && some.length > 0) {
      joined.push(Frame.join(some))
      some = []
      left = size
    }
    some.push(frame)
    left -= frame.bytes.length
  }
  return some.length === 0 ? joined : [...joined, Frame.join(some)]
}

const isSame = (some: ReadonlyArray<Frame.Frame>, others: ReadonlyArray<Frame.Frame>): boolean => {
  if (some.length !== others.length) return false
  for (let index = 0; index < some.length; index++) if (some[index] !== others[index]) return false
  return true
}
