/**
 * What is written to a browser at the end of a turn: the frames that it was sent in the turn. Browsers that were sent the same share
 * it, so that a broadcast takes no memory for each of them, and the bytes of a write are joined once.
 */

import * as Frame from "./frame.ts"

/** The frames of a turn, each with those before it. */
export interface SharedWrite {
  readonly before: SharedWrite | undefined
  readonly frame: Frame.Frame
  readonly count: number
  /** With one frame more, as it was last needed: the next browser mostly needs the same. */
  next: SharedWrite | undefined
  /** All frames as one, if it was needed. */
  joined: Frame.Frame | undefined
}

/** What one endpoint's browsers share in a turn. */
export interface SharedWrites {
  /** Adds a frame; `onNew` is called if `clear` has something to forget then. */
  readonly add: (write: SharedWrite | undefined, frame: Frame.Frame, onNew: () => void) => SharedWrite
  /** The turn has ended. */
  readonly clear: () => void
}

/** Makes it, without a frame. */
export const make = (): SharedWrites => {
  let first: SharedWrite | undefined
  return {
    add: (write, frame, onNew) => {
      const known = write === undefined ? first : write.next
      if (known?.frame === frame) return known
      const next = { before: write, frame, count: 1 + (write?.count ?? 0), next: undefined, joined: undefined }
      if (write !== undefined) return write.next = next
      onNew()
      return first = next
    },
    clear: () => {
      first = undefined
    }
  }
}

/** Its frames, in order. */
export const framesOf = (write: SharedWrite): Array<Frame.Frame> => {
  const frames = Array.from<Frame.Frame>({ length: write.count })
  for (let rest: SharedWrite | undefined = write; rest !== undefined; rest = rest.before) {
    frames[rest.count - 1] = rest.frame
  }
  return frames
}

/** Its frames as one. */
export const join = (write: SharedWrite): Frame.Frame =>
  write.joined ??= write.before === undefined ? write.frame : Frame.join(framesOf(write))
