/**
 * What a browser may be told after a message, by the protocol's tables, and messages that are close to the protocol.
 */
import { Arbitrary } from "effect"
import type { JsonObject } from "../../src/protocol/Json.ts"
import { jsonObject, key, oddKeys, oneOf, pick } from "../protocol/arbitraries.ts"

const channels = ["room", "private-room", "presence-room", "nope", "__proto__"]

export const nearlyMessage: Arbitrary.Arbitrary<string> = Arbitrary.map(
  Arbitrary.all({
    event: pick(
      [
        "auth",
        "subscribe",
        "subscribe",
        "unsubscribe",
        "broadcast",
        "broadcast",
        "trigger",
        "members",
        "ping",
        "close",
        "x"
      ]
    ),
    id: pick([undefined, undefined, undefined, 7, "a", 1.5, null]),
    channel: oneOf<unknown>(pick(channels), pick(channels), pick([7, null, "", {}])),
    name: oneOf<unknown>(pick(["hello", "chat/save", ...oddKeys]), key, pick([7, null, {}])),
    data: oneOf<unknown>(jsonObject, pick([undefined, 7, null, "x", []])),
    extra: pick<JsonObject>([{}, {}, { trigger: "t" }, { trigger: 7 }, { trigger: true }, { hidden: true }, {
      token: "nope"
    }, {
      token: 7
    }]),
    wrap: pick([0, 0, 0, 0, 0, 0, 1, 2])
  }),
  ({ channel, data, event, extra, id, name, wrap }) => {
    const message = { [event]: { channel, event: name, data, id, ...extra } }
    return JSON.stringify(wrap === 0 ? message : wrap === 1 ? [message] : { ...message, second: {} })
  }
)

/** An answer: the codes of `:error`, or the events that come, in their order. */
type Answer = ReadonlyArray<number | string>

export const matches = (answer: Answer, heard: ReadonlyArray<unknown>): boolean =>
  answer.length === heard.length && answer.every((expected, index) => {
    const entries = Object.entries(heard[index] as Record<string, JsonObject>)
    const [name, payload] = entries[0]!
    return entries.length === 1 &&
      (typeof expected === "number" ? name === ":error" && payload.code === expected : name === expected)
  })

export const legalAnswers = (message: string | Uint8Array): ReadonlyArray<Answer> => {
  const bad = [[400]]
  if (typeof message !== "string" || !message.isWellFormed()) return bad
  let value: unknown
  try {
    value = JSON.parse(message)
  } catch {
    return bad
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return bad
  const entries = Object.entries(value)
  const payload: unknown = entries[0]?.[1]
  if (entries.length !== 1 || typeof payload !== "object" || payload === null || Array.isArray(payload)) return bad
  const { channel, data, event, id, token, trigger } = payload as Record<string, unknown>
  if (id !== undefined && !Number.isSafeInteger(id) && !(typeof id === "string" && id.length <= 100)) return bad
  const hasData = data === undefined || data === null || (typeof data === "object" && !Array.isArray(data))
  const triggers = trigger !== undefined && trigger !== null && trigger !== false && trigger !== "" &&
    typeof trigger !== "number"
  const confirmed = id === undefined ? [] : [":triggered"]
  const isText = (text: unknown) => typeof text === "string" && text !== ""
  // Names that begin with ":" are the system's.
  const isName = (text: unknown) => isText(text) && !(text as string).startsWith(":")
  const unknownChannel = channel === "nope" || channel === "__proto__"
  switch (entries[0]![0]) {
    case "auth":
      return isText(token) ? [[402], [429]] : bad
    case "subscribe":
      if (!isText(channel) || !hasData) return bad
      if (unknownChannel) return [[454]]
      if (channel === "room") return [...(id === undefined ? [[]] : []), [":subscribed"]]
      return [[403], ...(id === undefined ? [[]] : []), [":subscribed"], [":subscribed", ":memberJoined"]]
    case "unsubscribe":
      return !isText(channel) || !hasData ? bad : unknownChannel ? [[454]] : [[453], [":unsubscribed"]]
    case "members":
      return !isText(channel) ? bad : unknownChannel ? [[454]] : [[453], [":members"]]
    case "broadcast":
      if (!isText(channel) || !isName(event) || (triggers && !isName(trigger)) || !hasData) return bad
      if (unknownChannel) return [[454]]
      return [[453], [event as string, ...confirmed], ...(triggers ? [[403], [597]] : [])]
    case "trigger":
      return isName(event) && hasData ? [[403], [597], confirmed] : bad
    case "ping":
      return [[":pong"]]
    case "close":
      return [[":closed"]]
    default:
      return bad
  }
}
