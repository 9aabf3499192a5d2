/**
 * The channels of one vhost, who is on them, and who hears what.
 *
 * Everything here happens at once: no other fiber sees a channel half changed, and a broadcast reaches exactly those who
 * are subscribed at that moment, each once, in the order of the broadcasts. Delivery is to outboxes and never waits.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Iterable from "effect/Iterable"
import * as Result from "effect/Result"
import * as ChannelName from "../../protocol/ChannelName.ts"
import { byteLength } from "../../protocol/Frame.ts"
import type { JsonObject } from "../../protocol/Json.ts"
import {
  BadRequestError,
  ChannelNotFoundError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError
} from "../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../protocol/Lifecycle.ts"
import * as PageMessage from "../../protocol/PageMessage.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Page, Subscription } from "../domain/Page.ts"
import type { Permission } from "../domain/Permission.ts"
import * as Journal from "./Journal.ts"

/**
 * An open channel, as an administrator sees it.
 *
 * @since 0.1.0
 */
export interface ChannelInfo {
  readonly name: string
  readonly kind: ChannelName.Kind
  /** How many pages are on it, hidden ones too. */
  readonly subscribers: number
}

/**
 * The channels of one vhost.
 *
 * @since 0.1.0
 */
export interface Channels {
  /** Opens a channel; `false` says that it was open already. */
  readonly open: (name: string) => Effect.Effect<boolean, InvalidChannelNameError | InternalError>
  /** Closes a channel; those on it are told that they no longer are. */
  readonly close: (name: string) => Effect.Effect<void, ChannelNotFoundError>
  /** The open channels. */
  readonly list: Effect.Effect<ReadonlyArray<ChannelInfo>>
  /** An open channel. */
  readonly describe: (name: string) => Effect.Effect<ChannelInfo, ChannelNotFoundError>
  /** The open channels whose name begins with `prefix`, after a place, in the order of their opening; for use at once. */
  readonly listAfter: (prefix: string, place: number) => Iterable<Placed<ChannelInfo>>
  /** Who is on a channel and not hidden, after a place, in the order of their coming; for use at once. */
  readonly subscribersAfter: (
    name: string,
    place: number
  ) => Effect.Effect<Iterable<Placed<Subscription>>, ChannelNotFoundError>
  /**
   * Delivers to every subscriber. `from` is the page it comes from, absent for a backend; that page hears it, too.
   * `exceptSid` names one that does not. Data may be the text of an object, which is only read where somebody hears it.
   */
  readonly broadcast: (
    name: string,
    event: string,
    data: JsonObject | string,
    options?: { readonly from?: Page | undefined; readonly exceptSid?: string | undefined }
  ) => Effect.Effect<void, ChannelNotFoundError | NotSubscribedError>
  /** The same, done when it is called. */
  readonly broadcastUnsafe: (
    name: string,
    event: string,
    data: JsonObject | string,
    options?: { readonly from?: Page | undefined; readonly exceptSid?: string | undefined }
  ) => Exit.Exit<void, ChannelNotFoundError | NotSubscribedError>
  /** Puts a page on a channel and tells who needs to know. Doing it again does nothing. */
  readonly subscribe: (name: string, page: Page, options: {
    readonly permission: Permission | undefined
    readonly hidden: boolean
    readonly data: JsonObject
  }) => Effect.Effect<void, ChannelNotFoundError | ForbiddenError | BadRequestError>
  /** Takes a page off a channel. */
  readonly unsubscribe: (
    name: string,
    page: Page,
    farewell: JsonObject
  ) => Effect.Effect<void, ChannelNotFoundError | NotSubscribedError>
  /** Whether a page is on a channel. */
  readonly has: (name: string, page: Page) => Effect.Effect<boolean, ChannelNotFoundError>
  /** Takes a page off all its channels, without telling it. */
  readonly leave: (page: Page) => Effect.Effect<void>
  /** What has been counted since the start, and is now. */
  readonly counters: ChannelCounters
}

/**
 * Something in a list and its place there, which a later part of the list can go on from.
 *
 * @since 0.1.0
 */
export interface Placed<out A> {
  readonly place: number
  readonly value: A
}

/**
 * What the channels of a vhost have counted.
 *
 * @since 0.1.0
 */
export interface ChannelCounters {
  /** Open channels, now. */
  readonly channels: number
  /** Subscriptions, now. */
  readonly subscriptions: number
  /** Broadcasts that were accepted. */
  readonly broadcasts: number
  /** Messages of broadcasts that were handed to outboxes, one for each subscriber. */
  readonly deliveries: number
}

interface Channel {
  readonly place: number
  readonly name: string
  readonly kind: ChannelName.Kind
  readonly subscriptions: Map<Page, Placed<Subscription>>
  /** Of a presence channel: how many pages of each user are on it and not hidden. */
  readonly pagesOf: Map<string, number>
}

/**
 * Makes a vhost's channels, those open that an earlier broker has left. `maxChannels` bounds them; beyond it opening fails
 * with 597. `announce` hears of what happens on them.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly maxChannels: number
  readonly memberDataSize: number
  readonly announce?: ((event: Event) => void) | undefined
  /** Where it is noted which are open, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** What the journal knows of, in the order of their opening. */
  readonly opened?: ReadonlyArray<string> | undefined
}): Channels => {
  const journal = options.journal ?? Journal.none
  const channels = new Map<string, Channel>()
  const channelsOf = new Map<Page, Set<Channel>>()
  const announce = options.announce ?? constVoid
  const counters = { channels: 0, subscriptions: 0, broadcasts: 0, deliveries: 0 }
  let places = 0

  const open = (name: string) => {
    const kind = ChannelName.kind(name)
    channels.set(name, { place: ++places, name, kind, subscriptions: new Map(), pagesOf: new Map() })
    counters.channels++
  }
  options.opened?.forEach(open)

  const find = (name: string): Effect.Effect<Channel, ChannelNotFoundError> => {
    const channel = channels.get(name)
    return channel === undefined ? Effect.fail(new ChannelNotFoundError({ channel: name })) : Effect.succeed(channel)
  }

  // Takes a page off and tells the backend; the pages are told elsewhere.
  const remove = (channel: Channel, page: Page): Subscription | undefined => {
    const subscription = channel.subscriptions.get(page)?.value
    if (subscription === undefined) return undefined
    channel.subscriptions.delete(page)
    counters.subscriptions--
    const joined = channelsOf.get(page)
    if (joined?.delete(channel) === true && joined.size === 0) channelsOf.delete(page)
    if (isMember(channel, subscription)) {
      const left = channel.pagesOf.get(subscription.uid)! - 1
      if (left > 0) channel.pagesOf.set(subscription.uid, left)
      else {
        channel.pagesOf.delete(subscription.uid)
        announce(Lifecycle.memberLeft(channel.name, subscription.uid, subscription.data))
      }
    }
    if (channel.subscriptions.size === 0) announce(Lifecycle.channelVacated(channel.name))
    return subscription
  }

  const detach = (channel: Channel, page: Page, farewell: JsonObject) => {
    const subscription = remove(channel, page)
    if (subscription !== undefined && isMember(channel, subscription)) {
      deliver(channel, PageMessage.memberLeft(channel.name, subscription, farewell))
    }
  }

  const attach = (channel: Channel, subscription: Subscription) => {
    const { page, uid } = subscription
    const others = channel.kind === "presence" ? members(channel) : undefined
    channel.subscriptions.set(page, { place: ++places, value: subscription })
    counters.subscriptions++
    const joined = channelsOf.get(page)
    if (joined === undefined) channelsOf.set(page, new Set([channel]))
    else joined.add(channel)
    if (channel.subscriptions.size === 1) announce(Lifecycle.channelOccupied(channel.name))
    page.sendUnsafe(PageMessage.subscribed(channel.name, uid, others))
    if (isMember(channel, subscription)) {
      const pages = channel.pagesOf.get(subscription.uid) ?? 0
      channel.pagesOf.set(subscription.uid, pages + 1)
      if (pages === 0) announce(Lifecycle.memberJoined(channel.name, subscription.uid, subscription.data))
      deliver(channel, PageMessage.memberJoined(channel.name, subscription))
    }
  }

  const broadcastUnsafe: Channels["broadcastUnsafe"] = (name, event, data, { exceptSid, from } = {}) => {
    const channel = channels.get(name)
    if (channel === undefined) return Exit.fail(new ChannelNotFoundError({ channel: name }))
    if (from !== undefined && !channel.subscriptions.has(from)) {
      return Exit.fail(new NotSubscribedError({ channel: name }))
    }
    counters.broadcasts++
    if (channel.subscriptions.size > 0) {
      counters.deliveries += deliver(channel, PageMessage.broadcast(event, data, name, from?.sid), exceptSid)
    }
    return Exit.void
  }

  return {
    open: (name) =>
      Effect.suspend((): Effect.Effect<boolean, InvalidChannelNameError | InternalError> => {
        if (!ChannelName.isValid(name)) return Effect.fail(new InvalidChannelNameError({ channel: name }))
        if (channels.has(name)) return Effect.succeed(false)
        if (channels.size >= options.maxChannels) {
          return Effect.fail(new InternalError({ detail: `the vhost has ${channels.size} channels, the most it can` }))
        }
        open(name)
        journal.noteNew({ _tag: "Channel", name })
        return Effect.succeed(true)
      }),

    close: (name) =>
      Effect.map(Effect.suspend(() => find(name)), (channel) => {
        channels.delete(name)
        counters.channels--
        journal.forget("Channel", name)
        const message = PageMessage.unsubscribed(name)
        for (const page of [...channel.subscriptions.keys()]) {
          remove(channel, page)
          page.sendUnsafe(message)
        }
      }),

    list: Effect.sync(() => Array.from(channels.values(), infoOf)),

    describe: (name) => Effect.map(Effect.suspend(() => find(name)), infoOf),

    listAfter: (prefix, place) =>
      Iterable.filterMap(channels.values(), (channel) =>
        channel.place > place && channel.name.startsWith(prefix)
          ? Result.succeed({ place: channel.place, value: infoOf(channel) })
          : Result.failVoid),

    subscribersAfter: (name, place) =>
      Effect.map(
        Effect.suspend(() => find(name)),
        ({ subscriptions }) =>
          Iterable.filter(subscriptions.values(), (placed) => placed.place > place && !placed.value.hidden)
      ),

    broadcast: (...broadcast) => Effect.suspend(() => broadcastUnsafe(...broadcast)),
    broadcastUnsafe,

    subscribe: (name, page, { data, hidden, permission }) =>
      Effect.flatMap(
        Effect.suspend(() => find(name)),
        (channel): Effect.Effect<void, ForbiddenError | BadRequestError> => {
          const allowed = channel.kind === "normal" || permission?.allows(name) === true
          if (!allowed) {
            return Effect.fail(new ForbiddenError({ detail: `${name} needs a token whose pattern matches it` }))
          }
          // The next to come hears of all that are there in one message, and a backend may ask who is on any channel.
          if (byteLength(JSON.stringify(data)) > options.memberDataSize) {
            return Effect.fail(new BadRequestError({ detail: `data has at most ${options.memberDataSize} bytes` }))
          }
          if (!channel.subscriptions.has(page)) {
            attach(channel, { page, hidden, data, uid: channel.kind === "normal" ? undefined : permission?.uid })
          }
          return Effect.void
        }
      ),

    unsubscribe: (name, page, farewell) =>
      Effect.flatMap(Effect.suspend(() => find(name)), (channel) => {
        if (!channel.subscriptions.has(page)) return Effect.fail(new NotSubscribedError({ channel: name }))
        page.sendUnsafe(PageMessage.unsubscribed(name))
        detach(channel, page, farewell)
        return Effect.void
      }),

    has: (name, page) => Effect.map(Effect.suspend(() => find(name)), (channel) => channel.subscriptions.has(page)),

    leave: (page) =>
      Effect.sync(() => {
        for (const channel of [...channelsOf.get(page) ?? []]) detach(channel, page, {})
      }),

    counters
  }
}

// Gives how many were told.
const deliver = (channel: Channel, message: string, exceptSid?: string): number => {
  let told = 0
  for (const page of channel.subscriptions.keys()) {
    if (page.sid === exceptSid) continue
    page.sendUnsafe(message)
    told++
  }
  return told
}

/** One whom the others on a presence channel see. */
type Member = Subscription & { readonly uid: string }

const isMember = (channel: Channel, subscription: Subscription): subscription is Member =>
  channel.kind === "presence" && subscription.uid !== undefined && !subscription.hidden

const members = (channel: Channel): ReadonlyArray<Member> =>
  Array.from(channel.subscriptions.values(), ({ value }) => value).filter((one) => isMember(channel, one))

const infoOf = ({ kind, name, subscriptions }: Channel): ChannelInfo => ({
  name,
  kind,
  subscribers: subscriptions.size
})
