/**
 * The commands between backends and brokers, as values. `CommandCodec` has their frames.
 *
 * `FromClient` are the commands of Clients and Workers, `FromServer` those of the broker. (Source: WebRocket 0.3, backend
 * protocol.)
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import type { Delivery } from "./Trigger.ts"

/**
 * A request of a Client (all but the last five) or a command of a Worker (the last five). The original broker knows the first
 * four; it responds to the other requests with 400.
 *
 * @since 0.1.0
 */
export type FromClient = Data.TaggedEnum<{
  OpenChannel: { readonly channel: string }
  CloseChannel: { readonly channel: string }
  /**
   * `data` is the text of a JSON object; any other text counts as `{}`. `exceptSid` is the browser that does not receive the
   * broadcast. It makes this another command on the wire, so that a broker that does not know it rejects it and does not
   * broadcast to everybody.
   */
  Broadcast: {
    readonly channel: string
    readonly event: string
    readonly data: string
    readonly exceptSid?: string | undefined
  }
  /** Requests a single access token for the user `uid`, for channels whose whole name matches `pattern` (RE2). */
  AccessToken: { readonly uid: string; readonly pattern: string }
  /** Many broadcasts at once: the text of a JSON array of `[channel, event, data]` or `[channel, event, data, exceptSid]`. */
  BroadcastAll: { readonly broadcasts: string }
  /** An event for one browser. `data` is the text of a JSON object. */
  SendTo: { readonly sid: string; readonly event: string; readonly data: string }
  /** Lists the open channels whose name begins with `prefix`, a part of them: those after the cursor `after`. */
  ListChannels: { readonly prefix: string; readonly after: number }
  DescribeChannel: { readonly channel: string }
  /** Lists the subscribers of a channel, a part of them: those after the cursor `after`. */
  ListSubscribers: { readonly channel: string; readonly after: number }
  /** Disconnects one browser, or all browsers of a user. */
  Disconnect: { readonly by: "sid" | "uid"; readonly who: string }
  /** Lists the dead letters, a part of them: those after the cursor `after`. */
  ListDeadLetters: { readonly after: number }
  /** Replays a dead letter. No id is `*`, which stands for all. */
  ReplayDeadLetter: { readonly id: string }
  ReplayDeadLetters: {}
  /** Removes a dead letter. */
  DiscardDeadLetter: { readonly id: string }
  DiscardDeadLetters: {}
  /** A worker is ready for events. The original's workers have no `options`. */
  Ready: { readonly options?: ReadyOptions | undefined }
  /** A worker has handled the events of these deliveries, at most `maxAcknowledged` at once. */
  Ack: { readonly deliveries: ReadonlyArray<string> }
  /**
   * A worker has not handled the event of this delivery: its handler failed for this `reason`. An empty `reason` releases the
   * event unhandled, for the next worker.
   */
  Nack: { readonly delivery: string; readonly reason: string }
  Heartbeat: {}
  /** A worker leaves. */
  Quit: {}
}>

/** What is known of a command beside its frames. */
interface Description {
  /** The word on the wire. */
  readonly word: string
  /** Its name in spans and metrics: that of the method of `Client` that sends it. */
  readonly name: string
  /** How many arguments it has, before optional frames such as a span. */
  readonly arguments: number
  /** Whether it is safe to execute twice, so that its response need not be cached for retries. */
  readonly isIdempotent: boolean
  /** Whether its effect must survive a restart of the broker, so that its response waits until it is persisted. */
  readonly isPersisted: boolean
}

const describe = (
  word: string,
  name: string,
  count: number,
  { isIdempotent = false, isPersisted = false }: {
    readonly isIdempotent?: boolean
    readonly isPersisted?: boolean
  } = {}
): Description => ({ word, name, arguments: count, isIdempotent, isPersisted })

const descriptions: { readonly [Tag in FromClient["_tag"]]: Description } = {
  OpenChannel: describe("OC", "openChannel", 1, { isIdempotent: true, isPersisted: true }),
  CloseChannel: describe("CC", "closeChannel", 1, { isPersisted: true }),
  Broadcast: describe("BC", "broadcast", 3),
  AccessToken: describe("AT", "requestSingleAccessToken", 2, { isPersisted: true }),
  BroadcastAll: describe("BA", "broadcastAll", 1),
  SendTo: describe("ST", "sendTo", 3),
  ListChannels: describe("LC", "channels", 2, { isIdempotent: true }),
  DescribeChannel: describe("DC", "channel", 1, { isIdempotent: true }),
  ListSubscribers: describe("LS", "subscribers", 2, { isIdempotent: true }),
  Disconnect: describe("DB", "disconnect", 2),
  ListDeadLetters: describe("LD", "deadLetters", 1, { isIdempotent: true }),
  ReplayDeadLetter: describe("RL", "replayDeadLetter", 1, { isPersisted: true }),
  ReplayDeadLetters: describe("RL", "replayDeadLetters", 1, { isPersisted: true }),
  DiscardDeadLetter: describe("DL", "discardDeadLetter", 1, { isPersisted: true }),
  DiscardDeadLetters: describe("DL", "discardDeadLetters", 1, { isPersisted: true }),
  Ready: describe("RD", "ready", 0),
  Ack: describe("AK", "ack", 0),
  Nack: describe("NK", "nack", 2),
  Heartbeat: describe("HB", "heartbeat", 0),
  Quit: describe("QT", "quit", 0)
}

/**
 * How many arguments the command with this word has on the wire; 0 for an unknown word.
 *
 * @since 0.1.0
 */
export const argumentsOfWord = (word: string | undefined): number => counts.get(word ?? "") ?? 0

const counts: ReadonlyMap<string, number> = new Map([
  ["BX", 4],
  ...Object.values(descriptions).map((description) => [description.word, description.arguments] as const)
])

/**
 * Stands for all dead letters where an id is expected. A word of its own, so that a forgotten id does not mean all of them.
 *
 * @since 0.1.0
 */
export const allLetters = "*"

/**
 * The name of a command in spans and metrics: that of the method of `Client` that sends it.
 *
 * @since 0.1.0
 */
export const nameOf = ({ _tag }: FromClient): string => descriptions[_tag].name

/**
 * How many arguments a command has, before optional frames such as a span.
 *
 * @since 0.1.0
 */
export const argumentsOf = (command: FromClient): number =>
  command._tag === "Broadcast" && command.exceptSid !== undefined ? 4 : descriptions[command._tag].arguments

/**
 * Whether a command is safe to execute twice, so that its response need not be cached for retries.
 *
 * @since 0.1.0
 */
export const isIdempotent = ({ _tag }: FromClient): boolean => descriptions[_tag].isIdempotent

/**
 * Whether the effect of a command must survive a restart of the broker, so that its response waits until it is persisted.
 *
 * @since 0.1.0
 */
export const isPersisted = ({ _tag }: FromClient): boolean => descriptions[_tag].isPersisted

/**
 * The options of a worker that is ready. A worker that sends any understands the `Origin` of events.
 *
 * @since 0.1.0
 */
export interface ReadyOptions {
  /** Whether it takes lifecycle events, too. */
  readonly lifecycle: boolean
  /**
   * The worker acks events, and wants at most this many unacked ones; 0 for none. Absent in workers that do not ack: an event
   * sent to them counts as handled.
   */
  readonly prefetch?: number | undefined
  /** After how many failures of its handler an event becomes a dead letter. Default 1. */
  readonly maxAttempts?: number | undefined
}

/**
 * How many deliveries one `Ack` has at most.
 *
 * @since 0.1.0
 */
export const maxAcknowledged = 50

/**
 * Constructors and matchers of `FromClient`.
 *
 * @since 0.1.0
 */
export const FromClient = Data.taggedEnum<FromClient>()

/**
 * A response of the broker (the first four) or a command to a Worker.
 *
 * @since 0.1.0
 */
export type FromServer = Data.TaggedEnum<{
  Ok: {}
  /** A success with a value, the text of its JSON, never empty. */
  Response: { readonly json: string }
  AccessTokenIssued: { readonly token: string }
  /** The status code of an error, and a `reason` for peers that support our extensions of WebRocket 0.3. */
  Failure: { readonly code: number; readonly reason?: string | undefined }
  Heartbeat: {}
  /** The broker shuts down, or does not know this worker (any more). The worker should reconnect. */
  Quit: {}
  /**
   * An event to handle: the text of `{"<event>": {…}}`. `origin` is the text of its `Origin`, absent in the original;
   * `delivery` is present if the event must be acked.
   */
  Trigger: { readonly json: string; readonly origin?: string | undefined; readonly delivery?: Delivery | undefined }
}>

/**
 * Constructors and matchers of `FromServer`.
 *
 * @since 0.1.0
 */
export const FromServer = Data.taggedEnum<FromServer>()
