/**
 * What a vhost answers to a Client.
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Answer from "../../../protocol/Answer.ts"
import { type FromClient, FromServer } from "../../../protocol/Command.ts"
import { byteLength, envelopeSize } from "../../../protocol/Frame.ts"
import * as Json from "../../../protocol/Json.ts"
import { BadRequestError, DeadLetterNotFoundError, type StatusError } from "../../../protocol/KosmonautError.ts"
import { decodeEvent, decodeOrigin } from "../../../protocol/Trigger.ts"
import * as EventLoop from "../../../transport/EventLoop.ts"
import type { Subscription } from "../../domain/Browser.ts"
import type { ChannelInfo, Placed } from "../../engine/Channels.ts"
import type { DeadLetter } from "../../engine/DeadLetters.ts"
import type { Vhost } from "../../engine/Vhosts.ts"

/**
 * Carries out a command and gives the answer, which is never larger than `maxMessageSize`. A broadcast is carried out when
 * this is called, and its answer is an `Exit`.
 */
export const answer = (
  vhost: Vhost,
  command: FromClient,
  maxMessageSize: number
): Effect.Effect<FromServer, StatusError> => {
  const { accessTokens, channels, browsers } = vhost
  const largest = maxMessageSize - envelopeSize
  switch (command._tag) {
    case "OpenChannel":
      return Effect.as(channels.open(command.channel), FromServer.Ok())
    case "CloseChannel":
      return Effect.as(channels.close(command.channel), FromServer.Ok())
    case "Broadcast":
      return broadcastUnsafe(vhost, command)
    case "AccessToken":
      return Effect.map(
        accessTokens.issue(command.uid, command.pattern),
        (token) => FromServer.AccessTokenIssued({ token: Redacted.value(token) })
      )
    case "BroadcastAll":
      return Effect.flatMap(
        Effect.fromResult(decodeBroadcasts(command.broadcasts)),
        (broadcasts) => broadcastAll(vhost, broadcasts)
      )
    case "SendTo":
      return Effect.as(
        browsers.sendTo(command.sid, command.event, command.data),
        FromServer.Ok()
      )
    case "ListChannels":
      return Effect.sync(() =>
        tellPart("channels", channels.listAfter(command.prefix, command.after), write(channelOf), largest)
      )
    case "DescribeChannel":
      return Effect.map(channels.describe(command.channel), (info) => tell(channelOf(info)))
    case "ListSubscribers":
      return Effect.map(
        channels.subscribersAfter(command.channel, command.after),
        (subscribers) => tellPart("subscribers", subscribers, writeSubscriber, largest)
      )
    case "Disconnect":
      return Effect.map(
        browsers.disconnect(command.by, command.who),
        (disconnected) => tell({ disconnected } satisfies typeof Answer.Disconnected.Type)
      )
    case "ListDeadLetters":
      return Effect.map(
        vhost.deadLettersAfter(command.after),
        (items) =>
          tellPart("deadLetters", { items, next: undefined }, (letter) => writeDeadLetter(letter, largest), largest)
      )
    case "ReplayDeadLetter":
      return Effect.flatMap(vhost.replay(command.id), (found) => found ? ok : noLetter(command.id))
    case "ReplayDeadLetters":
      return Effect.map(vhost.replayAll, (replayed) => tell(replayed satisfies typeof Answer.Replayed.Type))
    case "DiscardDeadLetter":
      return Effect.flatMap(
        vhost.deadLetters.take(command.id),
        (letter) => letter === undefined ? noLetter(command.id) : ok
      )
    case "DiscardDeadLetters":
      return Effect.map(
        vhost.deadLetters.takeAll,
        ({ length }) => tell({ discarded: length } satisfies typeof Answer.Discarded.Type)
      )
    default:
      return Effect.fail(new BadRequestError({ detail: "only a worker says this" }))
  }
}

// (In the shape that `FromClient.BroadcastAll` says.)
type Broadcast = readonly [channel: string, event: string, data: Json.JsonObject, exceptSid?: string]

// By hand: a Schema takes fifty times as long, and there may be tens of thousands. What was parsed is JSON.
const isBroadcast = (value: unknown): value is Broadcast =>
  Array.isArray(value) && (value.length === 3 || value.length === 4 && typeof value[3] === "string") &&
  typeof value[0] === "string" && typeof value[1] === "string" && value[1] !== "" && Json.isObject(value[2])

const decodeBroadcasts = (json: string): Result.Result<ReadonlyArray<Broadcast>, BadRequestError> => {
  const value = Result.getOrUndefined(Json.parse(json))
  return Array.isArray(value) && value.every(isBroadcast)
    ? Result.succeed(value)
    : Result.fail(new BadRequestError({ detail: "BA needs an array of broadcasts" }))
}

const broadcastUnsafe = (
  { channels }: Vhost,
  command: Extract<FromClient, { readonly _tag: "Broadcast" }>
): Exit.Exit<FromServer, StatusError> => {
  const { channel, data, event } = command
  const exit = channels.broadcastUnsafe(channel, event, data, command)
  return Exit.isSuccess(exit) ? ok : Exit.failCause(exit.cause)
}

// Others have their turn in between: each of them may go to thousands of browsers.
const broadcastAll = Effect.fnUntraced(function*({ channels }: Vhost, broadcasts: ReadonlyArray<Broadcast>) {
  const codes: Array<number> = []
  for (const [channel, event, data, exceptSid] of broadcasts) {
    EventLoop.begin()
    const exit = channels.broadcastUnsafe(channel, event, data, { exceptSid })
    codes.push(yield* Effect.match(exit, { onSuccess: () => 204, onFailure: ({ code }) => code }))
    if (EventLoop.isOver()) yield* EventLoop.next
  }
  return tell(codes satisfies typeof Answer.Broadcasts.Type)
})

const channelOf = ({ name, subscribers }: ChannelInfo): typeof Answer.Channel.Type => ({ name, subscribers })

// (In the shape that `Answer.Subscriber` says; the data are the text that came.)
const writeSubscriber = ({ data, browser: { sid }, uid }: Subscription): string =>
  `${JSON.stringify({ sid, uid }).slice(0, -1)},"data":${data.text}}`

const tell = (value: unknown): FromServer => FromServer.Answer({ json: JSON.stringify(value) })

const ok: Exit.Exit<FromServer> = Exit.succeed(FromServer.Ok())

const noLetter = (id: string) => Effect.fail(new DeadLetterNotFoundError({ id }))

// What has no room with its data is told without.
const writeDeadLetter = (letter: DeadLetter, largest: number): string => {
  const { attempts, failedAt, id, json, reason } = letter
  const { channel, sid, uid } = decodeOrigin(letter.origin ?? "")
  const { data, event } = Result.getOrElse(decodeEvent(json), () => ({ event: "", data: null }))
  const about = { size: byteLength(json), origin: { sid, uid, channel }, attempts, reason, failedAt }
  const whole = JSON.stringify({ id, event, data, ...about } satisfies typeof Answer.DeadLetter.Encoded)
  if (partSize(whole) + restSize <= largest) return whole
  const short = { id, event: shortened(event), data: null, ...about }
  return JSON.stringify(short satisfies typeof Answer.DeadLetter.Encoded)
}

const shortened = (event: string): string => event.length > 200 ? `${event.slice(0, 200)}…` : event

// What an answer has besides the parts of its list.
const restSize = 100

const write = <A>(shape: (value: A) => object) => (value: A): string => JSON.stringify(shape(value))

const partSize = (part: string): number => byteLength(part) + 1

// As much of a list as fits, and the place to go on from.
const tellPart = <A>(
  name: string,
  list: { readonly items: Iterable<Placed<A>>; readonly next: number | undefined },
  write: (value: A) => string,
  largest: number
): FromServer => {
  const parts: Array<string> = []
  let size = restSize
  let next: number | null = null
  for (const { place, value } of list.items) {
    const part = write(value)
    size += partSize(part)
    if (size > largest && parts.length > 0) return FromServer.Answer({ json: listOf(name, parts, next) })
    parts.push(part)
    next = place
  }
  return FromServer.Answer({ json: listOf(name, parts, list.next ?? null) })
}

const listOf = (name: string, parts: ReadonlyArray<string>, next: number | null): string =>
  `{${JSON.stringify(name)}:[${parts.join(",")}],"next":${next}}`
