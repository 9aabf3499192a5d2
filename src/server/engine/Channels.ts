/**
 * The channels of one vhost, their subscribers, and broadcasts to them.
 *
 * Each operation is one step of the event loop: no other fiber sees a channel half changed, and a broadcast reaches exactly
 * those who are subscribed at that moment, each once, in the order of the broadcasts. Delivery is to outbound queues and
 * never waits. Only `leave` may take several steps, one for each channel.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as BrokerMessage from "../../protocol/BrokerMessage.ts"
import type { Id } from "../../protocol/BrowserMessage.ts"
import * as ChannelName from "../../protocol/ChannelName.ts"
import { envelopeSize } from "../../protocol/Frame.ts"
import type * as JsonText from "../../protocol/JsonText.ts"
import {
  type BadRequestError,
  ChannelNotFoundError,
  type ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError,
  type TooManyRequestsError
} from "../../protocol/KosmonautError.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Browser, SubscribeOptions, Subscription } from "../domain/Browser.ts"
import type { Part } from "../domain/Listing.ts"
import * as Channel from "./internal/channel.ts"
import * as MessageSize from "./internal/messageSize.ts"
import * as OrderedList from "./internal/orderedList.ts"
import * as Subscriptions from "./internal/subscriptions.ts"
import * as Journal from "./Journal.ts"

export type { Listed, Part } from "../domain/Listing.ts"

/**
 * An open channel, as an administrator sees it.
 *
 * @since 0.1.0
 */
export interface ChannelInfo {
  readonly name: string
  readonly kind: ChannelName.Kind
  /** How many browsers are subscribed to it, hidden ones too. */
  readonly subscribers: number
}

/**
 * Who sends a broadcast, and who does not receive it.
 *
 * @since 0.1.0
 */
export interface BroadcastOptions {
  /** The browser that it comes from, absent for a backend; that browser receives it, too. */
  readonly from?: Browser | undefined
  /** The sid of a browser that does not receive it. */
  readonly exceptSid?: string | undefined
}

/**
 * The channels of one vhost.
 *
 * @since 0.1.0
 */
export interface Channels {
  /** Opens a channel; `false` says that it was open already. */
  readonly open: (name: string) => Effect.Effect<boolean, InvalidChannelNameError | InternalError>
  /** Closes a channel; its subscribers receive `:unsubscribed`. */
  readonly close: (name: string) => Effect.Effect<void, ChannelNotFoundError>
  /** The open channels. */
  readonly list: Effect.Effect<ReadonlyArray<ChannelInfo>>
  /** An open channel. */
  readonly describe: (name: string) => Effect.Effect<ChannelInfo, ChannelNotFoundError>
  /**
   * A part of the open channels whose name begins with `prefix`, after a cursor, in the order of their opening. A part has
   * at most 1000 channels and looks at 10 000 names, so that it may be empty and have a `next`.
   */
  readonly listAfter: (prefix: string, cursor: number) => Part<ChannelInfo>
  /** A part of the visible subscribers, at most 1000, after a cursor, in the order of their subscriptions. */
  readonly subscribersAfter: (name: string, cursor: number) => Effect.Effect<Part<Subscription>, ChannelNotFoundError>
  /**
   * Delivers an event to every subscriber. Data may be the text of an object, which is only read if there is a subscriber.
   * Fails with 400 if the message would be more than 256 bytes larger than `maxMessageSize`.
   */
  readonly broadcast: (
    name: string,
    event: string,
    data: JsonText.Input,
    options?: BroadcastOptions
  ) => Effect.Effect<void, BroadcastError>
  /** The same, executed when it is called. */
  readonly broadcastUnsafe: (
    name: string,
    event: string,
    data: JsonText.Input,
    options?: BroadcastOptions
  ) => Exit.Exit<void, BroadcastError>
  /**
   * Subscribes a browser, and notifies the members and the backend. For a browser that is already subscribed nothing changes;
   * it gets a response only if its message had an id.
   */
  readonly subscribe: (
    name: string,
    browser: Browser,
    options: SubscribeOptions
  ) => Effect.Effect<void, ChannelNotFoundError | ForbiddenError | BadRequestError | TooManyRequestsError>
  /** Unsubscribes a browser; on a presence channel the others receive `farewell` with `:memberLeft`. */
  readonly unsubscribe: (
    name: string,
    browser: Browser,
    farewell: JsonText.Input,
    id?: Id
  ) => Effect.Effect<void, ChannelNotFoundError | NotSubscribedError | BadRequestError>
  /** Sends a subscriber the members of a presence channel after a cursor, as many as one message may have. */
  readonly members: (
    name: string,
    browser: Browser,
    cursor: number,
    id?: Id
  ) => Effect.Effect<void, ChannelNotFoundError | NotSubscribedError>
  /** Whether a browser is subscribed. */
  readonly has: (name: string, browser: Browser) => Effect.Effect<boolean, ChannelNotFoundError>
  /**
   * Unsubscribes a browser from all its channels, without a message to it. After 10 000 deliveries to others it yields before
   * the next channel; if it is interrupted there, the browser stays subscribed to the rest.
   */
  readonly leave: (browser: Browser) => Effect.Effect<void>
  /** Counters since the start, and current numbers. */
  readonly counters: ChannelCounters
}

/**
 * Why a broadcast was rejected.
 *
 * @since 0.1.0
 */
export type BroadcastError = ChannelNotFoundError | NotSubscribedError | BadRequestError

/**
 * Counters of the channels of a vhost.
 *
 * @since 0.1.0
 */
export interface ChannelCounters {
  /** Channels that are open now. */
  readonly channels: number
  /** Subscriptions now. */
  readonly subscriptions: number
  /** Broadcasts that were accepted. */
  readonly broadcasts: number
  /** Messages of broadcasts that were put into outbound queues, one for each subscriber. */
  readonly deliveries: number
}

/**
 * The options of a vhost's channels; for the limits see `BrokerConfig`.
 *
 * @since 0.1.0
 */
export interface Options extends Subscriptions.Limits {
  readonly maxChannels: number
  readonly maxMessageSize: number
  /** Gets the lifecycle events of the channels; by default they are ignored. */
  readonly emit?: ((event: Event) => void) | undefined
  /** Records which channels are open, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** The channels to restore, in the order of their opening. */
  readonly opened?: ReadonlyArray<string> | undefined
}

/**
 * Makes a vhost's channels, with the restored ones open. Beyond `maxChannels` opening fails with 597.
 *
 * @since 0.1.0
 */
export const make = (options: Options): Channels => {
  const counters = { channels: 0, subscriptions: 0, broadcasts: 0, deliveries: 0 }
  const registry = makeRegistry(options, counters)
  const { find } = registry
  const subscriptions = Subscriptions.make({ limits: options, counters, emit: options.emit ?? constVoid })
  const broadcastUnsafe = makeBroadcast(registry.get, counters, options.maxMessageSize + envelopeSize)

  return {
    open: registry.open,
    close: (name) =>
      Effect.map(find(name), (channel) => {
        registry.remove(channel)
        subscriptions.unsubscribeAll(channel)
      }),

    list: Effect.sync(registry.list),
    describe: (name) => Effect.map(find(name), infoOf),
    listAfter: (prefix, cursor) =>
      Channel.partAfter(
        registry.all,
        cursor,
        (channel) => channel.name.startsWith(prefix) ? infoOf(channel) : undefined
      ),
    subscribersAfter: (name, cursor) =>
      Effect.map(find(name), ({ visible }) => Channel.partAfter(visible, cursor, (subscription) => subscription)),

    broadcast: (...broadcast) => Effect.suspend(() => broadcastUnsafe(...broadcast)),
    broadcastUnsafe,

    subscribe: (name, browser, options) =>
      Effect.flatMap(find(name), (channel) => subscriptions.subscribe(channel, browser, options)),
    unsubscribe: (name, browser, farewell, id) =>
      Effect.flatMap(find(name), (channel) => subscriptions.unsubscribe(channel, browser, farewell, id)),
    members: (name, browser, cursor, id) =>
      Effect.flatMap(find(name), (channel) => {
        if (!channel.subscriptions.has(browser)) return Exit.fail(new NotSubscribedError({ channel: name }))
        browser.sendUnsafe(BrokerMessage.members(name, subscriptions.members(channel, cursor, 1), id))
        return Exit.void
      }),
    has: (name, browser) => Effect.map(find(name), (channel) => channel.subscriptions.has(browser)),
    leave: subscriptions.leave,
    counters
  }
}

// The open channels, by their names and in the order of their opening.
const makeRegistry = (options: Options, counters: { channels: number }) => {
  const journal = options.journal ?? Journal.none
  const channels = new Map<string, OrderedList.Entry<Channel.Channel>>()
  const all = OrderedList.make<Channel.Channel>()
  let lastCursor = 0

  const add = (name: string) => {
    const entry = { cursor: ++lastCursor, value: Channel.make(name, ChannelName.kind(name)) }
    channels.set(name, entry)
    OrderedList.append(all, entry)
    counters.channels++
  }
  options.opened?.forEach(add)

  const get = (name: string): Channel.Channel | undefined => channels.get(name)?.value
  return {
    all,
    get,
    list: (): ReadonlyArray<ChannelInfo> =>
      Array.from(channels.values()).flatMap(({ value }) => value === undefined ? [] : [infoOf(value)]),
    find: (name: string): Effect.Effect<Channel.Channel, ChannelNotFoundError> =>
      Effect.suspend(() => {
        const channel = get(name)
        return channel === undefined ? Exit.fail(new ChannelNotFoundError({ channel: name })) : Exit.succeed(channel)
      }),
    open: (name: string) =>
      Effect.suspend((): Exit.Exit<boolean, InvalidChannelNameError | InternalError> => {
        if (!ChannelName.isValid(name)) return Exit.fail(new InvalidChannelNameError({ channel: name }))
        if (channels.has(name)) return Exit.succeed(false)
        if (channels.size >= options.maxChannels) {
          return Exit.fail(new InternalError({ detail: `the vhost has ${channels.size} channels, the limit` }))
        }
        add(name)
        journal.created({ _tag: "Channel", name })
        return Exit.succeed(true)
      }),
    remove: ({ name }: Channel.Channel) => {
      const entry = channels.get(name)
      if (entry === undefined) return
      channels.delete(name)
      OrderedList.remove(all, entry)
      counters.channels--
      journal.deleted("Channel", name)
    }
  }
}

const makeBroadcast = (
  get: (name: string) => Channel.Channel | undefined,
  counters: { broadcasts: number; deliveries: number },
  largest: number
): Channels["broadcastUnsafe"] =>
(name, event, data, { exceptSid, from } = {}) => {
  const channel = get(name)
  if (channel === undefined) return Exit.fail(new ChannelNotFoundError({ channel: name }))
  if (from !== undefined && !channel.subscriptions.has(from)) {
    return Exit.fail(new NotSubscribedError({ channel: name }))
  }
  if (channel.subscriptions.size > 0) {
    const message = BrokerMessage.broadcast(event, data, name, from?.sid)
    if (MessageSize.isLarger(message, largest)) return Exit.fail(MessageSize.tooLarge(largest))
    counters.deliveries += Channel.deliver(channel, message, exceptSid)
  }
  counters.broadcasts++
  return Exit.void
}

const infoOf = ({ kind, name, subscriptions }: Channel.Channel): ChannelInfo => ({
  name,
  kind,
  subscribers: subscriptions.size
})
