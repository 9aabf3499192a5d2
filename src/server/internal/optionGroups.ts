/**
 * The fields of groups of `BrokerConfig`: of encryption, of backends, of what a broker keeps of events, tokens, broadcasts and
 * requests, and of the admin endpoint.
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

/** `curve`. */
export const curve = {
  /** The file of the broker's secret key for `wrs://`, which `kosmonaut keygen` makes. Default none: ZeroMQ is not encrypted. */
  secretKeyFile: Option.text,
  /**
   * The public keys of the backends that may connect. Default none: all may that know an access token. With any, backends
   * without one of these keys are rejected, 402, also those over `wr://`, `wr+tcp://` and `wrs+tcp://`.
   */
  clientKeys: Option.texts([])
}

/** `backends`. */
export const backends = {
  /** How many there may be at each port, default 4096. Beyond it new ones are closed at once. */
  max: Option.limit(4096),
  /** How many bytes may be queued for one that does not read, default 16 MiB. Beyond it nothing is sent to it. */
  outboxSize: Option.size(16 * 1_048_576)
}

/** `heartbeat`. */
export const heartbeat = {
  /** How often they are sent to workers and expected from them, default 500 milliseconds, at least 10. */
  interval: Option.interval("500 millis"),
  /** After how many intervals without one a worker times out, default 3. */
  maxMissed: Option.someTimes(3)
}

/** `queue`. */
export const queue = {
  /** How many there may be, default 10 000. Beyond it triggers are rejected, 597. */
  capacity: Option.limit(10_000),
  /** How many bytes they may have together, default 64 MiB. Beyond it triggers are rejected, 597. */
  size: Option.size(64 * 1_048_576),
  /**
   * How often the delivery of an event may end without ack, nack or release, because its worker crashed or expired;
   * default 10. Then the event becomes a dead letter, so that one that kills its workers does not kill them all.
   */
  maxDeliveries: Option.times(10),
  /**
   * How long an event waits before it is redelivered after its handler failed, default 200 milliseconds; the pause doubles
   * with each further failure, up to 64 times this. Other events pass it meanwhile.
   */
  redeliveryBackoff: Option.duration("200 millis"),
  /** How long lifecycle events are queued while no worker takes them, default 1 minute; then they are dropped. */
  lifecycleRetention: Option.duration("1 minute")
}

/** `deadLetters`. */
export const deadLetters = {
  /** How many there may be, default 1000. Beyond it the oldest are dropped, and counted. */
  capacity: Option.limit(1000),
  /** How many bytes of memory they may have together, default 16 MiB. Beyond it the oldest are dropped, and counted. */
  size: Option.size(16 * 1_048_576)
}

/** `redis`. */
export const redis = {
  /**
   * The Redis of a cluster, `redis://:password@host:6379`, or `rediss://` for TLS; a secret. Default none: this broker is alone. All
   * brokers with the same Redis are one; each is a node, and it does not matter to which one a browser or a backend connects.
   */
  url: Option.secret
}

/** `tokens`. */
export const tokens = {
  /** How many there may be, default 100 000. Beyond it requests fail with 597. */
  capacity: Option.limit(100_000),
  /** How long one is valid, default 1 hour. */
  timeToLive: Option.duration("1 hour")
}

/** `jwt`. */
export const jwt = {
  /** A secret of at least 32 bytes for tokens with HS256. Default none. */
  secret: Option.secret,
  /** A file with such secrets, one a line, of which each is valid. Default none. */
  secretFile: Option.text,
  /** Files of public keys, PEM: RSA with at least 2048 bits for RS256, P-256 for ES256. Default none. */
  publicKeys: Option.texts([]),
  /** Where an identity provider has its public keys (JWKS), `https:` or on this machine `http:`. Default nowhere. */
  jwksUrl: Option.text,
  /** How old these may be before they are fetched again, default 10 minutes. Until that succeeds the old ones are used. */
  jwksMaxAge: Option.interval("10 minutes"),
  /** How often they are fetched at most, default every 30 seconds, whatever keys the tokens of strangers name. */
  jwksMinInterval: Option.interval("30 seconds"),
  /** What the claim `aud` of a token must have. Default it may have anything. */
  audience: Option.text,
  /** What the claim `iss` of a token must be. Default it may be anything. */
  issuer: Option.text,
  /**
   * Whether a token without the claim `vhost` is for all vhosts of the broker, default `false`: it is rejected. For identity providers that
   * cannot be told to name a vhost, on a broker whose vhosts have the same users.
   */
  anyVhost: Option.isOn(false),
  /** How much the clocks of those who sign may differ, default 10 seconds: a token is valid for so long after `exp`. */
  clockTolerance: Option.interval("10 seconds")
}

/** `history`. A rule of channels may have another `count`, `size` and `age`. */
export const history = {
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
   * Of how many users of a vhost something is retained while they are away, default 100 000, if the rule of `:user` has a
   * history. Beyond it the inbox is dropped that got nothing for longest.
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
