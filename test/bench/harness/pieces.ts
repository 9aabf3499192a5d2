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
