/**
 * Which web pages may connect, by the `Origin` that their browser sends. A page cannot forge it; other programs can, and this does
 * not protect against them.
 */

import * as Result from "effect/Result"
import { InvalidOptionError } from "../../../BrokerError.ts"

/** Whether a connection with these headers may be opened. */
export type IsAllowed = (origin: string | undefined, host: string | undefined) => boolean

/**
 * Reads the option `browsers.origins`. Without entries a page is allowed if it comes from the host name that it connects to,
 * whatever the port, where all names of this machine itself are one; with entries, if it is one of them. `*` allows all, `null` pages without an origin. Connections
 * without the header are allowed.
 */
export const make = (origins: ReadonlyArray<string>): Result.Result<IsAllowed, InvalidOptionError> => {
  const allowed = new Set<string>()
  for (const origin of origins) {
    const entry = origin === "*" || origin === "null" ? origin : normalized(origin)
    if (entry === undefined) return Result.fail(invalid(origin))
    allowed.add(entry)
  }
  const allowsAll = allowed.has("*")
  return Result.succeed((origin, host) => {
    if (origin === undefined || allowsAll) return true
    if (allowed.size > 0) return allowed.has(origin === "null" ? origin : normalized(origin) ?? "")
    const name = hostOf(origin)
    return name !== "" && host !== undefined && name === hostOf(`http://${host}`)
  })
}

// This machine has several names, and a page under one of them is no more foreign to it than under another.
const hostOf = (url: string): string => {
  const name = URL.parse(url)?.hostname ?? ""
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(name) ? "localhost" : name
}

// As browsers send it: without the port that its scheme has anyway.
const normalized = (origin: string): string | undefined => {
  const url = /^[a-z][a-z\d+.-]*:\/\/[^/?#@\\\s]+$/i.test(origin) ? URL.parse(origin) : null
  return url === null ? undefined : `${url.protocol}//${url.host}`.toLowerCase()
}

const invalid = (origin: string): InvalidOptionError =>
  new InvalidOptionError({
    option: "browsers.origins",
    value: JSON.stringify(origin.slice(0, 100)),
    allowed: "an origin such as https://example.com, without a path; null; or *"
  })
