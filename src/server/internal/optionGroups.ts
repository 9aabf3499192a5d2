/**
 * The fields of two groups of `BrokerConfig`: of what is retained of broadcasts, and of requests.
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
  totalSize: Option.size(256 * 1_048_576),
  /**
   * Of how many users of a vhost something is retained while they are away, default 100 000, if `channels` match `:user`. Beyond
   * it the inbox is dropped that got nothing for longest.
   */
  maxUsers: Option.limit(100_000)
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
