/**
 * Executes the requests of Clients about users and their browsers.
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { type FromClient, FromServer } from "../../../protocol/Command.ts"
import type { StatusError } from "../../../protocol/KosmonautError.ts"
import type * as Response from "../../../protocol/Response.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import { responseOf } from "./response.ts"

const tags = [
  "AccessToken",
  "AccessTokenWith",
  "SendTo",
  "SendToUser",
  "SubscribeUser",
  "UnsubscribeUser",
  "Disconnect",
  "DisconnectAndRevoke"
] as const satisfies ReadonlyArray<FromClient["_tag"]>

/** A command about users or their browsers. */
export type UserCommand = Extract<FromClient, { readonly _tag: (typeof tags)[number] }>

/** Whether a command is about users or their browsers. */
export const isOne = <Command extends FromClient>(command: Command): command is Extract<Command, UserCommand> =>
  tags.some((tag) => tag === command._tag)

/** Executes a command and returns its response. */
export const execute = (
  { accessTokens, browsers }: Vhost,
  command: UserCommand
): Effect.Effect<FromServer, StatusError> => {
  switch (command._tag) {
    case "AccessToken":
      return Effect.map(accessTokens.issue(command.uid, command.pattern), tokenIssued)
    case "AccessTokenWith":
      return Effect.map(accessTokens.issue(command.grant.uid, command.grant.pattern, command.grant), tokenIssued)
    case "SendTo":
      return Effect.as(browsers.sendTo(command.sid, command.event, command.data), FromServer.Ok())
    case "SendToUser":
      return Effect.map(
        browsers.sendToUser(command.uid, command.event, command.data),
        (sent) => responseOf({ sent } satisfies typeof Response.SentToUser.Type)
      )
    case "SubscribeUser":
      return Effect.map(
        browsers.subscribe(command.uid, command.channel),
        (subscribed) => responseOf({ subscribed } satisfies typeof Response.SubscribedUser.Type)
      )
    case "UnsubscribeUser":
      return Effect.map(
        browsers.unsubscribe(command.uid, command.channel),
        (unsubscribed) => responseOf({ unsubscribed } satisfies typeof Response.UnsubscribedUser.Type)
      )
    case "Disconnect":
      return Effect.map(browsers.disconnect(command.by, command.who), disconnectedOf)
    case "DisconnectAndRevoke":
      // First, so that no browser can authenticate in between.
      return Effect.andThen(
        accessTokens.revoke(command.uid),
        Effect.map(browsers.disconnect("uid", command.uid), disconnectedOf)
      )
  }
}

const disconnectedOf = (disconnected: number): FromServer =>
  responseOf({ disconnected } satisfies typeof Response.Disconnected.Type)

const tokenIssued = (token: Redacted.Redacted): FromServer =>
  FromServer.AccessTokenIssued({ token: Redacted.value(token) })
