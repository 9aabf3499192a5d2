/**
 * Shares frames between browsers: the frames of the last message and of the last write of a turn are reused, since the next
 * browser mostly gets the same.
 */

import * as Frame from "./frame.ts"

/** A cache of the last frames. */
export interface SharedFrames {
  /** The frame of a text; `onNew` is called if it was not cached. */
  readonly text: (text: string, onNew: () => void) => Frame.Frame
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
  return {
    text: (text, onNew) => {
      if (frame !== undefined && text === message) return frame
      onNew()
      message = text
      return frame = Frame.text(text)
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
      parts = []
    }
  }
}

const isSame = (some: ReadonlyArray<Frame.Frame>, others: ReadonlyArray<Frame.Frame>): boolean => {
  if (some.length !== others.length) return false
  for (let index = 0; index < some.length; index++) if (some[index] !== others[index]) return false
  return true
}
