/**
 * Lists as responses to a Client: as many entries as fit into one message, and the cursor where the list continues.
 */

import * as Result from "effect/Result"
import { FromServer } from "../../../protocol/Command.ts"
import { byteLength } from "../../../protocol/Frame.ts"
import type * as Response from "../../../protocol/Response.ts"
import { decodeEvent, decodeOrigin } from "../../../protocol/Trigger.ts"
import type { ChannelInfo, Listed, Part, Subscriber } from "../../engine/Channels.ts"
import type { DeadLetter } from "../../engine/DeadLetters.ts"
import type { HistoryPart } from "../../engine/Log.ts"

/** A part of the open channels, in a response of at most `maxSize` bytes. */
export const channels = (part: Part<ChannelInfo>, maxSize: number): FromServer =>
  list("channels", part, (info) => JSON.stringify(channel(info)), maxSize)

/** A channel as a JSON value. */
export const channel = ({ name, subscribers }: ChannelInfo): typeof Response.Channel.Type => ({ name, subscribers })

/** A part of the subscribers of a channel, in a response of at most `maxSize` bytes. */
export const subscribers = (part: Part<Subscriber>, maxSize: number): FromServer =>
  list("subscribers", part, writeSubscriber, maxSize)

/** A part of the broadcasts that a channel retains. */
export const history = ({ entries, more }: HistoryPart): FromServer =>
  responseOf(
    "broadcasts",
    entries.map(({ message, position }) => `{"position":${position},"message":${message}}`),
    more ? entries.at(-1)?.position ?? null : null
  )

/** Dead letters, in a response of at most `maxSize` bytes. */
export const deadLetters = (items: Iterable<Listed<DeadLetter>>, maxSize: number): FromServer =>
  list("deadLetters", { items, next: undefined }, (letter) => writeDeadLetter(letter, maxSize), maxSize)

// In the shape of `Response.Subscriber`. The data are the text that the browser sent.
const writeSubscriber = ({ browser: { sid }, data, info, isAway, uid }: Subscriber): string => {
  const head = JSON.stringify({ sid, uid, away: isAway }).slice(0, -1)
  return `${head}${info === undefined ? "" : `,"info":${info.text}`},"data":${data.text}}`
}

// A dead letter that is too large is listed without its data.
const writeDeadLetter = (letter: DeadLetter, maxSize: number): string => {
  const { attempts, failedAt, id, json, reason } = letter
  const { channel, sid, uid } = decodeOrigin(letter.origin ?? "")
  const { data, event } = Result.getOrElse(decodeEvent(json), () => ({ event: "", data: null }))
  const rest = { size: byteLength(json), origin: { sid, uid, channel }, attempts, reason, failedAt }
  const whole = JSON.stringify({ id, event, data, ...rest } satisfies typeof Response.DeadLetter.Encoded)
  if (entrySize(whole) + frameSize <= maxSize) return whole
  const short = { id, event: shortened(event), data: null, ...rest }
  return JSON.stringify(short satisfies typeof Response.DeadLetter.Encoded)
}

const shortened = (event: string): string => event.length > 200 ? `${event.slice(0, 200)}…` : event

/** The bytes of a list beside its entries. */
export const frameSize = 100

const entrySize = (entry: string): number => byteLength(entry) + 1

// At least one entry, so that a listing always continues.
const list = <A>(
  name: string,
  part: { readonly items: Iterable<Listed<A>>; readonly next: number | undefined },
  write: (value: A) => string,
  maxSize: number
): FromServer => {
  const entries: Array<string> = []
  let size = frameSize
  let next: number | null = null
  for (const { cursor, value } of part.items) {
    const entry = write(value)
    size += entrySize(entry)
    if (size > maxSize && entries.length > 0) return responseOf(name, entries, next)
    entries.push(entry)
    next = cursor
  }
  return responseOf(name, entries, part.next ?? null)
}

const responseOf = (name: string, entries: ReadonlyArray<string>, next: number | null): FromServer =>
  FromServer.Response({ json: `{${JSON.stringify(name)}:[${entries.join(",")}],"next":${next}}` })
