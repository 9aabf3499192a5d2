/**
 * The fields of some groups of `BrokerConfig`: of what is retained of broadcasts and of requests, and of the admin endpoint.
 */

import * as Option from "./option.ts"

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

/** `admin`. */
export const admin = {
  /** Where administrators connect over HTTP, default `"off"`; 0 picks a free port. `kosmonaut serve` has it at 8082. */
  port: Option.portOrOff("off"),
  /** The address to bind for them, default `127.0.0.1`: this machine alone, whatever `host` is. */
  host: Option.textOr("127.0.0.1"),
  /**
   * What an administrator has to show, 40 hexadecimal digits. Default what is in `kosmonaut.cookie` in the folder
   * `storageDir`, where a random one is kept that the broker makes at its first start; without a folder a random one.
   */
  cookie: Option.secret
}
