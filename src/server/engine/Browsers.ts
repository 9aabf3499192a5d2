/**
 * The browsers that are connected to one vhost, by their sid and by the user they have authenticated as.
 *
 * A backend can send an event to one of them, or disconnect it.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Iterable from "effect/Iterable"
import * as ChannelName from "../../protocol/ChannelName.ts"
import * as JsonText from "../../protocol/JsonText.ts"
import { ChannelNotFoundError, type StatusError } from "../../protocol/KosmonautError.ts"
import type { Browser } from "../domain/Browser.ts"
import type { Permission } from "../domain/Permission.ts"
import * as BrowserSubscriptions from "./internal/browserSubscriptions.ts"
import * as Graces from "./internal/graces.ts"
import { channelOf, type VhostState } from "./internal/vhostState.ts"
import type { Log, Rejections } from "./Log.ts"

/**
 * The connected browsers of one vhost.
 *
 * @since 0.1.0
 */
export interface Browsers {
  /** A browser has connected. */
  readonly enterUnsafe: (browser: Browser) => void
  /** A browser has authenticated, see `Log.identify`. */
  readonly identify: (browser: Browser, uid: string, info?: Permission["info"]) => Effect.Effect<void>
  /** A browser becomes that of another user, see `Log.forgetUser`. */
  readonly forgetUser: Log["forgetUser"]
  /** A browser has disconnected, and leaves its channels, see `Log.leave`. */
  readonly leave: Log["leave"]
  /**
   * Sends an event to one browser; data may be the text of an object. Fails with 400 if the message would be more than 256
   * bytes larger than `maxMessageSize`.
   */
  readonly sendTo: (
    sid: string,
    event: string,
    data: JsonText.Input
  ) => Effect.Effect<void, Rejections["SendTo"]>
  /**
   * Sends an event to all browsers of a user, and returns how many there are. If the channel `:user` has a history, it is
   * retained for those that come later. Fails as `sendTo`, and with 400 for a user id of more than 1000 characters.
   */
  readonly sendToUser: (
    uid: string,
    event: string,
    data: JsonText.Input
  ) => Effect.Effect<number, Rejections["SendToUser"]>
  /**
   * Subscribes the browsers of a user to an open channel, whatever their permissions allow, and returns how many were not
   * subscribed before. Only browsers of version 1: others do not expect it. One that has reached a limit is not subscribed. After
   * 10 000 messages it yields; browsers that come meanwhile are left out.
   */
  readonly subscribe: (uid: string, channel: string) => Effect.Effect<number, ChannelNotFoundError>
  /** Unsubscribes the browsers of a user from a channel, and returns how many. Yields as `subscribe`. */
  readonly unsubscribe: (uid: string, channel: string) => Effect.Effect<number, ChannelNotFoundError>
  /**
   * Disconnects one browser, or all browsers of a user, and returns how many. Members whose connection was lost before, and that
   * are still in their grace, leave at once; they do not count. It yields as `subscribe`.
   */
  readonly disconnect: (by: "sid" | "uid", who: string) => Effect.Effect<number, Rejections["Disconnect"]>
  /** All that are connected, in the order in which they have. */
  readonly list: () => Iterable<BrowserInfo>
  /** How many are connected, to all nodes. */
  readonly count: () => number
  /** How many are connected to this node. */
  readonly countOwn: () => number
  /** A message of a browser was rejected, because a limit was reached (429). */
  readonly rejectedUnsafe: () => void
  /** How many messages were rejected so, since the start. */
  readonly counters: { readonly rejected: number }
}

/**
 * A connected browser, for an administrator.
 *
 * @since 0.1.0
 */
export interface BrowserInfo {
  readonly browser: Browser
  /** The user that it has authenticated as. */
  readonly uid: string | undefined
  /** How many subscriptions it has. */
  readonly subscriptions: number
}

/**
 * Makes the browsers of a vhost.
 *
 * @since 0.1.0
 */
export const make = (state: VhostState, log: Log): Browsers => {
  const counters = { rejected: 0 }
  return {
    enterUnsafe: log.enter,
    identify: log.identify,
    forgetUser: log.forgetUser,
    leave: log.leave,
    sendTo: (sid, event, data) => Effect.asVoid(Effect.suspend(() => log.commit({ _tag: "SendTo", sid, event, data }))),
    sendToUser: (uid, event, data) =>
      Effect.suspend(() => {
        const sent = state.browsers.find("uid", uid).filter(({ version }) => version === 0).length +
          (state.inboxes.attended.get(uid)?.subscriptions.size ?? 0)
        return Effect.as(log.commit({ _tag: "SendToUser", uid, event, data }), sent)
      }),
    subscribe: (uid, channel) => subscribe(state, log, uid, channel),
    unsubscribe: (uid, channel) => unsubscribe(state, log, uid, channel),
    disconnect: (by, who) =>
      Effect.suspend(() => {
        const { length } = state.browsers.find(by, who)
        const disconnected = log.commit({ _tag: "Disconnect", by, who })
        return Effect.as(Effect.andThen(disconnected, endGraces(state, log, by, who)), length)
      }),
    list: () =>
      Iterable.map(state.browsers.all(), (browser) => ({
        browser,
        uid: state.browsers.uidOf(browser),
        subscriptions: BrowserSubscriptions.channelsOf(state.subscriptions, browser).length
      })),
    count: () => state.browsers.size(),
    countOwn: () => state.browsers.own(),
    rejectedUnsafe: () => {
      counters.rejected++
    },
    counters
  }
}

const subscribe = (state: VhostState, log: Log, uid: string, channel: string) =>
  eachBrowser(state, uid, channel, (browser) =>
    browser.version === 0 ? unchanged : log.commit({
      _tag: "Join",
      channel,
      browser,
      permission: { uid, info: state.browsers.infoOf(browser), allows: () => false },
      byBackend: true,
      hidden: false,
      data: JsonText.empty
    }))

const unsubscribe = (state: VhostState, log: Log, uid: string, channel: string) =>
  eachBrowser(
    state,
    uid,
    channel,
    (browser) =>
      log.commit({ _tag: "Leave", channel, browser, farewell: JsonText.empty, request: undefined, reason: "backend" })
  )

const endGraces = Effect.fnUntraced(function*(state: VhostState, log: Log, by: "sid" | "uid", who: string) {
  let work = 0
  for (const { channel, member, uid } of Graces.findMembers(state.graces, by, who)) {
    if (work > turn) {
      work = 0
      yield* Effect.yieldNow
    }
    work += 1 + channel.subscriptions.size
    yield* log.commit({ _tag: "EndGrace", channel: channel.name, uid, sid: member?.value?.browser.sid })
  }
})

// Changes the subscriptions of a user's browsers one by one, and returns how many have changed. It is not one step, since a user
// may have any number of browsers, and on a presence channel each is announced to all.
const eachBrowser = Effect.fnUntraced(function*(
  state: VhostState,
  uid: string,
  channel: string,
  change: (browser: Browser) => Effect.Effect<boolean, StatusError>
): Effect.fn.Return<number, ChannelNotFoundError> {
  if (!ChannelName.isValid(channel)) return yield* new ChannelNotFoundError({ channel })
  let changed = 0
  let work = 0
  for (const browser of state.browsers.find("uid", uid)) {
    if (work > turn) {
      work = 0
      yield* Effect.yieldNow
    }
    // It may have left meanwhile, or be somebody else.
    if (state.browsers.uidOf(browser) !== uid) continue
    const hasChanged = yield* Effect.catch(
      change(browser),
      (error) => error._tag === "ChannelNotFoundError" ? Effect.fail(error) : unchanged
    )
    if (hasChanged) changed++
    work += channelOf(state, channel)?.subscriptions.size ?? 1
  }
  return changed
})

const unchanged = Effect.succeed(false)

/** After how many messages to yield. */
const turn = 10_000
