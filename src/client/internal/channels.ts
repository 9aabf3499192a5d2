/**
 * The requests of a Client about channels.
 */

import * as Effect from "effect/Effect"
import * as ChannelName from "../../protocol/ChannelName.ts"
import { FromClient } from "../../protocol/Command.ts"
import { ChannelNotFoundError, InvalidChannelNameError } from "../../protocol/KosmonautError.ts"
import * as Response from "../../protocol/Response.ts"
import type { ChannelInfo, ChannelLike, Subscriber } from "../ClientRequest.ts"
import * as Parts from "./parts.ts"
import type { Requests } from "./request.ts"
import { expecting } from "./target.ts"

/** `Client.openChannel`, `closeChannel`, `channels`, `channel` and `subscribers`. */
export const make = ({ query, execute }: Requests) => ({
  openChannel: (channel: ChannelLike) => {
    const name = nameOf(channel)
    return ChannelName.isValid(name)
      ? execute(FromClient.OpenChannel({ channel: name }), invalidName)
      : Effect.fail(new InvalidChannelNameError({ channel: name }))
  },

  closeChannel: (channel: ChannelLike) =>
    found(channel, (channel) => execute(FromClient.CloseChannel({ channel }), notFound)),

  channels: ({ prefix = "" }: { readonly prefix?: string | undefined } = {}) =>
    Parts.stream((after) =>
      Effect.map(
        query(FromClient.ListChannels({ prefix, after }), Response.Channels),
        ({ channels, next }) => ({ items: channels.map(channelInfo), next })
      )
    ),

  channel: (channel: ChannelLike) =>
    found(
      channel,
      (channel) => Effect.map(query(FromClient.DescribeChannel({ channel }), Response.Channel, notFound), channelInfo)
    ),

  subscribers: (channel: ChannelLike) =>
    Parts.stream((after) =>
      found(channel, (channel) =>
        Effect.map(
          query(FromClient.ListSubscribers({ channel, after }), Response.Subscribers, notFound),
          ({ next, subscribers }) => ({ items: subscribers.map(subscriber), next })
        ))
    )
})

/** The name of a channel. */
export const nameOf = (channel: ChannelLike): string => typeof channel === "string" ? channel : channel.name

// A name that no channel can have is that of none.
const found = <A, E>(channel: ChannelLike, use: (name: string) => Effect.Effect<A, E>) => {
  const name = nameOf(channel)
  return ChannelName.isValid(name) ? use(name) : Effect.fail(new ChannelNotFoundError({ channel: name }))
}

const invalidName = expecting(451)

const notFound = expecting(454)

const channelInfo = ({ name, subscribers }: typeof Response.Channel.Type): ChannelInfo => ({
  name,
  kind: ChannelName.kind(name),
  subscribers
})

const subscriber = ({ data, sid, uid }: typeof Response.Subscriber.Type): Subscriber => ({ sid, uid, data })
