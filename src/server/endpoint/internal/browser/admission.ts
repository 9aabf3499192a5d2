/**
 * The limits of browsers: which may connect, and how many. A rejected browser gets no session; it receives the reason, and is
 * counted by it. A reached limit is logged as a warning, at most every ten seconds.
 */

import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import type { IncomingMessage } from "node:http"
import * as Throttle from "../../../../protocol/Throttle.ts"
import * as Strangers from "../../../../transport/Strangers.ts"
import type { BrokerConfig } from "../../../BrokerConfig.ts"
import type { InvalidOptionError } from "../../../BrokerError.ts"
import * as BrokerMetrics from "../../../BrokerMetrics.ts"
import type { Vhost } from "../../../engine/Vhosts.ts"
import * as Address from "./address.ts"
import * as Origin from "./origin.ts"

/** Why a browser is rejected, with the HTTP status or the close code that it receives. */
export interface Refusal {
  readonly reason: Reason
  readonly status: number
  /** Without one, the HTTP status says it to all: it is for a proxy, which asks the next node. */
  readonly code?: number
  /** One sentence. */
  readonly text: string
}

type Reason = "stopping" | "version" | "vhost" | "origin" | "browsers" | "vhost_browsers" | "address"

/** All reasons. */
export const refusals = {
  stopping: { reason: "stopping", status: 503, text: "The broker is stopping." },
  version: {
    reason: "version",
    status: 400,
    code: 4400,
    text: "This broker knows version 1 of the browsers' protocol."
  },
  vhost: { reason: "vhost", status: 404, code: 4404, text: "There is no vhost at this path." },
  origin: { reason: "origin", status: 403, code: 4405, text: "Browsers of this origin may not connect." },
  browsers: { reason: "browsers", status: 503, code: 1013, text: "The broker has reached its limit of browsers." },
  vhostBrowsers: {
    reason: "vhost_browsers",
    status: 503,
    code: 1013,
    text: "The vhost has reached its limit of browsers."
  },
  address: { reason: "address", status: 429, code: 1013, text: "Too many browsers connect from this address." }
} as const satisfies Record<string, Refusal>

/** A browser that is admitted. */
export interface Admitted {
  /** Where it connects from, as far as it is known: the address that it is counted by, or that of its connection. */
  readonly address: string | undefined
  /** Call this when it has disconnected. */
  readonly release: () => void
}

/** The counts of connected browsers. */
export interface Admission {
  /** Counts a browser, and returns the function to call when it disconnects; or why it is rejected. */
  readonly admit: (request: IncomingMessage, vhost: Vhost) => Result.Result<Admitted, Refusal>
  /** Counts a rejected browser, and warns if a limit was reached. */
  readonly refuse: (refusal: Refusal, request: IncomingMessage) => Effect.Effect<void>
  /** Counts a connection that was closed without a request, since there are no more descriptors, and warns. */
  readonly drop: Effect.Effect<void>
}

/** Makes the counts. `most` is the number of browsers for which the process has file descriptors. */
export const make = (
  config: BrokerConfig["Service"],
  most: number,
  context: Context.Context<never>
): Result.Result<Admission, InvalidOptionError> =>
  Result.gen(function*() {
    const isAllowed = yield* Origin.make(config.browsers.origins)
    const addressOf = yield* Address.make(config.browsers.trustedProxies)
    const where = ({ headers, socket }: IncomingMessage) =>
      addressOf(socket.remoteAddress, headers["x-forwarded-for"]?.toString())
    const warn = makeWarnings(config, most)
    const maxBrowsers = Math.min(config.browsers.max, most)
    const vhosts = makeCounts<Vhost>()
    const addresses = makeCounts<string>()
    let browsers = 0
    // A series that begins with its first event has a rate of 0 for it.
    for (const counter of Object.values(refused)) counter.updateUnsafe(0, context)

    const admit: Admission["admit"] = (request, vhost) => {
      if (!isAllowed(request.headers.origin, request.headers.host)) return Result.fail(refusals.origin)
      if (browsers >= maxBrowsers) return Result.fail(refusals.browsers)
      if (vhosts.of(vhost) >= config.browsers.maxPerVhost) return Result.fail(refusals.vhostBrowsers)
      const address = where(request)
      if (address !== undefined && addresses.of(address) >= config.browsers.maxPerAddress) {
        return Result.fail(refusals.address)
      }
      browsers++
      vhosts.add(vhost, 1)
      if (address !== undefined) addresses.add(address, 1)
      const release = () => {
        browsers--
        vhosts.add(vhost, -1)
        if (address !== undefined) addresses.add(address, -1)
      }
      return Result.succeed({ address: address ?? request.socket.remoteAddress, release })
    }
    const refuse: Admission["refuse"] = ({ reason }, request) =>
      Effect.suspend(() => {
        refused[reason].updateUnsafe(1, context)
        switch (reason) {
          case "origin":
            return warn.origin(JSON.stringify(request.headers.origin?.slice(0, 100)))
          case "address":
            return warn.address(where(request) ?? "")
          case "browsers":
          case "vhost_browsers":
            return warn[reason]("")
          default:
            return Effect.void
        }
      })
    const drop = Effect.suspend(() => {
      refused.descriptors.updateUnsafe(1, context)
      return warn.descriptors("")
    })
    return { admit, refuse, drop }
  })

const makeWarnings = (config: BrokerConfig["Service"], most: number) => {
  const browsers = (count: number) => count === 1 ? "1 browser" : `${count} browsers`
  return {
    origin: Throttle.warning((count, last) =>
      `Rejected ${
        browsers(count)
      }, the last with Origin ${last}: if it may connect, add it to the option browsers.origins`
    ),
    browsers: Throttle.warning((count) =>
      `Rejected ${browsers(count)}: there are ${
        most < config.browsers.max
          ? `${most}. ${Strangers.advice}`
          : `${config.browsers.max}, see the option browsers.max`
      }`
    ),
    descriptors: Throttle.warning((count) => `Closed ${count} connections without a request. ${Strangers.advice}`),
    vhost_browsers: Throttle.warning((count) =>
      `Rejected ${browsers(count)}: a vhost has ${config.browsers.maxPerVhost}, see the option browsers.maxPerVhost`
    ),
    address: Throttle.warning((count, last) =>
      `Rejected ${
        browsers(count)
      }, the last from ${last}: ${config.browsers.maxPerAddress} are connected from there, see the option browsers.maxPerAddress. If that is a reverse proxy, add it to browsers.trustedProxies`
    )
  }
}

const counter = (reason: string) => Metric.withAttributes(BrokerMetrics.refusedBrowsers, { reason })

const refused = {
  stopping: counter("stopping"),
  version: counter("version"),
  vhost: counter("vhost"),
  origin: counter("origin"),
  browsers: counter("browsers"),
  vhost_browsers: counter("vhost_browsers"),
  address: counter("address"),
  descriptors: counter("descriptors")
}

// Counts by key. A count of 0 takes no memory.
const makeCounts = <Key>() => {
  const counts = new Map<Key, number>()
  const of = (key: Key) => counts.get(key) ?? 0
  return {
    of,
    add: (key: Key, more: number): void => {
      const count = of(key) + more
      if (count === 0) counts.delete(key)
      else counts.set(key, count)
    }
  }
}
