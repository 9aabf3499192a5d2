/**
 * What a node appends to the log that it shares with others, as text: intents, and which browsers and nodes there are.
 *
 * Browsers travel as their sid. Of a permission travels whether it allows the channel, which the node of the browser knows.
 * Nothing else of a user is read: data are a text, which was checked where it came from. Each operation has a letter, and its
 * fields in a fixed order, see `fields.ts`.
 */

import type { Id, Since } from "../../../protocol/BrowserMessage.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import type { Browser } from "../../domain/Browser.ts"
import type { Permission } from "../../domain/Permission.ts"
import type { Intent, Intents } from "../Log.ts"
import * as Fields from "./fields.ts"
import * as RulesText from "./rulesText.ts"
import type { Limits } from "./vhostState.ts"

/** What else there is beside intents. */
export interface Others {
  /** A node is there. All its browsers of before have ended. Its limits are those of all nodes now. */
  readonly EnterNode: { readonly limits: Limits }
  /** A browser has connected to the node that appends this. */
  readonly EnterBrowser: { readonly sid: string; readonly version: Browser["version"] }
  /** A browser has authenticated, or is that of no user any more. */
  readonly Identify: { readonly browser: Browser; readonly uid: string | undefined; readonly info: Permission["info"] }
  /** Time has passed: what is too old is dropped. */
  readonly Tick: {}
  /** A browser has disconnected. */
  readonly LeaveBrowser: { readonly browser: Browser; readonly mayReturn: boolean }
}

/** An operation that is no intent. */
export type Other = { readonly [One in keyof Others]: { readonly _tag: One } & Others[One] }[keyof Others]

/** What a node may append. */
export type Operation = Intent | Other

/** The browser with a sid, one that is not connected too. */
export type BrowserOf = (sid: string) => Browser

/** Writes an operation. */
export const write = (operation: Operation): string => {
  const { letter, write } = codecs[operation._tag] as Codec<Operation>
  return letter + write(operation)
}

/** Reads the next operation; `undefined` if it is none that this version of the broker knows. */
export const read = (reader: Fields.Reader, browserOf: BrowserOf): Operation | undefined =>
  byLetter.get(reader.text[reader.at++] ?? "")?.read(reader, browserOf)

interface Codec<A> {
  readonly letter: string
  readonly write: (operation: A) => string
  readonly read: (reader: Fields.Reader, browserOf: BrowserOf) => A
}

type Codecs = { readonly [Tag in Operation["_tag"]]: Codec<Extract<Operation, { readonly _tag: Tag }>> }

const { flag, flagOf, number, numberOf, readNumber, readText, text, textOf } = Fields

const channelIntents: Pick<Codecs, "OpenChannel" | "CloseChannel" | "Broadcast" | "SetRules" | "EndGrace"> = {
  Broadcast: {
    letter: "B",
    write: ({ channel, data, event, exceptSid, from }) =>
      text(channel) + text(event) + dataOf(data) + text(from?.sid) + text(exceptSid),
    read: (reader, browserOf) => ({
      _tag: "Broadcast",
      channel: textOf(reader),
      event: textOf(reader),
      data: readData(reader),
      from: maybe(readText(reader), browserOf),
      exceptSid: readText(reader)
    })
  },
  OpenChannel: {
    letter: "O",
    write: ({ channel }) => text(channel),
    read: (reader) => ({ _tag: "OpenChannel", channel: textOf(reader) })
  },
  CloseChannel: {
    letter: "C",
    write: ({ channel }) => text(channel),
    read: (reader) => ({ _tag: "CloseChannel", channel: textOf(reader) })
  },
  EndGrace: {
    letter: "G",
    write: ({ channel, sid, uid, until }) => text(channel) + text(uid) + text(sid) + number(until),
    read: (reader) => ({
      _tag: "EndGrace",
      channel: textOf(reader),
      uid: readText(reader),
      sid: readText(reader),
      until: readNumber(reader)
    })
  },
  SetRules: {
    letter: "R",
    write: ({ rules }) => RulesText.write(rules),
    read: (reader) => ({ _tag: "SetRules", rules: RulesText.read(reader) })
  }
}

const userIntents: Pick<Codecs, "SendTo" | "SendToUser" | "Disconnect"> = {
  SendTo: {
    letter: "S",
    write: ({ data, event, sid }) => text(sid) + text(event) + dataOf(data),
    read: (reader) => ({ _tag: "SendTo", sid: textOf(reader), event: textOf(reader), data: readData(reader) })
  },
  SendToUser: {
    letter: "U",
    write: ({ data, event, uid }) => text(uid) + text(event) + dataOf(data),
    read: (reader) => ({ _tag: "SendToUser", uid: textOf(reader), event: textOf(reader), data: readData(reader) })
  },
  Disconnect: {
    letter: "D",
    write: ({ by, who }) => flag(by === "uid") + text(who),
    read: (reader) => ({ _tag: "Disconnect", by: flagOf(reader) ? "uid" : "sid", who: textOf(reader) })
  }
}

const subscriptionIntents: Pick<Codecs, "Join" | "Update" | "Leave"> = {
  Join: {
    letter: "J",
    write: ({ browser, byBackend, channel, data, hidden, id, permission, rewind, since }) =>
      text(channel) + text(browser.sid) + flag(hidden) + flag(byBackend) + dataOf(data) + idOf(id) +
      text(permission?.uid) +
      (permission === undefined ? "" : flag(permission.allows(channel)) + text(permission.info?.text)) +
      number(rewind) + sinceOf(since),
    read: (reader, browserOf) => ({
      _tag: "Join",
      channel: textOf(reader),
      browser: browserOf(textOf(reader)),
      hidden: flagOf(reader),
      byBackend: flagOf(reader),
      data: readData(reader),
      id: readId(reader),
      permission: readPermission(reader),
      rewind: readNumber(reader),
      since: readSince(reader)
    })
  },
  Update: {
    letter: "P",
    write: ({ browser, channel, data, permission }) =>
      text(channel) + text(browser.sid) + text(data === undefined ? undefined : JsonText.from(data).text) +
      flag(permission !== undefined) + text(permission?.info?.text),
    read: (reader, browserOf) => ({
      _tag: "Update",
      channel: textOf(reader),
      browser: browserOf(textOf(reader)),
      data: readObject(reader),
      permission: readInfo(flagOf(reader), readObject(reader))
    })
  },
  Leave: {
    letter: "L",
    write: ({ browser, channel, farewell, mayReturn, reason, request }) =>
      text(channel) + text(browser.sid) + dataOf(farewell) + flag(mayReturn) + text(reason) +
      flag(request !== undefined) + idOf(request?.id),
    read: (reader, browserOf) => ({
      _tag: "Leave",
      channel: textOf(reader),
      browser: browserOf(textOf(reader)),
      farewell: readData(reader),
      mayReturn: flagOf(reader),
      reason: readText(reader) as Intents["Leave"]["reason"],
      request: readRequest(flagOf(reader), readId(reader))
    })
  }
}

const others: Pick<Codecs, keyof Others> = {
  EnterNode: {
    letter: "N",
    write: ({ limits }) => limitNames.map((name) => number(limits[name])).join(""),
    read: (reader) => ({
      _tag: "EnterNode",
      limits: Object.fromEntries(limitNames.map((name) => [name, numberOf(reader)])) as unknown as Limits
    })
  },
  EnterBrowser: {
    letter: "E",
    write: ({ sid, version }) => text(sid) + flag(version === 1),
    read: (reader) => ({ _tag: "EnterBrowser", sid: textOf(reader), version: flagOf(reader) ? 1 : 0 })
  },
  Identify: {
    letter: "I",
    write: ({ browser, info, uid }) => text(browser.sid) + text(uid) + text(info?.text),
    read: (reader, browserOf) => ({
      _tag: "Identify",
      browser: browserOf(textOf(reader)),
      uid: readText(reader),
      info: readObject(reader)
    })
  },
  Tick: {
    letter: "T",
    write: () => "",
    read: () => ({ _tag: "Tick" })
  },
  LeaveBrowser: {
    letter: "X",
    write: ({ browser, mayReturn }) => text(browser.sid) + flag(mayReturn),
    read: (reader, browserOf) => ({
      _tag: "LeaveBrowser",
      browser: browserOf(textOf(reader)),
      mayReturn: flagOf(reader)
    })
  }
}

const codecs: Codecs = { ...channelIntents, ...userIntents, ...subscriptionIntents, ...others }

const byLetter = new Map(Object.values(codecs).map((codec) => [codec.letter, codec as Codec<Operation>]))

/** The limits that nodes must agree on, in the order in which they are written. */
const limitNames = Object.keys(
  {
    maxChannels: 0,
    maxChannelsOnDemand: 0,
    maxMessageSize: 0,
    maxSubscriptions: 0,
    memberDataSize: 0,
    browserDataSize: 0,
    presenceListSize: 0,
    outboxSize: 0,
    historyMaxUsers: 0,
    graceSize: 0,
    historyVhostSize: 0
  } satisfies Record<keyof Limits, 0>
) as ReadonlyArray<keyof Limits>

// Checked here, so that other nodes need not read them.
const dataOf = (data: JsonText.Input): string => {
  const { text: object } = JsonText.from(data)
  return object === JsonText.empty.text ? Fields.absent : text(object)
}

const readData = (reader: Fields.Reader): JsonText.ObjectText => readObject(reader) ?? JsonText.empty

const readObject = (reader: Fields.Reader): JsonText.ObjectText | undefined =>
  maybe(readText(reader), (text) => new JsonText.ObjectText(text))

// A text and a number may look alike.
const idOf = (id: Id | undefined): string =>
  id === undefined ? Fields.absent : text(`${typeof id === "number" ? "#" : "="}${id}`)

const readId = (reader: Fields.Reader): Id | undefined =>
  maybe(readText(reader), (id) => id.startsWith("#") ? Number(id.slice(1)) : id.slice(1))

const readPermission = (reader: Fields.Reader): Permission | undefined =>
  maybe(readText(reader), (uid) => {
    const isAllowed = flagOf(reader)
    return { uid, info: readObject(reader), allows: isAllowed ? always : never }
  })

const always = () => true
const never = () => false

const sinceOf = (since: Since | undefined): string =>
  since === undefined ? Fields.absent : text(since.epoch) + number(since.position) + text(since.sid)

const readSince = (reader: Fields.Reader): Since | undefined =>
  maybe(readText(reader), (epoch) => ({ epoch, position: numberOf(reader), sid: readText(reader) }))

const readInfo = (isGiven: boolean, info: JsonText.ObjectText | undefined) => isGiven ? { info } : undefined

const readRequest = (isRequested: boolean, id: Id | undefined) => isRequested ? { id } : undefined

const maybe = <A, B>(value: A | undefined, use: (value: A) => B): B | undefined =>
  value === undefined ? undefined : use(value)
