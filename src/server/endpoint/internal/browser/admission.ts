/**
 * Who may open a connection, and how many: the limits of browsers. A refused browser costs no session, is told why, and
 * is counted by the reason; a limit that is met is a warning in the log, at most every ten seconds.
 */

import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import type { IncomingMessage } from "node:http"
import * as Strangers from "../../../../transport/Strangers.ts"
import type { BrokerConfig } from "../../../BrokerConfig.ts"
import type { InvalidOptionError } from "../../../BrokerError.ts"
import * as BrokerMetrics from "../../../BrokerMetrics.ts"
import type { Vhost } from "../../../engine/Vhosts.ts"
import * as Address from "./address.ts"
import * as Origin from "./origin.ts"
import * as Warning from "./warning.ts"

/** Why a browser is refused, and how it is told: by an HTTP status, or by the close code of an accepted WebSocket. */
export interface Refusal {
  readonly reason: Reason
  readonly status: number
  readonly code: number
  /** One sentence. */
  readonly text: string
}

type Reason = "version" | "vhost" | "origin" | "browsers" | "vhost_browsers" | "address"

/** The refusals. */
export const refusals = {
  version: {
    reason: "version",
    status: 400,
    code: 4400,
    text: "This broker knows version 1 of the browsers' protocol."
  },
  vhost: { reason: "vhost", status: 404, code: 4404, text: "There is no vhost at this path." },
  origin: { reason: "origin", status: 403, code: 4405, text: "Browsers of this origin may not connect." },
  browsers: { reason: "browsers", status: 503, code: 1013, text: "The broker has as many browsers as it may have." },
  vhostBrowsers: {
    reason: "vhost_browsers",
    status: 503,
    code: 1013,
    text: "The vhost has as many browsers as it may have."
  },
  address: { reason: "address", status: 429, code: 1013, text: "Too many browsers connect from this address." }
} as const satisfies Record<string, Refusal>

/** Who is connected, in numbers. */
export interface Admission {
  /** Counts a browser and gives what has to be called when it has gone, or says why it is refused. */
  readonly admit: (request: IncomingMessage, vhost: Vhost) => Result.Result<() => void, Refusal>
  /** Counts a refusal, and warns if a limit is the reason. */
  readonly refuse: (refusal: Refusal, request: IncomingMessage) => Effect.Effect<void>
  /** Counts a connection that was closed without a request, since there are no more descriptors, and warns. */
  readonly drop: Effect.Effect<void>
}

/** Begins to count; `most` is how many browsers the process has descriptors for. */
export const make = (
  config: BrokerConfig["Service"],
  most: number,
  context: Context.Context<never>
): Result.Result<Admission, InvalidOptionError> =>
  Result.gen(function*() {
    const isAllowed = yield* Origin.make(config.origins)
    const addressOf = yield* Address.make(config.trustedProxies)
    const where = ({ headers, socket }: IncomingMessage) =>
      addressOf(socket.remoteAddress, headers["x-forwarded-for"]?.toString())
    const warn = makeWarnings(config, most)
    const maxBrowsers = Math.min(config.maxBrowsers, most)
    const vhosts = makeCounts<Vhost>()
    const addresses = makeCounts<string>()
    let browsers = 0

    const admit: Admission["admit"] = (request, vhost) => {
      if (!isAllowed(request.headers.origin, request.headers.host)) return Result.fail(refusals.origin)
      if (browsers >= maxBrowsers) return Result.fail(refusals.browsers)
      if (vhosts.of(vhost) >= config.maxBrowsersPerVhost) return Result.fail(refusals.vhostBrowsers)
      const address = where(request)
      if (address !== undefined && addresses.of(address) >= config.maxBrowsersPerAddress) {
        return Result.fail(refusals.address)
      }
      browsers++
      vhosts.add(vhost, 1)
      if (address !== undefined) addresses.add(address, 1)
      return Result.succeed(() => {
        browsers--
        vhosts.add(vhost, -1)
        if (address !== undefined) addresses.add(address, -1)
      })
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
  const { browsers } = Warning
  return {
    origin: Warning.make((count, last) =>
      `Refused ${browsers(count)}, the last with Origin ${last}: if it may connect, add it to the option origins`
    ),
    browsers: Warning.make((count) =>
      `Refused ${browsers(count)}: there are ${
        most < config.maxBrowsers
          ? `${most}. ${Strangers.advice}`
          : `${config.maxBrowsers}, see the option maxBrowsers`
      }`
    ),
    descriptors: Warning.make((count) => `Closed ${count} connections without a request. ${Strangers.advice}`),
    vhost_browsers: Warning.make((count) =>
      `Refused ${browsers(count)}: a vhost has ${config.maxBrowsersPerVhost}, see the option maxBrowsersPerVhost`
    ),
    address: Warning.make((count, last) =>
      `Refused ${
        browsers(count)
      }, the last from ${last}: ${config.maxBrowsersPerAddress} are connected from there, see the option maxBrowsersPerAddress. If that is a reverse proxy, add it to trustedProxies`
    )
  }
}

const counter = (reason: string) => Metric.withAttributes(BrokerMetrics.refusedBrowsers, { reason })

const refused = {
  version: counter("version"),
  vhost: counter("vhost"),
  origin: counter("origin"),
  browsers: counter("browsers"),
  vhost_browsers: counter("vhost_browsers"),
  address: counter("address"),
  descriptors: counter("descriptors")
}

// Numbers by name, of which only those above 0 take memory.
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
