/**
 * A browser leaves its channels, one after the other.
 *
 * Each is a change of its own. After many deliveries to others it yields, since a browser may be a member of many large channels.
 */

import * as Effect from "effect/Effect"
import type { UnsubscribeReason } from "../../../protocol/BrokerMessage.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import type { Browser } from "../../domain/Browser.ts"
import type { Log } from "../Log.ts"
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
  let work = 0
  for (const channel of [...state.subscriptions.get(browser)?.channels ?? []]) {
    if (which?.from(channel) === false) continue
    if (work > turn) {
      work = 0
      yield* Effect.yieldNow
    }
    const isMember = channel.subscriptions.get(browser)?.value?.member !== undefined
    work += isMember ? channel.subscriptions.size : 1
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
