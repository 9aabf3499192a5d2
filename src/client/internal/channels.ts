/**
 * The requests of a Client about channels.
 */

import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as ChannelName from "../../protocol/ChannelName.ts"
import { FromClient } from "../../protocol/Command.ts"
import * as Json from "../../protocol/Json.ts"
import { ChannelNotFoundError, InvalidChannelNameError } from "../../protocol/KosmonautError.ts"
import * as Response from "../../protocol/Response.ts"
import type {
  ChannelInfo,
  ChannelLike,
  HistoryOptions,
  Member,
  MemberConnection,
  Retained,
  Subscriber
} from "../ClientRequest.ts"
import * as Parts from "./parts.ts"
import type { Requests } from "./request.ts"
import { expecting } from "./target.ts"

/** `Client.openChannel`, `closeChannel`, `channels`, `channel`, `subscribers`, `members` and `history`. */
export const make = ({ query, execute }: Requests) => {
  const subscribers = (channel: ChannelLike) =>
    Parts.stream((after) =>
      found(channel, (channel) =>
        Effect.map(
          query(FromClient.ListSubscribers({ channel, after }), notFound),
          ({ next, subscribers }) => ({ items: subscribers.map(subscriber), next })
        ))
    )
  return {
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
          query(FromClient.ListChannels({ prefix, after })),
          ({ channels, next }) => ({ items: channels.map(channelInfo), next })
        )
      ),

    channel: (channel: ChannelLike) =>
      found(
        channel,
        (channel) => Effect.map(query(FromClient.DescribeChannel({ channel }), notFound), channelInfo)
      ),

    subscribers,

    members: (channel: ChannelLike) => Effect.map(Stream.runCollect(subscribers(channel)), membersOf),

    history: (channel: ChannelLike, { after = 0, limit = Infinity }: HistoryOptions = {}) => {
      const most = Number.isFinite(limit) ? limit : 0
      const parts = Parts.stream((after) =>
        found(channel, (channel) =>
          Effect.map(
            query(FromClient.ListHistory({ channel, after, limit: most }), notFound),
            ({ broadcasts, next }) => ({ items: broadcasts.map(retained), next })
          )), after)
      return Stream.take(parts, limit)
    }
  }
}

/** The name of a channel. */
export const nameOf = (channel: ChannelLike): string => typeof channel === "string" ? channel : channel.name

/** Uses the name of a channel. A name that no channel can have is that of none. */
export const found = <A, E>(channel: ChannelLike, use: (name: string) => Effect.Effect<A, E>) => {
  const name = nameOf(channel)
  return ChannelName.isValid(name) ? use(name) : Effect.fail(new ChannelNotFoundError({ channel: name }))
}

const invalidName = expecting(451)

/** The channel is not open. */
export const notFound = expecting(454)

const channelInfo = ({ name, subscribers }: typeof Response.Channel.Type): ChannelInfo => ({
  name,
  kind: ChannelName.kind(name),
  subscribers
})

const retained = ({ message, position }: (typeof Response.History.Type)["broadcasts"][number]): Retained => {
  // A message has one key.
  const [event, data] = Object.entries(message)[0] ?? ["", Json.empty]
  const sid = data["sid"]
  return { position, event, data, sid: typeof sid === "string" ? sid : undefined }
}

const subscriber = ({ away = false, data, info, sid, uid }: typeof Response.Subscriber.Type): Subscriber => ({
  sid,
  uid,
  info,
  data,
  isAway: away
})

// By user, in the order in which they joined.
const membersOf = (subscribers: ReadonlyArray<Subscriber>): ReadonlyArray<Member> => {
  const members = new Map<string, Member & { readonly connections: Array<MemberConnection> }>()
  for (const { uid, ...connection } of subscribers) {
    if (uid === undefined) continue
    const connections = members.get(uid)?.connections ?? []
    connections.push(connection)
    members.set(uid, { uid, info: connection.info, data: connection.data, connections })
  }
  return [...members.values()]
}
