/**
 * The addresses of a host name, so that each of them can be tried: a name may have IPv6 addresses, IPv4 addresses or both,
 * and a broker may listen on one of them only.
 */

import * as Effect from "effect/Effect"
import dns from "node:dns"

/** An IP address. */
export interface Address {
  readonly address: string
  readonly family: number
}

/**
 * Resolves a host name as the system does, in the system's order. An IP address, with or without brackets, resolves to
 * itself. Fails with the system's error if the name is unknown.
 */
export const lookup = (host: string): Effect.Effect<ReadonlyArray<Address>, Error> =>
  Effect.callback((resume) => {
    dns.lookup(host.replace(/^\[|\]$/g, ""), { all: true, verbatim: true }, (error, addresses) => {
      resume(error === null ? Effect.succeed(addresses) : Effect.fail(error))
    })
  })
