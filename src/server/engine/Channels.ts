/**
 * The channels of one vhost, who is on them, and who hears what.
 *
 * Everything here happens at once: no other fiber sees a channel half changed, and a broadcast reaches exactly those who
 * are subscribed at that moment, each once, in the order of the broadcasts. Delivery is to outboxes and never waits.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as ChannelName from "../../protocol/ChannelName.ts"
import type { JsonObject } from "../../protocol/Json.ts"
import {
  BadRequestError,
  ChannelNotFoundError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError
} from "../../protocol/KosmonautError.ts"
import * as PageMessage from "../../protocol/PageMessage.ts"
import type { Page, Subscription } from "../domain/Page.ts"
import type { Permission } from "../domain/Permission.ts"

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
  /** Delivers to every subscriber, the sender too. `from` is the page it comes from, absent for a backend. */
  readonly broadcast: (
    name: string,
    event: string,
    data: JsonObject,
    from?: Page
  ) => Effect.Effect<void, ChannelNotFoundError | NotSubscribedError>
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
}

interface Channel {
  readonly name: string
  readonly kind: ChannelName.Kind
  readonly subscriptions: Map<Page, Subscription>
}

/**
 * Makes a vhost's channels, none open. `maxChannels` bounds them; beyond it opening fails with 597.
 *
 * @since 0.1.0
 */
export const make = (options: { readonly maxChannels: number; readonly memberDataSize: number }): Channels => {
  const channels = new Map<string, Channel>()
  const channelsOf = new Map<Page, Set<Channel>>()

  const find = (name: string): Effect.Effect<Channel, ChannelNotFoundError> => {
    const channel = channels.get(name)
    return channel === undefined ? Effect.fail(new ChannelNotFoundError({ channel: name })) : Effect.succeed(channel)
  }

  const forget = (channel: Channel, page: Page) => {
    const joined = channelsOf.get(page)
    if (joined?.delete(channel) === true && joined.size === 0) channelsOf.delete(page)
  }

  const detach = (channel: Channel, page: Page, farewell: JsonObject) => {
    const subscription = channel.subscriptions.get(page)
    channel.subscriptions.delete(page)
    forget(channel, page)
    if (channel.kind === "presence" && subscription?.uid !== undefined && !subscription.hidden) {
      deliver(
        channel,
        PageMessage.memberLeft(channel.name, { uid: subscription.uid, data: subscription.data }, farewell)
      )
    }
  }

  const attach = (channel: Channel, subscription: Subscription) => {
    const { data, hidden, page, uid } = subscription
    const members = channel.kind === "presence" ? visibleMembers(channel) : undefined
    channel.subscriptions.set(page, subscription)
    const joined = channelsOf.get(page)
    if (joined === undefined) channelsOf.set(page, new Set([channel]))
    else joined.add(channel)
    page.sendUnsafe(PageMessage.subscribed(channel.name, uid, members))
    if (channel.kind === "presence" && uid !== undefined && !hidden) {
      deliver(channel, PageMessage.memberJoined(channel.name, { uid, data }))
    }
  }

  return {
    open: (name) =>
      Effect.suspend((): Effect.Effect<boolean, InvalidChannelNameError | InternalError> => {
        if (!ChannelName.isValid(name)) return Effect.fail(new InvalidChannelNameError({ channel: name }))
        if (channels.has(name)) return Effect.succeed(false)
        if (channels.size >= options.maxChannels) {
          return Effect.fail(new InternalError({ detail: `the vhost has ${channels.size} channels, the most it can` }))
        }
        channels.set(name, { name, kind: ChannelName.kind(name), subscriptions: new Map() })
        return Effect.succeed(true)
      }),

    close: (name) =>
      Effect.map(Effect.suspend(() => find(name)), (channel) => {
        channels.delete(name)
        const message = PageMessage.unsubscribed(name)
        for (const page of channel.subscriptions.keys()) {
          forget(channel, page)
          page.sendUnsafe(message)
        }
      }),

    list: Effect.sync(() =>
      Array.from(
        channels.values(),
        ({ kind, name, subscriptions }) => ({ name, kind, subscribers: subscriptions.size })
      )
    ),

    broadcast: (name, event, data, from) =>
      Effect.flatMap(Effect.suspend(() => find(name)), (channel) => {
        if (from !== undefined && !channel.subscriptions.has(from)) {
          return Effect.fail(new NotSubscribedError({ channel: name }))
        }
        if (channel.subscriptions.size > 0) deliver(channel, PageMessage.broadcast(event, data, name, from?.sid))
        return Effect.void
      }),

    subscribe: (name, page, { data, hidden, permission }) =>
      Effect.flatMap(
        Effect.suspend(() => find(name)),
        (channel): Effect.Effect<void, ForbiddenError | BadRequestError> => {
          const allowed = channel.kind === "normal" || permission?.allows(name) === true
          if (!allowed) {
            return Effect.fail(new ForbiddenError({ detail: `${name} needs a token whose pattern matches it` }))
          }
          // The next to come hears of all that are there in one message.
          if (channel.kind === "presence" && encoder.encode(JSON.stringify(data)).length > options.memberDataSize) {
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
      })
  }
}

const deliver = (channel: Channel, message: string) => {
  for (const page of channel.subscriptions.keys()) page.sendUnsafe(message)
}

const visibleMembers = (channel: Channel) =>
  Array.from(channel.subscriptions.values()).flatMap(({ data, hidden, uid }) =>
    hidden || uid === undefined ? [] : [{ uid, data }]
  )

const encoder = new TextEncoder()
