/**
 * Tells how many pieces of this size have come, however the system has divided them.
 */
export const count = (size: number, come: (pieces: number) => void) => {
  let bytes = 0
  return (chunk: Buffer): void => {
    bytes += chunk.length
    come(Math.floor(bytes / size))
    bytes %= size
  }
}

/** Passes each line of text on, however the system has divided them. */
export const lines = (come: (line: string) => void) => {
  let rest = ""
  return (chunk: string): void => {
    const all = (rest + chunk).split("\n")
    rest = all.pop()!
    for (const line of all) come(line)
  }
}
