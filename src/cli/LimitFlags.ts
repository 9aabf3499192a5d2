/**
 * The flags of `kosmonaut serve` that limit what strangers may cost: who may connect, how many, and how much each may send.
 *
 * Every flag has the name and the default of the broker's option. A size is a number of bytes, of KiB or of MiB, a duration
 * has its unit, and a limit may be `unlimited`.
 *
 * @since 0.1.0
 */

import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { defaults } from "../server/BrokerConfig.ts"

const unlimited = "unlimited"

const measured = <A>(
  name: string,
  metavar: string,
  standard: { readonly value: A; readonly text: string },
  parse: (text: string) => A | undefined,
  expected: string,
  what: string
): Flag.Flag<A> =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.filterMap((text) => Option.fromUndefinedOr(parse(text)), () => expected),
    Flag.withDefault(standard.value),
    Flag.withDescription(`${what}; default ${standard.text}`)
  )

const parseCount = (text: string): number | undefined =>
  text === unlimited ? Infinity : /^\d{1,15}$/.test(text) ? Number(text) : undefined

const count = (name: string, standard: number, what: string): Flag.Flag<number> =>
  measured(
    name,
    "<number>",
    { value: standard, text: standard === Infinity ? unlimited : String(standard) },
    parseCount,
    `it is a whole number or ${unlimited}`,
    what
  )

// None at all would be a broker that does nothing.
const atLeastOne = (name: string, standard: number, what: string): Flag.Flag<number> =>
  Flag.filter(count(name, standard, what), (number) => number >= 1, () => `it is 1 or more, or ${unlimited}`)

const factors: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1_048_576 }

const parseSize = (text: string): number | undefined => {
  const [, digits, unit] = /^(\d{1,12}) ?(KiB|MiB|)$/.exec(text) ?? []
  return digits === undefined ? parseCount(text) : Number(digits) * factors[unit!]!
}

const size = (name: string, standard: number, what: string): Flag.Flag<number> =>
  Flag.filter(
    measured(
      name,
      "<bytes>",
      { value: standard, text: standard % 1_048_576 === 0 ? `${standard / 1_048_576}MiB` : `${standard / 1024}KiB` },
      parseSize,
      `it is a number of bytes, as 4194304, 512KiB or 4MiB, or ${unlimited}`,
      what
    ),
    (bytes) => bytes >= 1,
    () => "it is 1 byte or more"
  )

const parseDuration = (text: string): Duration.Duration | undefined => {
  const [, number, unit] = /^(\d{1,12}(?:\.\d{1,3})?) ?(ms|s|m|h)$/.exec(text) ?? []
  return number === undefined ? undefined : Duration.millis(Number(number) * milliseconds[unit!]!)
}

const milliseconds: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

const isUnlimited = (duration: Duration.Duration): boolean => Duration.toMillis(duration) === Infinity

const duration = (name: string, standard: Duration.Duration, what: string): Flag.Flag<Duration.Duration> =>
  measured(
    name,
    "<duration>",
    { value: standard, text: isUnlimited(standard) ? unlimited : `${Duration.toMillis(standard) / 1000}s` },
    (text) => text === unlimited && isUnlimited(standard) ? standard : parseDuration(text),
    "it is a duration, as 500ms, 25s, 2m or 1h",
    what
  )

// Nothing given is not an empty list, but the default of the broker.
const list = (name: string, metavar: string, description: string): Flag.Flag<ReadonlyArray<string> | undefined> =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(description),
    Flag.atLeast(0),
    Flag.map((values) => values.length === 0 ? undefined : values)
  )

/**
 * The flags, by the names of the broker's options.
 *
 * @since 0.1.0
 */
export const limits = {
  browsersBroadcast: Flag.Boolean("browsers-broadcast").pipe(
    Flag.withDefault(false),
    Flag.withDescription(
      "Let browsers broadcast on the channels they are subscribed to, as WebRocket does; default no: only backends may"
    )
  ),
  origins: list(
    "origin",
    "<origin>",
    "A web site whose browsers may connect, as https://example.com; * is every site; may be repeated, default the sites on the broker's own host name"
  ),
  trustedProxies: list(
    "trusted-proxy",
    "<address>",
    `A reverse proxy, as 10.0.0.7 or 10.0.0.0/8, whose X-Forwarded-For header tells the browser's address; may be repeated, default ${
      defaults.trustedProxies.join(" and ")
    }`
  ),
  maxBrowsers: count(
    "max-browsers",
    defaults.maxBrowsers,
    "How many browsers may be connected; at most nine tenths of the file descriptors that are free at the start"
  ),
  maxBrowsersPerVhost: count(
    "max-browsers-per-vhost",
    defaults.maxBrowsersPerVhost,
    "How many browsers may be connected to one vhost"
  ),
  maxBrowsersPerAddress: count(
    "max-browsers-per-address",
    defaults.maxBrowsersPerAddress,
    "How many browsers may be connected from one address"
  ),
  authenticationTimeout: duration(
    "authentication-timeout",
    defaults.authenticationTimeout,
    "Disconnect browsers that have not shown a good token after this time"
  ),
  browserMessageRate: atLeastOne(
    "browser-message-rate",
    defaults.browserMessageRate,
    "How many messages a second a browser may send, in bursts five times as many"
  ),
  browserByteRate: size(
    "browser-byte-rate",
    defaults.browserByteRate,
    "How many bytes a second a browser may send, in bursts five times as many"
  ),
  pingInterval: duration(
    "ping-interval",
    defaults.pingInterval,
    "How often browsers are pinged; one from which nothing came until the next ping is disconnected"
  ),
  outboxSize: size(
    "outbox-size",
    defaults.outboxSize,
    "How many bytes may wait for a browser that does not read; beyond it the browser is disconnected"
  ),
  queueCapacity: count(
    "queue-capacity",
    defaults.queueCapacity,
    "How many events of a vhost may be queued or in flight; beyond it triggers are refused"
  ),
  maxDeliveries: atLeastOne(
    "max-deliveries",
    defaults.maxDeliveries,
    "How many workers may crash or disappear with an event before it becomes a dead letter"
  ),
  maxMessageSize: size(
    "max-message-size",
    defaults.maxMessageSize,
    "The largest message of a browser or a backend; a larger one ends the connection"
  ),
  shutdownTimeout: duration(
    "shutdown-timeout",
    defaults.shutdownTimeout,
    "How long stopping may take; connections that are still open then are cut"
  )
}
