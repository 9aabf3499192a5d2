/**
 * Connections that are not authorized yet, or have sent no request, in all servers of this process.
 *
 * Every connection takes a file descriptor. Without a free one the system closes new connections without an error. So after
 * each accept the server checks whether a descriptor is left. If none is, the oldest of these connections is closed,
 * whichever server it belongs to, so that strangers cannot lock others out.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"

// The oldest first.
const strangers = new Map<object, () => void>()

/**
 * Adds a connection; `destroy` is called once if it has to make room.
 *
 * @since 0.1.0
 */
export const add = (connection: object, destroy: () => void): void => {
  strangers.set(connection, destroy)
}

/**
 * Removes a connection that has shown what it is for, or has ended.
 *
 * @since 0.1.0
 */
export const remove = (connection: object): void => {
  strangers.delete(connection)
}

/**
 * Frees a file descriptor if none is left, and returns whether it had to. To be called for each new connection once it is
 * added. Takes some microseconds: opening one more is tried.
 *
 * @since 0.1.0
 */
export const makeRoom = (): boolean => {
  const opened = Result.try(() => Fs.openSync(Os.devNull, "r"))
  if (Result.isSuccess(opened)) {
    Fs.closeSync(opened.success)
    return false
  }
  const [oldest] = strangers
  if (oldest !== undefined) {
    strangers.delete(oldest[0])
    oldest[1]()
  }
  return true
}

/**
 * What to do if room had to be made.
 *
 * @since 0.1.0
 */
export const advice = "The process may have no more file descriptors: raise its limit (ulimit -n)"
