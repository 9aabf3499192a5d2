/**
 * Executes the requests of Clients in their vhost.
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { type FromClient, FromServer } from "../../../protocol/Command.ts"
import { envelopeSize } from "../../../protocol/Frame.ts"
import * as Json from "../../../protocol/Json.ts"
import { BadRequestError, DeadLetterNotFoundError, type StatusError } from "../../../protocol/KosmonautError.ts"
import type * as Response from "../../../protocol/Response.ts"
import * as EventLoop from "../../../transport/EventLoop.ts"
import * as Pending from "../../engine/Pending.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import * as Listing from "./listing.ts"
import { responseOf } from "./response.ts"

/** A command that is executed here; the others are for workers, see `ClientEvents`. */
type Command = Exclude<FromClient, { readonly _tag: "Request" | "Trigger" }>

type Execution<C extends Command> = (
  vhost: Vhost,
  command: C,
  maxSize: number
) => Effect.Effect<FromServer, StatusError>

/**
 * Executes a command and returns its response, which is at most `maxMessageSize` bytes large. A broadcast is committed
 * when this is called, and its response is an `Exit` if it is done then, or pending.
 */
export const execute = (
  vhost: Vhost,
  command: Command,
  maxMessageSize: number
): Effect.Effect<FromServer, StatusError> =>
  // The compiler cannot see that the row of a tag takes the command with it.
  (executions[command._tag] as Execution<Command>)(vhost, command, maxMessageSize - envelopeSize)

const onlyWorkers = () => Effect.fail(new BadRequestError({ detail: "only a worker sends this command" }))

const executions: { readonly [Tag in Command["_tag"]]: Execution<Extract<Command, { readonly _tag: Tag }>> } = {
  Broadcast: (vhost, command) => broadcast(vhost, command),
  BroadcastAll: (vhost, { broadcasts }) =>
    Effect.flatMap(Effect.fromResult(decodeBroadcasts(broadcasts)), (all) => broadcastAll(vhost, all)),
  OpenChannel: ({ channels }, { channel }) => Effect.as(channels.open(channel), FromServer.Ok()),
  CloseChannel: ({ channels }, { channel }) => Effect.as(channels.close(channel), FromServer.Ok()),
  ListChannels: ({ channels }, { after, prefix }, maxSize) =>
    Effect.map(channels.listAfter(prefix, after), (part) => Listing.channels(part, maxSize)),
  DescribeChannel: ({ channels }, { channel }) =>
    Effect.map(channels.describe(channel), (info) => responseOf(Listing.channel(info))),
  ListSubscribers: ({ channels }, { after, channel }, maxSize) =>
    Effect.map(channels.subscribersAfter(channel, after), (part) => Listing.subscribers(part, maxSize)),
  ListHistory: ({ channels }, { after, channel, limit }, maxSize) =>
    Effect.map(
      channels.history(channel, {
        after,
        limit: limit > 0 ? limit : Infinity,
        maxSize: maxSize - Listing.frameSize
      }),
      Listing.history
    ),
  AccessToken: ({ accessTokens }, { pattern, uid }) => Effect.map(accessTokens.issue(uid, pattern), tokenIssued),
  AccessTokenWith: ({ accessTokens }, { grant }) =>
    Effect.map(accessTokens.issue(grant.uid, grant.pattern, grant), tokenIssued),
  SendTo: ({ browsers }, { data, event, sid }) => Effect.as(browsers.sendTo(sid, event, data), FromServer.Ok()),
  SendToUser: ({ browsers }, { data, event, uid }) =>
    Effect.map(browsers.sendToUser(uid, event, data), (sent) => respond<"SendToUser">({ sent })),
  SubscribeUser: ({ browsers }, { channel, uid }) =>
    Effect.map(browsers.subscribe(uid, channel), (subscribed) => respond<"SubscribeUser">({ subscribed })),
  UnsubscribeUser: ({ browsers }, { channel, uid }) =>
    Effect.map(browsers.unsubscribe(uid, channel), (unsubscribed) => respond<"UnsubscribeUser">({ unsubscribed })),
  Disconnect: ({ browsers }, { by, who }) => disconnect(browsers, by, who),
  // Revoked first, so that no browser can authenticate in between.
  DisconnectAndRevoke: ({ accessTokens, browsers }, { uid }) =>
    Effect.andThen(accessTokens.revoke(uid), disconnect(browsers, "uid", uid)),
  ListDeadLetters: ({ deadLettersAfter }, { after }, maxSize) =>
    Effect.map(deadLettersAfter(after), (items) => Listing.deadLetters(items, maxSize)),
  ReplayDeadLetter: ({ replay }, { id }) => Effect.flatMap(replay(id), (found) => found ? ok : noLetter(id)),
  ReplayDeadLetters: ({ replayAll }) => Effect.map(replayAll, respond<"ReplayDeadLetters">),
  DiscardDeadLetter: ({ deadLetters }, { id }) =>
    Effect.flatMap(deadLetters.take(id), (letter) => letter === undefined ? noLetter(id) : ok),
  DiscardDeadLetters: ({ deadLetters }) =>
    Effect.map(deadLetters.takeAll, ({ length }) => respond<"DiscardDeadLetters">({ discarded: length })),
  Ready: onlyWorkers,
  Ack: onlyWorkers,
  Nack: onlyWorkers,
  Respond: onlyWorkers,
  Heartbeat: onlyWorkers,
  Quit: onlyWorkers
}

const respond = <Tag extends keyof typeof Response.schemas>(value: Response.To<Tag>): FromServer => responseOf(value)

const tokenIssued = (token: Redacted.Redacted): FromServer =>
  FromServer.AccessTokenIssued({ token: Redacted.value(token) })

const disconnect = (browsers: Vhost["browsers"], by: "sid" | "uid", who: string) =>
  Effect.map(browsers.disconnect(by, who), (disconnected) => respond<"Disconnect">({ disconnected }))

// The shape that `FromClient.BroadcastAll` describes.
type Broadcast = readonly [channel: string, event: string, data: Json.JsonObject, exceptSid?: string]

// Checked by hand: a Schema takes fifty times as long, and there may be tens of thousands. What was parsed is JSON.
const isBroadcast = (value: unknown): value is Broadcast =>
  Array.isArray(value) && (value.length === 3 || value.length === 4 && typeof value[3] === "string") &&
  typeof value[0] === "string" && typeof value[1] === "string" && value[1] !== "" && Json.isObject(value[2])

const decodeBroadcasts = (json: string): Result.Result<ReadonlyArray<Broadcast>, BadRequestError> => {
  const value = Result.getOrUndefined(Json.parse(json))
  return Array.isArray(value) && value.every(isBroadcast)
    ? Result.succeed(value)
    : Result.fail(new BadRequestError({ detail: "BA needs an array of broadcasts" }))
}

const broadcast = (
  { channels }: Vhost,
  command: Extract<FromClient, { readonly _tag: "Broadcast" }>
): Effect.Effect<FromServer, StatusError> => {
  const committed = channels.broadcastUnsafe(command)
  if (Pending.isDone(committed)) return done(committed)
  return Pending.isPending(committed) ? Pending.map(committed, done) : Effect.as(committed, FromServer.Ok())
}

const done = (exit: Exit.Exit<unknown, StatusError>): Exit.Exit<FromServer, StatusError> =>
  Exit.isSuccess(exit) ? ok : Exit.failCause(exit.cause)

// It yields to the event loop in between, since each of them may go to thousands of browsers. All are committed before it waits for one.
const broadcastAll = Effect.fnUntraced(function*({ channels }: Vhost, broadcasts: ReadonlyArray<Broadcast>) {
  const committed: Array<Effect.Effect<unknown, StatusError>> = []
  for (const [channel, event, data, exceptSid] of broadcasts) {
    EventLoop.begin()
    committed.push(channels.broadcastUnsafe({ _tag: "Broadcast", channel, event, data, exceptSid }))
    if (EventLoop.isOver()) yield* EventLoop.next
  }
  const codes: Array<number> = []
  const persisting: Array<number> = []
  for (const [index, [channel]] of broadcasts.entries()) {
    codes.push(yield* Effect.match(committed[index]!, { onSuccess: () => 204, onFailure: ({ code }) => code }))
    if (codes[index] === 204 && channels.isPersisted(channel)) persisting.push(index)
  }
  if (persisting.length > 0) {
    yield* Effect.catch(channels.persisted, ({ code }) => {
      for (const index of persisting) codes[index] = code
      return Effect.void
    })
  }
  return respond<"BroadcastAll">(codes)
})

const ok: Exit.Exit<FromServer> = Exit.succeed(FromServer.Ok())

const noLetter = (id: string) => Effect.fail(new DeadLetterNotFoundError({ id }))
