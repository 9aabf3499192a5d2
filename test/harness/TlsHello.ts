/**
 * The first message of a TLS client, as it is on the wire.
 */
import { Duplex } from "node:stream"
import * as Tls from "node:tls"

/** Makes one, of a client with these options. Whoever sends it again needs no key for that. */
export const make = (options: Tls.ConnectionOptions = {}): Promise<Buffer> =>
  new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _, done) {
        resolve(chunk)
        done()
      }
    })
    Tls.connect({ socket: wire, rejectUnauthorized: false, ...options }).on("error", () => {})
  })
