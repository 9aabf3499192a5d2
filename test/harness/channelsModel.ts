/**
 * What each browser receives after any steps on channels, as the protocol describes it. It knows nothing of how the broker does it.
 */
import { Arbitrary, Effect } from "effect"
import type { JsonObject } from "../../src/protocol/Json.ts"
import {
  type BadRequestError,
  ChannelNotFoundError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError,
  type TooManyRequestsError
} from "../../src/protocol/KosmonautError.ts"
import type { Event } from "../../src/protocol/Trigger.ts"
import type * as Channels from "../../src/server/engine/Channels.ts"
import { int, pick } from "../protocol/arbitraries.ts"
import { permit } from "./channels.ts"
import * as FakeBrowser from "./FakeBrowser.ts"

const names = ["room", "private-a", "presence-a", "presence-b", "other"] as const
export const sids = ["a", "b", "c"] as const

type Step =
  | { readonly do: "open" | "close"; readonly name: string }
  | {
    readonly do: "subscribe"
    readonly name: string
    readonly sid: string
    readonly uid: string | undefined
    readonly hidden: boolean
    readonly data: JsonObject
  }
  | { readonly do: "unsubscribe"; readonly name: string; readonly sid: string; readonly data: JsonObject }
  | {
    readonly do: "broadcast"
    readonly name: string
    readonly sid: string | undefined
    readonly exceptSid: string | undefined
    readonly data: JsonObject
  }
  | { readonly do: "leave"; readonly sid: string }

const anyData = pick<JsonObject>([{}, { n: 1 }, { n: 2, m: 3 }, { uid: "forged", channel: "forged", sid: "forged" }])

/** Opening and subscribing are more frequent than the rest, so that there are subscribers. */
export const step: Arbitrary.Arbitrary<Step> = Arbitrary.map(
  Arbitrary.all({
    kind: pick(
      ["open", "open", "close", "subscribe", "subscribe", "subscribe", "unsubscribe", "broadcast", "broadcast", "leave"]
    ),
    name: pick(names),
    sid: pick(sids),
    // Nobody, joe who may join everything, or ann who may join what ends in "a".
    uid: pick([undefined, "joe", "joe", "ann"]),
    hidden: Arbitrary.map(int(0, 3), (n) => n === 0),
    exceptSid: pick([undefined, undefined, "a", "b", "nobody"]),
    fromBackend: Arbitrary.map(int(0, 1), (n) => n === 0),
    data: anyData
  }),
  ({ data, exceptSid, fromBackend, hidden, kind, name, sid, uid }): Step => {
    switch (kind) {
      case "open":
      case "close":
        return { do: kind, name }
      case "subscribe":
        return { do: kind, name, sid, uid, hidden, data }
      case "unsubscribe":
        return { do: kind, name, sid, data }
      case "broadcast":
        return { do: kind, name, sid: fromBackend ? undefined : sid, exceptSid, data }
      case "leave":
        return { do: kind, sid }
    }
  }
)

const patterns: Record<string, string> = { joe: ".*", ann: ".*a" }

/** Gives the error's code, if there is one. */
export const carryOut = (channels: Channels.Channels, step: Step, browser: FakeBrowser.FakeBrowser | undefined) => {
  const effect = (): Effect.Effect<
    unknown,
    | BadRequestError
    | InvalidChannelNameError
    | InternalError
    | ChannelNotFoundError
    | ForbiddenError
    | NotSubscribedError
    | TooManyRequestsError
  > => {
    switch (step.do) {
      case "open":
        return channels.open(step.name)
      case "close":
        return channels.close(step.name)
      case "subscribe": {
        const permission = step.uid === undefined ? undefined : permit(step.uid, patterns[step.uid])
        return channels.subscribe(step.name, browser!, { permission, hidden: step.hidden, data: step.data })
      }
      case "unsubscribe":
        return channels.unsubscribe(step.name, browser!, step.data)
      case "broadcast":
        return channels.broadcast(step.name, "event", step.data, { from: browser, exceptSid: step.exceptSid })
      case "leave":
        return channels.leave(browser!)
    }
  }
  return Effect.match(effect(), { onFailure: (error) => error.code, onSuccess: () => undefined })
}

/** A lifecycle event, as the model says it. */
export const shortly = ({ data, event }: Event): string => {
  const { channel, uid } = data as Record<string, string>
  const what = uid === undefined ? channel : `${uid} on ${channel}`
  const verbs: Record<string, string> = {
    channelOccupied: "came",
    memberJoined: "came",
    channelVacated: "went",
    memberLeft: "went"
  }
  return `${verbs[event.replace(":lifecycle/", "")]}: ${what}`
}

interface Member {
  readonly sid: string
  readonly uid: string | undefined
  readonly isVisible: boolean
  readonly hidden: boolean
  readonly data: JsonObject
}

/** Makes a model without channels. */
export const make = (maxChannels: number) => {
  let open: ReadonlyArray<{ readonly name: string; members: ReadonlyArray<Member> }> = []
  const inboxes: Record<string, Array<unknown>> = { a: [], b: [], c: [] }
  const tell = (sid: string, event: string, payload: object) => inboxes[sid]!.push({ [event]: payload })
  const counters = { broadcasts: 0, deliveries: 0 }
  const isPresence = (name: string) => name.startsWith("presence-")

  const remove = (channel: typeof open[number], sid: string, farewell: JsonObject) => {
    const leaving = channel.members.find((member) => member.sid === sid)
    if (leaving === undefined) return
    channel.members = channel.members.filter((member) => member !== leaving)
    if (!leaving.isVisible) return
    for (const member of channel.members) {
      tell(member.sid, ":memberLeft", { ...leaving.data, ...farewell, channel: channel.name, uid: leaving.uid })
    }
  }

  const carryOut = (step: Step): number | undefined => {
    const channel = "name" in step ? open.find(({ name }) => name === step.name) : undefined
    if (step.do === "open") {
      if (channel !== undefined) return undefined
      if (open.length === maxChannels) return 597
      open = [...open, { name: step.name, members: [] }]
      return undefined
    }
    if (step.do === "leave") {
      for (const channel of open) remove(channel, step.sid, {})
      return undefined
    }
    if (channel === undefined) return 454
    const isOn = "sid" in step && channel.members.some(({ sid }) => sid === step.sid)
    switch (step.do) {
      case "close":
        open = open.filter((other) => other !== channel)
        for (const { sid } of channel.members) tell(sid, ":unsubscribed", { channel: step.name })
        return undefined
      case "subscribe": {
        const isNormal = step.name === "room" || step.name === "other"
        if (!isNormal && (step.uid === undefined || (step.uid === "ann" && !step.name.endsWith("a")))) return 403
        if (isOn) return undefined
        const isVisible = isPresence(step.name) && !step.hidden
        const uid = isNormal ? undefined : step.uid
        const here = channel.members.filter((member) => member.isVisible)
        tell(step.sid, ":subscribed", {
          channel: step.name,
          ...(!isNormal && { uid }),
          ...(isPresence(step.name) && {
            subscribers: here.map((member) => ({ ...member.data, channel: step.name, uid: member.uid }))
          })
        })
        channel.members = [...channel.members, { sid: step.sid, uid, isVisible, hidden: step.hidden, data: step.data }]
        if (!isVisible) return undefined
        for (const { sid } of channel.members) tell(sid, ":memberJoined", { ...step.data, channel: step.name, uid })
        return undefined
      }
      case "unsubscribe":
        if (!isOn) return 453
        tell(step.sid, ":unsubscribed", { channel: step.name })
        remove(channel, step.sid, step.data)
        return undefined
      case "broadcast":
        if (step.sid !== undefined && !isOn) return 453
        counters.broadcasts++
        for (const { sid } of channel.members) {
          if (sid === step.exceptSid) continue
          counters.deliveries++
          tell(sid, "event", { ...step.data, channel: step.name, ...(step.sid !== undefined && { sid: step.sid }) })
        }
        return undefined
    }
  }

  return {
    carryOut,
    /** The channels with subscribers, and the members of presence channels. */
    present: () => [
      ...open.flatMap(({ members, name }) => members.length > 0 ? [name] : []),
      ...new Set(
        open.flatMap(({ members, name }) =>
          members.flatMap(({ isVisible, uid }) => isVisible ? [`${uid} on ${name}`] : [])
        )
      )
    ],
    subscribers: (name: string) =>
      open.find((channel) => channel.name === name)!.members.flatMap(({ hidden, sid }) => hidden ? [] : [sid]),
    counters: () => ({
      ...counters,
      channels: open.length,
      subscriptions: open.reduce((sum, { members }) => sum + members.length, 0)
    }),
    heard: (sid: string) => inboxes[sid]!.splice(0),
    list: () => open.map(({ members, name }) => [name, members.length])
  }
}
