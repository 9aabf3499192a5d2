/**
 * The address of a browser: the remote address of its connection, or the one that a trusted reverse proxy reports. An IPv6
 * address counts as its /64 network, because a client usually has a whole one.
 */

import * as Result from "effect/Result"
import * as Net from "node:net"
import { InvalidOptionError } from "../../../BrokerError.ts"

/** The address to count by; `undefined` if a trusted proxy does not report it. */
export type AddressOf = (remote: string | undefined, forwardedFor: string | undefined) => string | undefined

/**
 * Reads the option `browsers.trustedProxies`. The last hop of `X-Forwarded-For` that is not a trusted proxy is the browser;
 * earlier hops were sent by the browser and cannot be trusted.
 */
export const make = (trustedProxies: ReadonlyArray<string>): Result.Result<AddressOf, InvalidOptionError> => {
  const trusted = new Net.BlockList()
  for (const network of trustedProxies) {
    if (!addNetwork(trusted, network)) return Result.fail(invalid(network))
  }
  const isTrusted = ({ family, text }: Address) => trusted.check(text, family)

  return Result.succeed((remote, forwardedFor) => {
    const peer = parse(remote ?? "")
    if (peer === undefined || !isTrusted(peer)) return peer && keyOf(peer)
    const hops = forwardedFor?.split(",") ?? []
    let furthest: Address | undefined
    for (let index = hops.length - 1; index >= 0; index--) {
      const hop = parse(withoutPort(hops[index]!.trim()))
      if (hop === undefined) break
      furthest = hop
      if (!isTrusted(hop)) break
    }
    return furthest && keyOf(furthest)
  })
}

interface Address {
  readonly text: string
  readonly family: "ipv4" | "ipv6"
}

const parse = (text: string): Address | undefined => {
  if (Net.isIPv4(text)) return { text, family: "ipv4" }
  if (!Net.isIPv6(text)) return undefined
  const address = text.split("%", 1)[0]!
  const groups = groupsOf(address)
  if (groups.slice(0, 5).some((group) => group !== 0) || groups[5] !== 0xffff) return { text: address, family: "ipv6" }
  const [high, low] = [groups[6]!, groups[7]!]
  return { text: `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`, family: "ipv4" }
}

const keyOf = ({ family, text }: Address): string =>
  family === "ipv4" ? text : `${groupsOf(text).slice(0, 4).map((group) => group.toString(16)).join(":")}::/64`

// The eight numbers of an IPv6 address.
const groupsOf = (text: string): ReadonlyArray<number> => {
  const [before, after] = text.split("::", 2).map(numbersOf)
  if (after === undefined) return before!
  return [...before!, ...Array<number>(8 - before!.length - after.length).fill(0), ...after]
}

const numbersOf = (text: string): ReadonlyArray<number> =>
  text === "" ? [] : text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)]
    const [a, b, c, d] = group.split(".").map(Number)
    return [a! << 8 | b!, c! << 8 | d!]
  })

// Some proxies send `192.0.2.1:80` or `[2001:db8::1]:80`.
const withoutPort = (hop: string): string =>
  /^\[([^\]]*)\](:\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop

const addNetwork = (networks: Net.BlockList, network: string): boolean => {
  const [, text, prefix] = /^([^/]+?)(?:\/(\d{1,3}))?$/.exec(network) ?? []
  const family = Net.isIPv4(text ?? "") ? "ipv4" : Net.isIPv6(text ?? "") ? "ipv6" : undefined
  const most = family === "ipv4" ? 32 : 128
  const length = prefix === undefined ? most : Number(prefix)
  if (family === undefined || length > most) return false
  networks.addSubnet(text!, length, family)
  return true
}

const invalid = (network: string): InvalidOptionError =>
  new InvalidOptionError({
    option: "browsers.trustedProxies",
    value: JSON.stringify(network.slice(0, 100)),
    allowed: "an address or a network, such as 10.0.0.1 or 10.0.0.0/8"
  })
