/**
 * The frames of commands: written, and read from any input without throwing.
 *
 * Frames here have no identity and no envelope; the transport adds them. Unknown frames after the arguments are ignored.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import { integer } from "./Argument.ts"
import {
  argumentsOfWord,
  type Description,
  descriptions,
  FromClient,
  FromServer,
  type ReadyOptions
} from "./Command.ts"
import type { Frames } from "./Frame.ts"
import * as Json from "./Json.ts"
import { BadRequestError, MessageDecodeError } from "./KosmonautError.ts"
import type { Delivery } from "./Trigger.ts"

/**
 * The frames of a backend's command. `traceparent` is its span, as W3C trace context has it; it is sent in a frame after the
 * arguments, which the original ignores.
 *
 * @since 0.1.0
 */
export const encodeFromClient = (command: FromClient, traceparent?: string): Frames =>
  traceparent === undefined ? frames(command) : [...frames(command), JSON.stringify({ traceparent })]

const frames = (command: FromClient): Frames => {
  switch (command._tag) {
    case "Broadcast": {
      const { channel, data, event, exceptSid } = command
      return exceptSid === undefined ? ["BC", channel, event, data] : ["BX", channel, event, data, exceptSid]
    }
    case "Ready":
      return command.options === undefined ? ["RD"] : ready(command.options)
    case "Ack":
      return ["AK", ...command.deliveries]
    case "Respond":
      return ["RP", command.delivery, command.outcome, command.json]
    default:
      return regular(descriptions[command._tag], command)
  }
}

const regular = ({ arguments: fields, word }: Description, command: object): Frames => {
  const frames = [word]
  if (Array.isArray(fields)) frames.push(...fields)
  else {
    for (const [field, { write }] of Object.entries(fields ?? {})) {
      frames.push(write((command as Readonly<Record<string, unknown>>)[field]))
    }
  }
  return frames
}

const ready = ({ prefetch, ...options }: ReadyOptions): Frames =>
  prefetch === undefined
    ? ["RD", JSON.stringify(options)]
    : ["RD", "ack", String(prefetch), JSON.stringify(options)]

/**
 * Reads a backend's command. Fails with the broker's response: 400 for a missing or empty argument and for an unknown
 * command.
 *
 * @since 0.1.0
 */
export const decodeFromClient = (frames: Frames): Result.Result<FromClient, BadRequestError> =>
  readers.get(frames[0] ?? "")?.(frames) ?? unknown

type Reader = (frames: Frames) => Result.Result<FromClient, BadRequestError>

const readerOf = (_tag: string, { arguments: fields, word }: Description, earlier: Reader | undefined): Reader => {
  if (Array.isArray(fields)) {
    return (frames) => fields.every((field, index) => frames[index + 1] === field) ? succeed({ _tag }) : unknown
  }
  const all = Object.entries(fields ?? {})
  const needed = missing(word, all.map(([_, { needed }]) => needed))
  return (frames) => {
    const read = earlier?.(frames)
    if (read !== undefined && Result.isSuccess(read)) return read
    const command: Record<string, unknown> = { _tag }
    for (let index = 0; index < all.length; index++) {
      const [field, { read }] = all[index]!
      const value = read(frames[index + 1])
      if (value === undefined) return needed
      command[field] = value
    }
    return succeed(command)
  }
}

// Its fields were read by the table, whose type has the fields of every command.
const succeed = (command: object) => Result.succeed(command as FromClient)

const missing = (word: string, needed: ReadonlyArray<string>) =>
  Result.fail(
    new BadRequestError({
      detail: `${word} needs ${
        needed.length > 1 ? `${needed.slice(0, -1).join(", ")} and ${needed.at(-1)}` : needed[0]
      }`
    })
  )

const unknown = Result.fail(new BadRequestError({ detail: "the command is unknown" }))

const readers: Map<string, Reader> = new Map()
for (const [tag, description] of Object.entries(descriptions)) {
  readers.set(description.word, readerOf(tag, description, readers.get(description.word)))
}
// Written without the table: this is the hot path of every Client.
const needsBroadcast = missing("BC", ["a channel", "an event", "data"])
readers.set("BC", (frames) => {
  const channel = frames[1]
  const event = frames[2]
  const data = frames[3]
  return channel && event && data !== undefined
    ? Result.succeed({ _tag: "Broadcast", channel, event, data })
    : needsBroadcast
})
const needsExcept = missing("BX", ["a channel", "an event", "data", "the sid of a browser"])
readers.set("BX", ([_, channel, event, data, exceptSid]) =>
  channel && event && data && exceptSid
    ? Result.succeed({ _tag: "Broadcast", channel, event, data, exceptSid })
    : needsExcept)
readers.set("RD", (frames) => Result.succeed(FromClient.Ready({ options: readyOptions(frames) })))
const needsDelivery = missing("AK", ["a delivery"])
readers.set(
  "AK",
  ([_, ...deliveries]) => deliveries[0] ? Result.succeed(FromClient.Ack({ deliveries })) : needsDelivery
)

/**
 * The span of a Client's request, if it sent one.
 *
 * @since 0.1.0
 */
export const traceparentOf = (frames: Frames): string | undefined => {
  const more = extra(frames, argumentsOfWord(frames[0]))
  return more === undefined ? undefined : text(Json.parseObjectOrEmpty(more).traceparent)
}

// Our additions to the original's commands are in a JSON object in a frame of its own, after the arguments.
const extra = (frames: Frames, arity: number): string | undefined =>
  frames.length <= arity + 1 ? undefined : frames.find((frame, index) => index > arity && frame.startsWith("{"))

const readyOptions = (frames: Frames): ReadyOptions | undefined => {
  const options = extra(frames, 0)
  const acknowledges = frames[1] === "ack"
  if (options === undefined && !acknowledges) return undefined
  const { lifecycle, maxAttempts, responses } = Json.parseObjectOrEmpty(options ?? "")
  return {
    lifecycle: lifecycle === true,
    ...responses === true && { responses },
    ...acknowledges && { prefetch: Math.max(0, integer(frames[2])) },
    ...typeof maxAttempts === "number" && { maxAttempts }
  }
}

const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

/**
 * The frames of a broker's command.
 *
 * @since 0.1.0
 */
export const encodeFromServer: (command: FromServer) => Frames = FromServer.$match({
  Ok: () => ["OK"],
  Response: ({ json }) => ["OK", json],
  AccessTokenIssued: ({ token }) => ["AT", token],
  Failure: ({ code, reason }) =>
    reason === undefined ? ["ER", String(code)] : ["ER", String(code), JSON.stringify({ reason })],
  Heartbeat: () => ["HB"],
  Quit: () => ["QT"],
  Trigger: ({ delivery, json, origin }) => encodeTrigger(json, origin, delivery)
})

/**
 * The frames of a `Trigger`, without the value.
 *
 * @since 0.1.0
 */
export const encodeTrigger = (json: string, origin: string | undefined, delivery: Delivery | undefined): Frames => {
  const frames = delivery === undefined ? ["TR", json] : ["TR", json, delivery.id, String(delivery.attempt)]
  if (origin !== undefined) frames.push(origin)
  return frames
}

/**
 * Reads a broker's command. Fails if it is unknown or incomplete.
 *
 * @since 0.1.0
 */
export const decodeFromServer = (frames: Frames): Result.Result<FromServer, MessageDecodeError> => {
  const [command, first] = frames
  switch (command) {
    case "OK":
      return first ? Result.succeed(FromServer.Response({ json: first })) : ok
    case "AT":
      return first ? Result.succeed(FromServer.AccessTokenIssued({ token: first })) : malformed("AT has no token")
    case "ER":
      return first !== undefined && /^\d{3}$/.test(first)
        ? Result.succeed(FromServer.Failure({ code: Number(first), ...reasonIn(frames) }))
        : malformed("ER has no status code")
    case "HB":
      return Result.succeed(FromServer.Heartbeat())
    case "QT":
      return Result.succeed(FromServer.Quit())
    case "TR":
      return first !== undefined
        ? Result.succeed({ _tag: "Trigger", json: first, origin: extra(frames, 1), delivery: deliveryIn(frames) })
        : malformed("TR has no event")
    default:
      return malformed(`the broker's command ${JSON.stringify(String(command).slice(0, 20))} is unknown`)
  }
}

const reasonIn = (frames: Frames): { readonly reason: string } | undefined => {
  const more = extra(frames, 1)
  const reason = more === undefined ? undefined : text(Json.parseObjectOrEmpty(more)["reason"])
  return reason === undefined ? undefined : { reason }
}

const deliveryIn = ([_, __, id, attempt]: Frames): Delivery | undefined =>
  id === undefined || id === "" || id.startsWith("{") ? undefined : { id, attempt: Math.max(1, integer(attempt)) }

const ok = Result.succeed(FromServer.Ok())

const malformed = (detail: string) => Result.fail(new MessageDecodeError({ detail }))
