/**
 * What the broker sends, and whom it concerns.
 *
 * Keys and names with `:` that are not known here are ignored: the protocol grows by them.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import * as Authentication from "./authentication.ts"
import * as Calls from "./calls.ts"
import * as Connection from "./connection.ts"
import * as Failure from "./failure.ts"
import * as Presence from "./presence.ts"
import * as Recovery from "./recovery.ts"
import { emit, type Machine, version } from "./state.ts"
import * as Subscriptions from "./subscriptions.ts"

/** How many messages a batch may have, in either direction. */
export const maxBatch = 256

/** Handles a message, or a batch of them. */
export const receive = (machine: Machine, message: unknown): void => {
  if (!Array.isArray(message)) receiveOne(machine, message)
  else if (message.length > maxBatch) emit(machine, { _tag: "Error", failure: malformed })
  else message.forEach((one) => receiveOne(machine, one))
}

const receiveOne = (machine: Machine, message: unknown): void => {
  const names = isObject(message) ? Object.keys(message) : []
  // What the system says of an event stands beside it.
  const name = names.find((name) => !name.startsWith(":")) ?? names[0]
  const payload = isObject(message) && name !== undefined ? message[name] : undefined
  if (name === undefined || !isObject(payload)) {
    return emit(machine, { _tag: "Error", failure: malformed })
  }
  if (name === ":connected") return Connection.connected(machine, payload)
  if (version(machine) === undefined) return
  if (name.startsWith(":")) system(machine, name, payload)
  else {
    const { ":at": at, ":user": user } = message as JsonObject
    if (user !== undefined) event(machine, Subscriptions.inbox, name, payload, user)
    // No broadcast has this name.
    else event(machine, payload.channel === Subscriptions.inbox ? "" : payload.channel as string, name, payload, at)
  }
}

// Data of an event for this browser alone may have a `channel`, too: then it is one that this browser is not subscribed to.
const event = (machine: Machine, channel: string, event: string, data: JsonObject, at: unknown): void => {
  const subscription = machine.subscriptions.get(channel)
  if (subscription === undefined) {
    // An inbox that was just left.
    if (channel !== Subscriptions.inbox) emit(machine, { _tag: "Direct", event, data })
  } else if (Subscriptions.received(machine, subscription, at)) {
    const cursor = at === undefined ? undefined : Recovery.cursorOf(subscription)
    emit(machine, { _tag: "Event", channel, event, data, cursor })
  }
}

const system = (machine: Machine, name: string, payload: JsonObject): void => {
  const channel = payload.channel as string
  switch (name) {
    case ":authenticated":
      return Authentication.authenticated(machine, payload)
    case ":subscribed":
      return Subscriptions.subscribed(machine, channel, payload)
    case ":unsubscribed":
      return Subscriptions.unsubscribed(machine, channel, payload.reason)
    case ":members":
      return Subscriptions.receiveMembers(machine, channel, payload)
    case ":memberJoined":
      return Subscriptions.memberChanged(machine, channel, Presence.joined, payload)
    case ":memberUpdated":
      return Subscriptions.memberChanged(machine, channel, Presence.updated, payload)
    case ":memberMoved":
      return Subscriptions.memberChanged(machine, channel, Presence.moved, payload)
    case ":memberLeft":
      return Subscriptions.memberChanged(machine, channel, Presence.left, payload)
    case ":triggered":
    case ":updated":
      return Calls.respond(machine, payload.id, {})
    case ":response":
      return Calls.respond(machine, payload.id, payload)
    case ":error":
      return error(machine, payload)
  }
}

const error = (machine: Machine, { channel, code, event, id, reason, status }: JsonObject): void => {
  const sentence = [reason, status, "the broker failed"].find((value) => typeof value === "string") as string
  const failure = Failure.fromStatus(typeof code === "number" ? code : 597, sentence)
  if (Calls.reject(machine, id, failure)) return
  const isAbout = version(machine) === 0
    ? aboutWhat(machine, failure)
    : { event, channel: channel as string }
  if (isAbout.event === "auth" && Authentication.rejected(machine, failure)) return
  if (Subscriptions.rejected(machine, isAbout.event, isAbout.channel, failure)) return
  emit(machine, { _tag: "Error", failure })
}

// A broker without versions does not say what an error is about. It responds in order.
const aboutWhat = (machine: Machine, { code }: Failure.Failure): { event: unknown; channel: string } =>
  code === 402
    ? { event: "auth", channel: "" }
    : { event: "subscribe", channel: Subscriptions.oldestSent(machine) ?? "" }

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const malformed = Failure.make("InternalError", "the broker sent what is no message")
