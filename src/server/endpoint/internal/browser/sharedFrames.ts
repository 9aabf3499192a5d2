/**
 * Frames that many browsers are sent: the last message and the last write, for as long as a turn takes. What one browser
 * is sent, the next is most likely sent, too.
 */

import * as Frame from "./frame.ts"

/** Makes frames, or gives the last one again. */
export interface SharedFrames {
  /** The frame of a text; `onNew` is called if it had to be made. */
  readonly text: (text: string, onNew: () => void) => Frame.Frame
  /** Several frames as one; `onNew` as above. */
  readonly join: (frames: ReadonlyArray<Frame.Frame>, onNew: () => void) => Frame.Frame
  /** Keeps nothing any more. */
  readonly clear: () => void
}

/** No frames yet. */
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
