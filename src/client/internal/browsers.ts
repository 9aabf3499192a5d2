/**
 * The requests of a Client about users and their browsers.
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Channel from "../../events/Channel.ts"
import { FromClient } from "../../protocol/Command.ts"
import * as Grant from "../../protocol/Grant.ts"
import { BadRequestError, ProtocolError } from "../../protocol/KosmonautError.ts"
import type { ChannelLike, TokenOptions } from "../ClientRequest.ts"
import { found, nameOf, notFound } from "./channels.ts"
import type { Requests } from "./request.ts"

/** `Client.requestSingleAccessToken`, `subscribe`, `unsubscribe` and `disconnect`. */
export const make = ({ responseTo, query }: Requests) => ({
  requestSingleAccessToken: Effect.fnUntraced(function*(who: string | TokenOptions, pattern: string = "") {
    const command = commandOf(typeof who === "string" ? { uid: who, pattern } : optionsOf(who))
    if (Result.isFailure(command)) {
      return yield* new ProtocolError({ reason: new BadRequestError({ detail: command.failure }) })
    }
    const { token } = yield* responseTo(command.success, "AccessTokenIssued")
    return Redacted.make(token)
  }),

  subscribe: (uid: string, channel: ChannelLike) =>
    named(
      uid,
      channel,
      (command) => Effect.map(query(FromClient.SubscribeUser(command), notFound), ({ subscribed }) => subscribed)
    ),

  unsubscribe: (uid: string, channel: ChannelLike) =>
    named(
      uid,
      channel,
      (command) => Effect.map(query(FromClient.UnsubscribeUser(command), notFound), ({ unsubscribed }) => unsubscribed)
    ),

  disconnect: (
    by: { readonly sid: string } | { readonly uid: string; readonly revokeTokens?: boolean | undefined }
  ) => {
    const command = "sid" in by ? { by: "sid", who: by.sid } as const : { by: "uid", who: by.uid } as const
    if (command.who === "") return Effect.succeed(0)
    const disconnected = "uid" in by && by.revokeTokens === true
      ? query(FromClient.DisconnectAndRevoke({ uid: by.uid }))
      : query(FromClient.Disconnect(command))
    return Effect.map(disconnected, ({ disconnected }) => disconnected)
  }
})

// Nobody has an empty id.
const named = <E>(
  uid: string,
  channel: ChannelLike,
  send: (command: { readonly uid: string; readonly channel: string }) => Effect.Effect<number, E>
) => found(channel, (channel) => uid === "" ? Effect.succeed(0) : send({ uid, channel }))

const optionsOf = ({ channels = [], pattern, subscribe = [], ...rest }: TokenOptions): Grant.Options => {
  const names = subscribe.map(nameOf)
  const alternatives = [...channels.map(nameOf), ...names].map(Channel.quote)
  if (pattern !== undefined) alternatives.push(alternatives.length === 0 ? pattern : `(?:${pattern})`)
  return { ...rest, ...names.length > 0 && { channels: names }, pattern: alternatives.join("|") || nothing }
}

// Without options that the original does not know it is the original's command.
const commandOf = (options: Grant.Options): Result.Result<FromClient, string> =>
  Result.map(Grant.make(options), (grant): FromClient => {
    const { channels = [], expiresIn, info, pattern, uid } = grant
    return channels.length === 0 && info === undefined && expiresIn === undefined
      ? FromClient.AccessToken({ uid, pattern })
      : FromClient.AccessTokenWith({ grant })
  })

// A pattern that matches no channel.
const nothing = "$a"
