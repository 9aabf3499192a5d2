/**
 * A browser leaves its channels, one after the other.
 *
 * Each is a change of its own. After its share of the turn it yields, since many browsers may leave at once, each with many channels,
 * and be members of large ones.
 */

import * as Effect from "effect/Effect"
import type { UnsubscribeReason } from "../../../protocol/BrokerMessage.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import * as EventLoop from "../../../transport/EventLoop.ts"
import type { Browser } from "../../domain/Browser.ts"
import type { Log } from "../Log.ts"
import * as BrowserSubscriptions from "./browserSubscriptions.ts"
import type { Channel } from "./channel.ts"
import type { VhostState } from "./vhostState.ts"

/** After how many deliveries to yield. */
export const turn = 10_000

/**
 * A browser leaves all its channels, or those it is to leave `from`. If its connection has ended so that it `mayReturn`, its user
 * stays a member until the grace is over.
 */
export const leave = Effect.fnUntraced(function*(
  state: VhostState,
  log: Pick<Log, "commit">,
  browser: Browser,
  mayReturn: boolean,
  which?: {
    readonly from: (channel: Channel) => boolean
    readonly reason: UnsubscribeReason
  }
) {
  let share: number | undefined
  for (const channel of [...BrowserSubscriptions.channelsOf(state.subscriptions, browser)]) {
    if (which?.from(channel) === false) continue
    // The first one is left in the same step.
    if (share !== undefined && EventLoop.isShareOver(share)) {
      yield* EventLoop.nextLast
      share = undefined
    }
    share ??= EventLoop.shareFromNow()
    const intent = {
      _tag: "Leave",
      channel: channel.name,
      browser,
      farewell: JsonText.empty,
      request: undefined,
      mayReturn,
      reason: which?.reason
    } as const
    // It is rejected if the channel was closed meanwhile.
    yield* Effect.ignore(log.commit(intent))
  }
})
