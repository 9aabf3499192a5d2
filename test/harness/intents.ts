/**
 * Generated intents on a few channels, by a few browsers, and all that can be read of the state that they make.
 */
import { Arbitrary, Result } from "effect"
import * as JsonText from "../../src/protocol/JsonText.ts"
import type { Browser, Subscription } from "../../src/server/domain/Browser.ts"
import * as Permission from "../../src/server/domain/Permission.ts"
import * as BrowserSubscriptions from "../../src/server/engine/internal/browserSubscriptions.ts"
import type { Channel } from "../../src/server/engine/internal/channel.ts"
import * as RulesText from "../../src/server/engine/internal/rulesText.ts"
import type { VhostState } from "../../src/server/engine/internal/vhostState.ts"
import type { Intent } from "../../src/server/engine/Log.ts"
import { int, pick } from "../protocol/arbitraries.ts"
import * as Vhost from "./vhost.ts"

export const permit = (uid: string, pattern = ".*") => Result.getOrThrow(Permission.make(uid, pattern))
const permissions = [undefined, permit("joe"), permit("ann", ".*a")]
const names = ["room", "private-a", "presence-a", "presence-b", "bad name"] as const
export const sids = ["a", "b", "c", "gone"] as const

/** Some channels are opened on demand, with history or without. */
export const rules = [
  Vhost.rules({ pattern: "presence-b|bad.*", openOnDemand: true, history: { count: 2 } }, {
    pattern: ".*-a",
    openOnDemand: true
  }),
  Vhost.rules({ pattern: "presence-.*", openOnDemand: true }, { pattern: "room", maxSubscribers: 1, history: true })
] as const

const datas = [{}, { n: 1 }, { text: "x".repeat(15) }, { text: "x".repeat(500) }].map(JsonText.fromObject)

export type MakeIntent = (browsers: Record<string, Browser>) => Intent

/** Joining is more frequent than the rest, so that there is somebody on the channels. */
export const anyIntent: Arbitrary.Arbitrary<MakeIntent> = Arbitrary.map(
  Arbitrary.all({
    tag: pick(
      [
        "OpenChannel",
        "OpenChannel",
        "CloseChannel",
        "Broadcast",
        "SendTo",
        "Disconnect",
        "Join",
        "Join",
        "Join",
        "Update",
        "Leave",
        "Leave",
        "EndGrace",
        "SetRules"
      ]
    ),
    channel: pick(names),
    sid: pick(sids),
    other: pick(sids),
    uid: pick(["joe", "nobody"]),
    permission: pick(permissions),
    hidden: Arbitrary.map(int(0, 3), (n) => n === 0),
    isRequested: pick([true, false]),
    data: pick(datas)
  }),
  ({ channel, data, hidden, isRequested, other, permission, sid, tag, uid }): MakeIntent => (browsers) => {
    const browser = browsers[sid]!
    switch (tag) {
      case "OpenChannel":
      case "CloseChannel":
        return { _tag: tag, channel }
      case "Broadcast":
        return { _tag: tag, channel, event: "e", data, from: isRequested ? browser : undefined, exceptSid: other }
      case "SendTo":
        return { _tag: tag, sid, event: "e", data }
      case "Disconnect":
        return hidden ? { _tag: tag, by: "uid", who: uid } : { _tag: tag, by: "sid", who: sid }
      case "Join":
        return { _tag: tag, channel, browser, permission, hidden, data, id: isRequested ? 1 : undefined }
      case "Update":
        return { _tag: tag, channel, browser, data }
      case "EndGrace":
        return { _tag: tag, channel, ...hidden ? { uid: undefined, sid: undefined } : { uid, sid } }
      case "SetRules":
        return { _tag: tag, rules: rules[hidden ? 1 : 0] }
      case "Leave":
        return {
          _tag: tag,
          channel,
          browser,
          farewell: data,
          request: isRequested ? { id: 1 } : undefined,
          mayReturn: !isRequested
        }
    }
  }
)

export const inGrace = ({ graces }: Channel) => [...graces?.values() ?? []].flat().map(({ item }) => item)

// The texts of a member are written when somebody needs them.
const plain = (subscription: Subscription | undefined) =>
  subscription && { ...subscription, browser: subscription.browser.sid, member: subscription.member?.uid }

/** All that can be read of a state. */
export const contentOf = (
  { channels, counters, departed, graces, head, histories, onDemand, ordered, rules, subscriptions }: VhostState
) => ({
  head,
  graces: [graces.size, graces.ends.size],
  onDemand,
  rules: RulesText.write(rules),
  retained: histories.size,
  departed: [departed.floor, ...departed.beginnings.entries],
  counters: { ...counters },
  ordered: ordered.entries.flatMap(({ cursor, value }) => value === undefined ? [] : [[cursor, value.name]]),
  channels: Array.from(channels.values(), ({ cursor, value }) => ({
    cursor,
    name: value!.name,
    rule: { ...value!.rule },
    isOnDemand: value!.isOnDemand,
    history: value!.history && [value!.history.opened, value!.history.floor, value!.history.size],
    // Each node has its own first.
    subscriptions: [...value!.subscriptions.entries()].toSorted((one, other) => one.cursor - other.cursor).map((
      { cursor, value }
    ) => [cursor, plain(value)]),
    visible: value!.visible.entries.flatMap(({ cursor, value }) => value === undefined ? [] : [[cursor, plain(value)]]),
    membersOf: [...value!.membersOf],
    graces: inGrace(value!).map(({ member, size, uid, until }) => [uid, plain(member?.value), size, until])
  })),
  browsers: Array.from(subscriptions.channels, ([browser, channels]) => [
    browser.sid,
    [...channels].map(({ name }) => name),
    BrowserSubscriptions.dataSizeOf(subscriptions, browser)
  ])
})
