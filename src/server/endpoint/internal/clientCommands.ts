/**
 * Executes the requests of Clients in their vhost.
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { type FromClient, FromServer } from "../../../protocol/Command.ts"
import { envelopeSize } from "../../../protocol/Frame.ts"
import * as Json from "../../../protocol/Json.ts"
import { BadRequestError, DeadLetterNotFoundError, type StatusError } from "../../../protocol/KosmonautError.ts"
import type * as Response from "../../../protocol/Response.ts"
import * as EventLoop from "../../../transport/EventLoop.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import * as Listing from "./listing.ts"
import { responseOf } from "./response.ts"
import * as UserCommands from "./userCommands.ts"

/**
 * Executes a command and returns its response, which is at most `maxMessageSize` bytes large. A broadcast is committed
 * when this is called, and its response is an `Exit` if it is done then.
 */
export const execute = (
  vhost: Vhost,
  command: FromClient,
  maxMessageSize: number
): Effect.Effect<FromServer, StatusError> => {
  const { channels } = vhost
  switch (command._tag) {
    case "Broadcast":
      return broadcast(vhost, command)
    case "OpenChannel":
      return Effect.as(channels.open(command.channel), FromServer.Ok())
    case "CloseChannel":
      return Effect.as(channels.close(command.channel), FromServer.Ok())
    case "BroadcastAll":
      return Effect.flatMap(
        Effect.fromResult(decodeBroadcasts(command.broadcasts)),
        (broadcasts) => broadcastAll(vhost, broadcasts)
      )
    default:
      return UserCommands.isOne(command)
        ? UserCommands.execute(vhost, command)
        : executeOther(vhost, command, maxMessageSize - envelopeSize)
  }
}

type Executed = "OpenChannel" | "CloseChannel" | "Broadcast" | "BroadcastAll" | UserCommands.UserCommand["_tag"]
type Listed = "ListChannels" | "DescribeChannel" | "ListSubscribers" | "ListHistory" | "ListDeadLetters"

// Lists, and what is left.
const executeOther = (
  vhost: Vhost,
  command: Exclude<FromClient, { readonly _tag: Executed }>,
  maxSize: number
): Effect.Effect<FromServer, StatusError> => {
  const { channels } = vhost
  switch (command._tag) {
    case "ListChannels":
      return Effect.map(
        channels.listAfter(command.prefix, command.after),
        (channels) => Listing.channels(channels, maxSize)
      )
    case "DescribeChannel":
      return Effect.map(channels.describe(command.channel), (info) => responseOf(Listing.channel(info)))
    case "ListSubscribers":
      return Effect.map(
        channels.subscribersAfter(command.channel, command.after),
        (subscribers) => Listing.subscribers(subscribers, maxSize)
      )
    case "ListHistory":
      return history(vhost, command, maxSize)
    case "ListDeadLetters":
      return Effect.map(vhost.deadLettersAfter(command.after), (items) => Listing.deadLetters(items, maxSize))
    default:
      return executeLast(vhost, command)
  }
}

// Dead letters, and what other modules execute.
const executeLast = (
  vhost: Vhost,
  command: Exclude<FromClient, { readonly _tag: Executed | Listed }>
): Effect.Effect<FromServer, StatusError> => {
  const { deadLetters } = vhost
  switch (command._tag) {
    case "ReplayDeadLetter":
      return Effect.flatMap(vhost.replay(command.id), (found) => found ? ok : noLetter(command.id))
    case "ReplayDeadLetters":
      return Effect.map(vhost.replayAll, (replayed) => responseOf(replayed satisfies typeof Response.Replayed.Type))
    case "DiscardDeadLetter":
      return Effect.flatMap(
        deadLetters.take(command.id),
        (letter) => letter === undefined ? noLetter(command.id) : ok
      )
    case "DiscardDeadLetters":
      return Effect.map(
        deadLetters.takeAll,
        ({ length }) => responseOf({ discarded: length } satisfies typeof Response.Discarded.Type)
      )
    case "Request":
    case "Trigger":
      return Effect.die(new Error(`${command._tag} is executed by clientEvents`))
    case "Ready":
    case "Ack":
    case "Nack":
    case "Respond":
    case "Heartbeat":
    case "Quit":
      return Effect.fail(new BadRequestError({ detail: "only a worker sends this command" }))
  }
}

const history = (
  { channels }: Vhost,
  { after, channel, limit }: Extract<FromClient, { readonly _tag: "ListHistory" }>,
  maxSize: number
): Effect.Effect<FromServer, StatusError> => {
  const options = { after, limit: limit > 0 ? limit : Infinity, maxSize: maxSize - Listing.frameSize }
  return Effect.map(channels.history(channel, options), Listing.history)
}

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
  if (!isDone(committed)) return Effect.as(committed, FromServer.Ok())
  return Exit.isSuccess(committed) ? ok : Exit.failCause(committed.cause)
}

/** Whether an effect is done, so that its `Exit` can be read. */
export const isDone = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Exit<A, E> => Exit.isExit(effect)

// It yields to the event loop in between, since each of them may go to thousands of browsers.
const broadcastAll = Effect.fnUntraced(function*({ channels }: Vhost, broadcasts: ReadonlyArray<Broadcast>) {
  const codes: Array<number> = []
  const persisting: Array<number> = []
  for (const [index, [channel, event, data, exceptSid]] of broadcasts.entries()) {
    EventLoop.begin()
    const committed = channels.broadcastUnsafe({ _tag: "Broadcast", channel, event, data, exceptSid })
    codes.push(yield* Effect.match(committed, { onSuccess: () => 204, onFailure: ({ code }) => code }))
    if (codes[index] === 204 && channels.isPersisted(channel)) persisting.push(index)
    if (EventLoop.isOver()) yield* EventLoop.next
  }
  if (persisting.length > 0) {
    yield* Effect.catch(channels.persisted, ({ code }) => {
      for (const index of persisting) codes[index] = code
      return Effect.void
    })
  }
  return responseOf(codes satisfies typeof Response.Broadcasts.Type)
})

const ok: Exit.Exit<FromServer> = Exit.succeed(FromServer.Ok())

const noLetter = (id: string) => Effect.fail(new DeadLetterNotFoundError({ id }))
