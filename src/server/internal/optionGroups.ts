/**
 * The fields of some groups of `BrokerConfig`: of encryption, and of what is retained of broadcasts and of requests.
 */

import * as Option from "./option.ts"

/** `tls`. */
export const tls = {
  /** The file of the certificate and those that it was signed with, PEM. Default none: nothing is encrypted by TLS. */
  cert: Option.text,
  /** The file of the certificate's private key, PEM. */
  key: Option.text,
  /** How often the broker looks whether the files have changed, default 10 seconds, and then uses the new ones. */
  reloadInterval: Option.interval("10 seconds")
}

/** `history`. */
export const history = {
  /** Patterns (RE2) that the whole names of the channels with history match, default none. `.*` are all channels. */
  channels: Option.texts([]),
  /** How many broadcasts of a channel are retained, default 1000. */
  count: Option.limit(1000),
  /** How many bytes of a channel, default 1 MiB. */
  size: Option.size(1_048_576),
  /** For how long a broadcast is retained, default 5 minutes. */
  age: Option.duration("5 minutes"),
  /** How many bytes of a vhost, default 64 MiB. */
  vhostSize: Option.size(64 * 1_048_576),
  /** How many bytes of all vhosts, default 256 MiB. Beyond it those of the vhost that retains most are dropped. */
  totalSize: Option.size(256 * 1_048_576)
}

/** `idempotency`. */
export const idempotency = {
  /**
   * How many responses to Clients there may be, default 100 000: the last 4096 of each connection or 1 MiB of them, and
   * 64 MiB in all. Beyond it the connection that was idle for longest loses its responses; its retries are then rejected,
   * and not executed twice. Also how many triggers and requests of browsers there may be: the last 1000 of each user or
   * 4 MiB of them, and 64 MiB in all. Beyond it the oldest are evicted; sent again, they are new.
   */
  capacity: Option.limit(100_000),
  /**
   * How long they are remembered, default 5 minutes: responses after the last request of a connection, and triggers and
   * requests of browsers after they have ended.
   */
  retention: Option.duration("5 minutes")
}
