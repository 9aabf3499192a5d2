/**
 * The options of a connection, and their defaults. Times are milliseconds.
 */

/** What a driver may choose. */
export interface Options {
  /**
   * The name of this browser client, which the broker remembers the ids of its calls by: random, at most 100 characters, and
   * the same for all connections of one machine.
   */
  readonly client: string
  /** Whether there is somebody to ask for a token: the driver answers `FetchToken`. Default `false`. */
  readonly hasToken?: boolean | undefined
  /** How long a call may take, unless it says so itself. Default 10 seconds. */
  readonly callTimeout?: number | undefined
  /** How many calls may be pending. Beyond it they fail with `TooManyCallsError`. Default 1000. */
  readonly maxCalls?: number | undefined
  /** How many bytes pending calls may take, each counted with 256 bytes and two for a character. Default 8 MiB. */
  readonly maxCallBytes?: number | undefined
  /** How long a connection may take to open, a token to be fetched and a subscription to be responded to. Default 10 seconds. */
  readonly connectTimeout?: number | undefined
  /** The limit of the first backoff, of which a random part is waited. It doubles with each attempt. Default 500. */
  readonly minBackoff?: number | undefined
  /** The limit of all backoffs. Default 20 seconds. */
  readonly maxBackoff?: number | undefined
  /** How long a connection must last for the backoff to begin anew. Default 10 seconds. */
  readonly stableAfter?: number | undefined
  /**
   * After how long without a message the broker is asked for a sign of life, unless `:connected` names another interval. It
   * has half of it to respond. Default 25 seconds.
   */
  readonly pingInterval?: number | undefined
}

/** The options, complete. */
export type Complete = { readonly [Key in keyof Options]-?: Exclude<Options[Key], undefined> }

/** Fills in the defaults. */
export const complete = (options: Options): Complete => {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(given) as Options } as Complete
}

const defaults = {
  hasToken: false,
  callTimeout: 10_000,
  maxCalls: 1000,
  maxCallBytes: 8 << 20,
  connectTimeout: 10_000,
  minBackoff: 500,
  maxBackoff: 20_000,
  stableAfter: 10_000,
  pingInterval: 25_000
}
